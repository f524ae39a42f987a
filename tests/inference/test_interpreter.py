from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from maskedge.errors import AcceleratorError, ModelError
from maskedge.inference import dequantise, open_interpreter, runtime
from maskedge.inference.interpreter import InterpreterNetwork
from maskedge.inference.network import TensorSpec
from maskedge.inference.tensors import InputWriter, check_input

GOLDEN = {"uint8": "6e49c7e14c41 fe68e0a66b35", "int8": "5af6b4a41b8c fcea9af3481d"}
"""SHA-256 of both outputs by the reference kernels, alike in LiteRT 2.3 and tflite-runtime 2.14."""


def spec(dtype="uint8", shape=(1, 16, 24, 3), scale=1.0, zero_point=0):
    return TensorSpec("picture", shape, dtype, scale, zero_point)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
def test_every_input_type_takes_the_same_bytes_and_gives_the_same_scores(tiny, picture, dtype):
    network = open_interpreter(tiny(dtype))
    reference = open_interpreter(tiny("float32"))

    got = [
        dequantise(o, s) for o, s in zip(network.invoke(picture), network.output_specs, strict=True)
    ]

    assert network.backend == runtime.find_runtime().name
    assert network.input_spec.shape == (1, 16, 24, 3)
    assert network.input_spec.dtype == dtype
    assert {o.shape for o in got} == {(1, 3), (1, 8, 12, 4)}
    for ours, real in zip(got, reference.invoke(picture), strict=True):
        np.testing.assert_allclose(ours, real, atol=0.04)
    network.close()
    network.close()


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_reference_kernels_give_the_golden_bits(tiny, picture, dtype):
    found = runtime.find_runtime()
    reference = found.module.OpResolverType.BUILTIN_REF
    interpreter = found.load(tiny(dtype).read_bytes(), 1, experimental_op_resolver_type=reference)
    network = InterpreterNetwork(interpreter, found.name, "tiny")

    outputs = network.invoke(picture)

    assert " ".join(hashlib.sha256(o.tobytes()).hexdigest()[:12] for o in outputs) == GOLDEN[dtype]


def test_outputs_held_past_the_next_call_do_no_harm(tiny, picture):
    network = open_interpreter(tiny())
    first = network.invoke(picture)
    kept = [o.copy() for o in first]

    second = network.invoke(255 - picture)

    assert second[0] is first[0]
    assert any((a != b).any() for a, b in zip(kept, second, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(kept, network.invoke(picture), strict=True))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
def test_a_picture_may_be_written_where_the_network_takes_it(tiny, picture, dtype):
    network = open_interpreter(tiny(dtype))
    expected = [o.copy() for o in network.invoke(picture)]
    network.invoke(255 - picture)

    assert network.picture.shape == picture.shape
    network.picture[...] = picture
    assert all(np.array_equal(a, b) for a, b in zip(expected, network.invoke(), strict=True))


def test_what_is_written_there_is_the_interpreters_own_input(tiny):
    network = open_interpreter(tiny())

    assert np.shares_memory(network.picture, network._input())


def test_who_holds_the_input_is_told_instead_of_corrupting_it(tiny):
    network = open_interpreter(tiny())
    held = network.picture
    with pytest.raises(RuntimeError, match="reference to internal data"):
        network.invoke()
    del held
    assert network.invoke()


def test_threads_give_the_same_outputs(tiny, picture):
    one, two = (open_interpreter(tiny(), threads=n) for n in (1, 2))

    assert all(
        np.array_equal(a, b) for a, b in zip(one.invoke(picture), two.invoke(picture), strict=True)
    )


@pytest.mark.parametrize(
    "wrong", [np.zeros((24, 16, 3), np.uint8), np.zeros((16, 24, 3), np.float32)]
)
def test_a_picture_of_another_size_or_type_is_a_mistake_of_the_caller(tiny, wrong):
    with pytest.raises(ValueError, match=r"the network takes uint8 \(16, 24, 3\)"):
        open_interpreter(tiny()).invoke(wrong)


def test_general_int8_quantisation_is_rounded_and_clipped():
    writer = InputWriter(spec("int8", (1, 1, 256, 3), scale=1.3, zero_point=-100))
    picture = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    target = np.empty((1, 1, 256, 3), np.int8)

    writer.write(picture, target)

    real = (target[0, 0, :, 0].astype(float) + 100) * 1.3
    np.testing.assert_allclose(real, np.arange(256), atol=0.65 + 1e-6)

    small = InputWriter(spec("int8", (1, 1, 256, 3), scale=0.9, zero_point=-128))
    small.write(picture, target)
    assert target[0, 0, 255, 0] == 127


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ([spec(shape=(1, 3, 16, 24))], "needs one RGB picture"),
        ([spec(shape=(2, 16, 24, 3))], "needs one RGB picture"),
        ([spec(shape=(1, 100))], "needs one RGB picture"),
        ([spec(shape=(1, 16, 0, 3))], "needs one RGB picture"),
        ([spec("float64")], "input is float64"),
        ([spec(), spec()], "has 2 inputs"),
        ([spec("int8", scale=1 / 128, zero_point=0)], "holds values -1 to 0.992, needs 0 to 255"),
    ],
)
def test_a_network_that_takes_no_picture_is_refused_with_its_shape(inputs, says):
    with pytest.raises(ModelError, match=says):
        check_input(inputs, "x.tflite")


def test_a_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(ModelError, match=r"no\.tflite: can't read the network: No such file"):
        open_interpreter(tmp_path / "no.tflite")


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x1c\0\0\0TFL3", b"\x89PNG" * 100])
def test_a_file_that_is_no_network_is_one_clear_error(tmp_path, content):
    path = tmp_path / "other.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"other\.tflite.*install it again"):
        open_interpreter(path)


def test_a_network_that_its_description_disowns_is_refused(tiny):
    path = tiny()
    card = {"schema": "maskedge.model/1", "sha256": "0" * 64}
    path.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="SHA-256"):
        open_interpreter(path)


def test_nothing_is_written_to_stdout_or_stderr(tiny, picture, capfd):
    open_interpreter(tiny()).invoke(picture)
    assert capfd.readouterr() == ("", "")


def test_what_others_write_to_stderr_meanwhile_is_not_lost(capfd):
    with runtime.quiet_stderr():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
        sys.stderr.write("a warning of ours\n")
        with runtime.quiet_stderr():
            os.write(2, b"ERROR: a real one\n")
    assert capfd.readouterr().err == "a warning of ours\nERROR: a real one\n"


def test_a_closed_stderr_is_no_hindrance(tiny):
    code = (
        "import os, sys; from pathlib import Path; os.close(2)\n"
        "from maskedge.inference import open_interpreter\n"
        f"print(open_interpreter(Path({str(tiny())!r})).input_spec.dtype)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, timeout=120
    )
    assert done.stdout == b"uint8\n"


def test_importing_the_port_loads_no_interpreter_and_no_numpy():
    code = (
        "import sys, maskedge.inference\n"
        "bad = {'numpy', 'ai_edge_litert', 'tflite_runtime', 'cv2'} & set(sys.modules)\n"
        "sys.exit(repr(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.fixture
def fresh_runtime():
    runtime.find_runtime.cache_clear()
    yield
    runtime.find_runtime.cache_clear()


@pytest.mark.usefixtures("fresh_runtime")
def test_no_interpreter_installed_names_the_cure(monkeypatch, tiny):
    monkeypatch.setattr(runtime, "CANDIDATES", (("litert", "no_such_litert.interpreter"),))
    with pytest.raises(
        AcceleratorError, match=r"no TFLite interpreter.*pip install 'ai-edge-litert"
    ):
        open_interpreter(tiny())


@pytest.mark.usefixtures("fresh_runtime")
def test_an_interpreter_that_lacks_a_system_library_says_which(monkeypatch, tmp_path):
    (tmp_path / "halflite").mkdir()
    (tmp_path / "halflite/__init__.py").write_text("")
    (tmp_path / "halflite/interpreter.py").write_text("raise ImportError('libfoo.so.1: not found')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(runtime, "CANDIDATES", (("litert", "halflite.interpreter"),))
    with pytest.raises(AcceleratorError, match=r"halflite.interpreter: libfoo\.so\.1"):
        runtime.find_runtime()


def test_tflite_runtime_under_numpy_2_names_the_cure():
    class Module:
        __name__ = "tflite_runtime.interpreter"

        @staticmethod
        def Interpreter(**_):  # noqa: N802 - the foreign name
            raise SystemError("initialization of _pywrap raised unreported exception")

    with pytest.raises(AcceleratorError, match=r"can't work with numpy .*'numpy<2'"):
        runtime.Runtime("tflite_runtime", Module).load(b"", 1)


def test_threads_and_bytes_reach_the_interpreter():
    calls = []

    class Module:
        class Interpreter:
            def __init__(self, **arguments):
                calls.append(arguments)

            def allocate_tensors(self):
                calls.append("allocated")

    runtime.Runtime("litert", Module).load(b"TFL3", 3)
    assert calls == [{"model_content": b"TFL3", "num_threads": 3}, "allocated"]


def test_the_file_may_change_on_disk_while_it_runs(tiny, picture):
    path = Path(tiny())
    network = open_interpreter(path)
    before = [o.copy() for o in network.invoke(picture)]
    os.truncate(path, 0)
    assert all(np.array_equal(a, b) for a, b in zip(before, network.invoke(picture), strict=True))

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))

from flatbuffer_editor import Editor

from convert.compile import command, compile_network, parse_log, preflight
from maskedge.errors import ModelError
from maskedge.inference.flatbuffer import load
from maskedge.inference.preflight import first_on_cpu
from maskedge.modelfile import models_dir

DATA = Path(__file__).parent.parent / "data"
FULL_LOG = """Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 2133 ms.

Input model: {model}
Input size: 3.89MiB
Output model: {output}
Output size: 4.06MiB
On-chip memory used for caching model parameters: 3.91MiB
On-chip memory remaining for caching model parameters: 3.05MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 12
Operation log: tiny_edgetpu.log

Operator                       Count      Status

QUANTIZE                       3          Mapped to Edge TPU
CONV_2D                        9          Mapped to Edge TPU
Compilation child process completed within timeout period.
Compilation succeeded!
"""
PARTIAL_LOG = FULL_LOG.replace(
    "\nOperator  ",
    """
Model successfully compiled but not all operations are supported by the Edge TPU.
Number of operations that will run on Edge TPU: 11
Number of operations that will run on CPU: 1

Operator  """,
).replace(
    "CONV_2D                        9          Mapped to Edge TPU",
    "CONV_2D                        8          Mapped to Edge TPU\n"
    "TRANSPOSE                      1          Operation not supported",
)


@pytest.fixture
def edit():
    return Editor(DATA / "tiny_uint8.tflite")


def two_graphs(e):
    e.model.subgraphs.append(e.model.subgraphs[0])


def unknown_operation(e):
    e.retype(e.find("SOFTMAX"), "TRANSPOSE")


def custom_operation(e):
    e.retype(e.find("SOFTMAX"), "CUSTOM", custom=b"TFLite_Detection_PostProcess")


def new_version(e):
    e.model.operatorCodes[e.find("CONV_2D").opcodeIndex].version = 6


def dynamic_shape(e):
    tensor = e.tensor(e.find("CONV_2D").outputs[0])
    tensor.shapeSignature = [-1, *list(tensor.shape)[1:]]


def batch_of_two(e):
    e.tensor(e.graph.inputs[0]).shape = [2, 16, 24, 3]


def float_output(e):
    e.tensor(e.graph.outputs[0]).type = schema.TensorType.FLOAT32


def sixteen_bit(e):
    e.tensor(e.find("CONV_2D").outputs[0]).type = schema.TensorType.INT16


def no_scale(e):
    e.tensor(e.find("CONV_2D").outputs[0]).quantization = None


def float_weights(e):
    e.tensor(e.find("CONV_2D").inputs[1]).type = schema.TensorType.FLOAT32


def unscaled_weights(e):
    e.tensor(e.find("CONV_2D").inputs[1]).quantization = None


def computed_weights(e):
    e.find("CONV_2D").inputs[1] = e.graph.inputs[0]


def dense_per_channel(e):
    e.retype(e.find("CONV_2D"), "FULLY_CONNECTED", kind="FullyConnectedOptions")


def fused_pool(e):
    kinds = schema.ActivationFunctionType
    e.retype(
        e.find("DEPTHWISE_CONV_2D"),
        "MAX_POOL_2D",
        kind="Pool2DOptions",
        fusedActivationFunction=kinds.RELU6,
    )


def fused_concatenation(e):
    kinds = schema.ActivationFunctionType
    e.retype(
        e.find("ADD"),
        "CONCATENATION",
        kind="ConcatenationOptions",
        fusedActivationFunction=kinds.RELU,
    )


def unequal_dilation(e):
    e.find("CONV_2D").builtinOptions.dilationWFactor = 2


def unequal_depthwise_dilation(e):
    e.find("DEPTHWISE_CONV_2D").builtinOptions.dilationHFactor = 3


def mean_over_batch(e):
    e.find("MEAN").inputs[1] = e.constant(0, 1)


def mean_over_odd_depth(e):
    operation = e.find("MEAN")
    operation.inputs[1] = e.constant(-1)
    e.tensor(operation.inputs[0]).shape = [1, 8, 12, 6]


def computed_mean(e):
    e.find("MEAN").inputs[1] = e.graph.inputs[0]


def mean_over_long_numbers(e):
    e.tensor(e.find("MEAN").inputs[1]).type = schema.TensorType.INT64


def mean_over_half_a_number(e):
    e.find("MEAN").inputs[1] = e.constant(1, 2)
    e.model.buffers[-1].data = e.model.buffers[-1].data[:6]


def long_softmax(e):
    e.tensor(e.find("SOFTMAX").inputs[0]).shape = [1, 16_001]


def softmax_over_a_map(e):
    e.tensor(e.find("SOFTMAX").inputs[0]).shape = [1, 8, 3]


def padded_batch(e):
    operation = e.retype(e.find("ADD"), "PAD")
    operation.inputs = [operation.inputs[0], e.constant(0, 1, 0, 0, 0, 0, 0, 0)]


def computed_padding(e):
    padded_batch(e)
    e.find("PAD").inputs[1] = e.graph.inputs[0]


def strided_slice(e):
    operation = e.retype(e.find("ADD"), "STRIDED_SLICE")
    edges = e.constant(0, 0, 0, 0)
    operation.inputs = [operation.inputs[0], edges, edges, e.constant(1, 2, 1, 1)]


def computed_strides(e):
    strided_slice(e)
    e.find("STRIDED_SLICE").inputs[3] = e.graph.inputs[0]


@pytest.mark.parametrize(
    ("breaks", "rule", "layer", "says"),
    [
        (two_graphs, "subgraphs", "", "has 2 graphs"),
        (unknown_operation, "operation", "TRANSPOSE", "no such operation"),
        (custom_operation, "operation", "TFLite_Detection_PostProcess", "no such operation"),
        (new_version, "version", "CONV_2D", "version 6, the compiler reads up to 5"),
        (dynamic_shape, "static shape", "CONV_2D", "at run time"),
        (batch_of_two, "batch", "", "batch must be 1"),
        (batch_of_two, "batch", "QUANTIZE", "batch must be 1"),
        (float_output, "8 bit", "", "is float32"),
        (sixteen_bit, "8 bit", "CONV_2D", "is int16"),
        (no_scale, "quantised", "CONV_2D", "no scale"),
        (float_weights, "8 bit", "CONV_2D", "weights are float32"),
        (unscaled_weights, "8 bit", "CONV_2D", "must be quantised"),
        (computed_weights, "constant weights", "CONV_2D", "computed at run time"),
        (dense_per_channel, "dense per channel", "FULLY_CONNECTED", "8 scales"),
        (fused_pool, "fused activation", "MAX_POOL_2D", "fused"),
        (fused_concatenation, "fused activation", "CONCATENATION", "fused"),
        (unequal_dilation, "dilation", "CONV_2D", "dilation 2 in x and 1 in y"),
        (unequal_depthwise_dilation, "dilation", "DEPTHWISE_CONV_2D", "1 in x and 3 in y"),
        (mean_over_batch, "mean", "MEAN", "over the batch"),
        (mean_over_odd_depth, "mean", "MEAN", "depth of 6"),
        (mean_over_long_numbers, "parameters", "MEAN", "is int64 of 8 bytes, must be int32"),
        (mean_over_half_a_number, "parameters", "MEAN", "is int32 of 6 bytes, must be int32"),
        (computed_mean, "mean", "MEAN", "run time"),
        (long_softmax, "softmax", "SOFTMAX", "up to 16000"),
        (softmax_over_a_map, "softmax", "SOFTMAX", "one dimension"),
        (padded_batch, "padding", "PAD", "none for the batch"),
        (computed_padding, "padding", "PAD", "must be constant"),
        (strided_slice, "strides", "STRIDED_SLICE", "constant 1"),
        (computed_strides, "strides", "STRIDED_SLICE", "constant 1"),
    ],
)
def test_each_broken_rule_is_named_with_its_layer(edit, tmp_path, breaks, rule, layer, says):
    breaks(edit)
    found = preflight(edit.save(tmp_path / "broken.tflite"))
    hits = [v for v in found if v.rule == rule and layer in v.layer and says in v.message]
    assert hits, found
    assert all(v.fatal for v in hits)
    if layer:
        assert hits[0].layer.split()[0].isdigit()
        assert hits[0].layer in str(hits[0])


@pytest.mark.parametrize(
    ("breaks", "rule", "says"),
    [(float_output, "8 bit", "output"), (batch_of_two, "batch", "input")],
)
def test_what_goes_in_and_out_is_named_itself(edit, tmp_path, breaks, rule, says):
    """Besides the layers that it touches: there may be none."""
    breaks(edit)
    (hit,) = (v for v in preflight(edit.save(tmp_path / "broken.tflite")) if not v.layer)
    assert hit.rule == rule
    assert hit.message.startswith(says)


def test_an_untouched_network_breaks_none(edit, tmp_path):
    assert preflight(edit.save(tmp_path / "whole.tflite")) == []
    assert preflight(DATA / "tiny_int8.tflite") == []


def test_the_shipped_networks_break_none():
    shipped = sorted(models_dir().glob("*.tflite"))
    assert shipped
    for path in shipped:
        assert preflight(path) == []


def test_what_may_be_mapped_is_a_note(edit, tmp_path):
    operation = edit.retype(edit.find("ADD"), "RESIZE_BILINEAR")
    edit.tensor(operation.outputs[0]).shape = [1, 640, 640, 3]
    buffer = schema.BufferT()
    buffer.data = bytes(9_000_000)
    edit.model.buffers.append(buffer)
    found = preflight(edit.save(tmp_path / "large.tflite"))
    assert {v.rule for v in found} == {"resize", "memory"}
    assert not any(v.fatal for v in found)


def test_what_comes_after_the_first_broken_rule_runs_on_the_cpu(edit, tmp_path):
    unknown_operation(edit)
    path = edit.save(tmp_path / "broken.tflite")
    graph = load(path)
    number = next(o.number for o in graph.operations if o.name == "TRANSPOSE")
    assert 0 < first_on_cpu(graph, preflight(path)) == number


def test_a_compiled_file_is_recognised(edit, tmp_path):
    edit.retype(edit.find("SOFTMAX"), "CUSTOM", custom=b"edgetpu-custom-op")
    (found,) = preflight(edit.save(tmp_path / "x_edgetpu.tflite"))
    assert "already compiled" in found.message


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" * 9, None])
def test_what_is_no_network_is_one_clear_error(tmp_path, content):
    path = tmp_path / "x.tflite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.tflite"):
        preflight(path)


def test_a_truncated_network_is_one_clear_error(tmp_path):
    path = tmp_path / "x.tflite"
    path.write_bytes((DATA / "tiny_int8.tflite").read_bytes()[:-100])
    with pytest.raises(ModelError, match="damaged"):
        preflight(path)


def test_a_full_log_is_read():
    result = parse_log(FULL_LOG)
    assert result.complete
    assert (result.mapped, result.total, result.off_chip) == (12, 12, "0.00B")


def test_a_partial_log_is_read():
    result = parse_log(PARTIAL_LOG)
    assert not result.complete
    assert not result.error
    assert (result.mapped, result.total) == (11, 12)
    assert result.unmapped == (("TRANSPOSE", 1, "Operation not supported"),)


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ("", "no operations"),
        (FULL_LOG.replace("operations: 12", "operations: 13"), "contradicts itself"),
        (PARTIAL_LOG.replace("Edge TPU: 11", "Edge TPU: 12"), "contradicts itself"),
    ],
)
def test_a_log_that_does_not_add_up_is_no_success(log, says):
    result = parse_log(log)
    assert not result.complete
    assert says in result.error


@pytest.fixture
def compiler(tmp_path):
    """A script that plays the compiler: prints the log, writes the file, ends as told."""

    def make(log=FULL_LOG, status=0, writes=True):
        (tmp_path / "log").write_text(log)
        script = tmp_path / "edgetpu_compiler"
        script.write_text(
            "#!/bin/sh\n"
            '[ "$1 $2" = "-s -o" ] || exit 9\n'
            'name=$(basename "$4" .tflite)\n'
            f'{"" if writes else ": "}cp "$4" "$3/${{name}}_edgetpu.tflite"\n'
            f"cat {tmp_path / 'log'}\nexit {status}\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return str(script)

    return make


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes((DATA / "tiny_uint8.tflite").read_bytes())
    return path


def run(*arguments):
    result = CliRunner().invoke(command, [str(a) for a in arguments], standalone_mode=False)
    assert result.exception is None, result.exception
    return result


def test_everything_mapped_is_success_and_the_file_lies_beside(model, compiler):
    result = run(model, "--compiler", compiler())
    assert result.return_value == 0
    assert "12 of 12 operations mapped" in result.output
    assert model.with_name("net_edgetpu.tflite").is_file()


def test_out_names_another_folder(model, compiler, tmp_path):
    assert run(model, "--compiler", compiler(), "--out", tmp_path / "a/b").return_value == 0
    assert (tmp_path / "a/b/net_edgetpu.tflite").is_file()


def test_one_operation_on_the_cpu_is_failure(model, compiler):
    result = run(model, "--compiler", compiler(PARTIAL_LOG))
    assert result.return_value == 1
    assert "TRANSPOSE x 1 on the CPU: Operation not supported" in result.output


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        (
            {"status": 1, "log": "Invalid model: net.tflite\nModel not quantized\n"},
            "Model not quantized",
        ),
        ({"writes": False}, "wrote no net_edgetpu.tflite"),
        ({"log": "Internal compiler error. Aborting!"}, "no operations"),
    ],
)
def test_a_compiler_that_fails_is_failure(model, compiler, faults, says):
    result = run(model, "--compiler", compiler(**faults))
    assert result.return_value == 1
    assert says in result.output


def test_a_compiler_that_hangs_is_failure(model, tmp_path, monkeypatch):
    script = tmp_path / "edgetpu_compiler"
    script.write_text("#!/bin/sh\nexec sleep 600\n")
    script.chmod(0o755)
    monkeypatch.setattr("convert.compile.TIMEOUT", 0.2)
    assert "didn't finish" in compile_network(model, tmp_path, str(script)).error


def test_a_compiler_that_cannot_be_run_is_failure(model, tmp_path):
    script = tmp_path / "edgetpu_compiler"
    script.write_bytes(b"\x7fELF of another machine")
    script.chmod(0o755)
    assert "can't be run" in compile_network(model, tmp_path, str(script)).error


def test_a_broken_rule_is_failure_and_nothing_is_compiled(edit, model, compiler):
    unknown_operation(edit)
    edit.save(model)
    result = run(model, "--compiler", compiler())
    assert result.return_value == 1
    assert "breaks a rule" in result.output
    assert "TRANSPOSE" in result.output
    assert not model.with_name("net_edgetpu.tflite").exists()


def test_without_the_compiler_the_rules_decide_and_the_command_is_told(model, tmp_path):
    result = run(model, "--compiler", tmp_path / "none")
    assert result.return_value == 0
    assert f"{tmp_path / 'none'} -s -o {tmp_path} {model}" in result.output


def test_json_holds_everything(edit, model, compiler, tmp_path):
    broken = edit
    unknown_operation(broken)
    other = broken.save(tmp_path / "broken.tflite")
    result = run(model, other, "--compiler", compiler(), "--json")
    good, bad = json.loads(result.output)
    assert result.return_value == 1
    assert good["passed"]
    assert good["compiler"]["mapped"] == good["compiler"]["total"] == 12
    assert Path(good["compiled"]).is_file()
    assert not bad["passed"]
    assert bad["violations"][0]["rule"] == "operation"
    assert bad["compiled"] is None


def test_a_missing_file_is_the_programs_own_error(tmp_path):
    result = CliRunner().invoke(command, [os.fspath(tmp_path / "no.tflite")])
    assert isinstance(result.exception, ModelError)

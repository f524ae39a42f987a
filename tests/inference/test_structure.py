from __future__ import annotations

import random
import struct
from pathlib import Path

import flatbuffers
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskedge.inference.structure import DamagedError, read, verify

DATA = Path(__file__).parent.parent / "data"
WHOLE = (DATA / "tiny_uint8.tflite").read_bytes()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
def test_a_whole_network_holds_together(dtype):
    verify((DATA / f"tiny_{dtype}.tflite").read_bytes())


def test_its_tables_are_read():
    model = read(WHOLE)
    (graph,) = model["subgraphs"]
    (index,) = graph["inputs"]
    picture = graph["tensors"][index]
    assert model["version"] == 3
    assert picture["name"] == "serving_default_picture:0"
    assert picture["shape"] == (1, 16, 24, 3)
    assert picture["quantization"]["scale"] == (1.0,)


def test_no_part_of_a_network_passes_for_the_whole():
    for end in [*range(0, 400, 7), *range(400, len(WHOLE), 61), len(WHOLE) - 1]:
        with pytest.raises(DamagedError):
            verify(WHOLE[:end])


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=300), st.integers(0, len(WHOLE)))
def test_any_bytes_are_read_or_refused(junk, at):
    for data in (junk, b"\x1c\0\0\0TFL3" + junk, WHOLE[:at] + junk + WHOLE[at + len(junk) :]):
        try:
            verify(data)
        except DamagedError as error:
            assert str(error)


def test_flipped_bits_are_read_or_refused():
    rng = random.Random(3)
    for _ in range(1500):
        broken = bytearray(WHOLE)
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        try:
            verify(bytes(broken))
        except DamagedError as error:
            assert str(error)


def test_tables_that_share_parts_are_not_read_for_ever():
    # 3,000 graphs that are one, with 3,000 tensors that are one: nine million tables in 24 KB.
    builder = flatbuffers.Builder()

    def table(slot, vector=None):
        builder.StartObject(slot + 1)
        if vector is not None:
            builder.PrependUOffsetTRelativeSlot(slot, vector, 0)
        return builder.EndObject()

    def many(target):
        builder.StartVector(4, 3000, 4)
        for _ in range(3000):
            builder.PrependUOffsetTRelative(target)
        return builder.EndVector()

    tensor = table(0)
    graph = table(0, many(tensor))
    builder.Finish(table(2, many(graph)), b"TFL3")
    nest = builder.Output()
    with pytest.raises(DamagedError, match="lie over each other"):
        verify(bytes(nest))


def replaced(pattern, value):
    """The network with the only place where these int32s lie changed."""
    old = struct.pack(f"<{len(pattern)}i", *pattern)
    assert WHOLE.count(old) >= 1
    return WHOLE.replace(old, struct.pack(f"<{len(value)}i", *value))


@pytest.mark.parametrize(
    ("pattern", "value", "says"),
    [
        ((1, 8, 12, 4), (1, -8, 12, 4), "has the shape"),
        ((1, 8, 12, 4), (1 << 16, 1 << 15, 12, 4), "has the shape"),
        ((8, 3, 3, 3), (9, 3, 3, 3), "9 channels has 8 scales"),
    ],
)
def test_impossible_tensors_are_refused(pattern, value, says):
    with pytest.raises(DamagedError, match=says):
        verify(replaced(pattern, value))


@pytest.mark.parametrize(("field", "what"), [("inputs", "input"), ("outputs", "output")])
def test_references_to_tensors_that_are_not_there_are_refused(field, what):
    indices = read(WHOLE)["subgraphs"][0][field]
    with pytest.raises(DamagedError, match=rf"{what} is number 1000 of \d+"):
        verify(replaced((len(indices), *indices), (len(indices), *(1000 for _ in indices))))

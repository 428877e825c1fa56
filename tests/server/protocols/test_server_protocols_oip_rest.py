import contextlib
import json
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.server.protocols.oip import rest
from loopline.server.protocols.oip.tensors import InferAnswer, InferRequest, RequestedOutput, Tensor

JSON_VALUES = {
    "FP64": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    "BYTES": st.none() | st.text(max_size=5),
    "INT32": st.none() | st.integers(-(2**31), 2**31 - 1),
    "UINT8": st.integers(0, 255),
}
PACKED = {
    "BOOL": ("?", st.booleans()),
    "UINT8": ("B", st.integers(0, 2**8 - 1)),
    "UINT16": ("H", st.integers(0, 2**16 - 1)),
    "UINT32": ("I", st.integers(0, 2**32 - 1)),
    "UINT64": ("Q", st.integers(0, 2**64 - 1)),
    "INT8": ("b", st.integers(-(2**7), 2**7 - 1)),
    "INT16": ("h", st.integers(-(2**15), 2**15 - 1)),
    "INT32": ("i", st.integers(-(2**31), 2**31 - 1)),
    "INT64": ("q", st.integers(-(2**63), 2**63 - 1)),
    "FP16": ("e", st.floats(width=16, allow_nan=False)),
    "FP32": ("f", st.floats(width=32, allow_nan=False)),
    "FP64": ("d", st.floats(allow_nan=False)),
}


def shaped(values, draw):
    count = len(values)
    return draw(st.sampled_from([([count], values), ([count, 1], values), ([count, 1], [[value] for value in values])]))


@st.composite
def json_requests(draw):
    count = draw(st.integers(1, 4))
    inputs, columns = [], {}
    for name in draw(st.lists(st.sampled_from("abc"), min_size=1, unique=True)):
        datatype = draw(st.sampled_from(sorted(JSON_VALUES)))
        columns[name] = draw(st.lists(JSON_VALUES[datatype], min_size=count, max_size=count))
        shape, data = shaped(columns[name], draw)
        inputs.append({"name": name, "datatype": datatype, "shape": shape, "data": data})
    return {"inputs": inputs}, columns


@settings(max_examples=60)
@given(json_requests())
def test_tensors_in_json_keep_their_elements(made):
    request, columns = made
    found = rest.decode(msgspec.json.encode(request))
    assert {tensor.name: tensor.values for tensor in found.inputs} == columns


@st.composite
def packed_tensors(draw):
    datatype = draw(st.sampled_from([*PACKED, "BYTES"]))
    if datatype == "BYTES":
        texts = draw(st.lists(st.text(max_size=6), max_size=5))
        return datatype, texts, b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)
    code, values = PACKED[datatype]
    drawn = draw(st.lists(values, max_size=5))
    return datatype, drawn, struct.pack(f"<{len(drawn)}{code}", *drawn)


@settings(max_examples=100)
@given(st.lists(packed_tensors(), min_size=1, max_size=4))
def test_binary_tensors_are_what_struct_packs(made):
    inputs = [
        {
            "name": f"t{place}",
            "shape": [len(values)],
            "datatype": datatype,
            "parameters": {"binary_data_size": len(raw)},
        }
        for place, (datatype, values, raw) in enumerate(made)
    ]
    head = json.dumps({"inputs": inputs}).encode()
    found = rest.decode(head + b"".join(raw for _, _, raw in made), str(len(head)).encode())
    for tensor, (_, values, _) in zip(found.inputs, made, strict=True):
        assert list(tensor.values) == values


def test_a_bf16_is_the_upper_half_of_a_float32():
    halves = struct.pack("<3f", 1.5, -2.0, 3.140625)
    raw = b"".join(halves[place + 2 : place + 4] for place in (0, 4, 8))
    one = {"name": "x", "shape": [3], "datatype": "BF16", "parameters": {"binary_data_size": 6}}
    head = json.dumps({"inputs": [one]}).encode()
    (tensor,) = rest.decode(head + raw, str(len(head)).encode()).inputs
    assert tensor.values.tolist() == [1.5, -2.0, 3.140625]


def test_json_and_binary_tensors_may_be_mixed():
    inputs = [
        {"name": "a", "shape": [1], "datatype": "BYTES", "data": ["x"]},
        {"name": "b", "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": 8}},
    ]
    head = json.dumps({"inputs": inputs, "id": "7", "parameters": {"explain": True}}).encode()
    found = rest.decode(head + struct.pack("<d", 2.5), str(len(head)).encode())
    assert [list(tensor.values) for tensor in found.inputs] == [["x"], [2.5]]
    assert (found.id, found.explains, found.binary) == ("7", True, False)


def test_nan_as_python_writes_it_is_null():
    body = b'{"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [NaN, 1.0]}]}'
    assert rest.decode(body).inputs[0].values == [None, 1.0]
    with pytest.raises(msgspec.DecodeError):
        rest.decode(body.replace(b"1.0", b"Infinity"))


def test_booleans_that_say_so_are_numbers():
    tensor = {"name": "x", "shape": [2], "datatype": "BOOL", "data": [True, False]}
    (found,) = rest.decode(msgspec.json.encode({"inputs": [tensor]})).inputs
    assert found.values == [1, 0]
    assert [type(value) for value in found.values] == [int, int]


WRONG = {
    "no data": ({"shape": [1], "datatype": "FP64"}, "oip.no_data"),
    "ragged": ({"shape": [2, 1], "datatype": "FP64", "data": [[1], [2, 3]]}, "oip.bad_shape"),
    "half nested": ({"shape": [2, 1], "datatype": "FP64", "data": [[1], 2]}, "oip.bad_shape"),
    "a list within": ({"shape": [2], "datatype": "FP64", "data": [1, [2]]}, "oip.bad_element"),
    "unequal rows that add up": ({"shape": [2, 2], "datatype": "FP64", "data": [[1, 2, 3], [4]]}, "oip.bad_shape"),
    "too few": ({"shape": [3], "datatype": "FP64", "data": [1, 2]}, "oip.bad_shape"),
    "negative": ({"shape": [-1], "datatype": "FP64", "data": []}, "oip.bad_shape"),
    "no dimension": ({"shape": [], "datatype": "FP64", "data": []}, "oip.bad_shape"),
    "text for a number": ({"shape": [1], "datatype": "FP64", "data": ["1"]}, "oip.bad_element"),
    "number for a text": ({"shape": [1], "datatype": "BYTES", "data": [1]}, "oip.bad_element"),
    "fraction": ({"shape": [1], "datatype": "INT8", "data": [1.5]}, "oip.bad_element"),
    "too large": ({"shape": [1], "datatype": "INT8", "data": [128]}, "oip.bad_element"),
    "unknown type": ({"shape": [1], "datatype": "FP8", "data": [1]}, "oip.unknown_datatype"),
    "shared memory": (
        {"shape": [1], "datatype": "FP64", "parameters": {"shared_memory_region": "r"}},
        "oip.not_spoken",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_tensor_is_refused(name):
    said, code = WRONG[name]
    with pytest.raises(InvalidInput) as caught:
        rest.decode(msgspec.json.encode({"inputs": [{"name": "x", **said}]}))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("datatype", "shape", "size", "rest_of_body", "code"),
    [
        ("FP64", [1], 8, b"1234567", "oip.bad_binary_size"),
        ("FP64", [1], 8, b"123456789", "oip.bad_binary_size"),
        ("FP64", [2], 8, b"12345678", "oip.bad_shape"),
        ("FP64", [1], -8, b"", "oip.bad_binary_size"),
        ("FP64", [1], "8", b"12345678", "oip.bad_binary_size"),
        ("BYTES", [1], 5, b"\x09\0\0\0a", "oip.bad_bytes"),
        ("BYTES", [1], 6, b"\x01\0\0\0ab", "oip.bad_bytes"),
        ("BYTES", [1], 5, b"\x01\0\0\0\xff", "oip.bad_bytes"),
        ("BYTES", [1 << 60], 5, b"\x01\0\0\0a", "oip.bad_shape"),
        ("BYTES", [1 << 60, 1 << 60, 0], 0, b"", None),
    ],
)
def test_wrong_binary_is_refused(datatype, shape, size, rest_of_body, code):
    one = {"name": "x", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [one]}).encode()
    if code is None:
        assert rest.decode(head + rest_of_body, str(len(head)).encode()).inputs[0].values == []
        return
    with pytest.raises(InvalidInput) as caught:
        rest.decode(head + rest_of_body, str(len(head)).encode())
    assert caught.value.code == code


@pytest.mark.parametrize("header", [b"-1", b"x", b"", b"1e3", b"99999999999999999999999", b"200", "²".encode()])
def test_a_wrong_header_length_is_refused(header):
    with pytest.raises(InvalidInput) as caught:
        rest.decode(b'{"inputs": []}', header)
    assert caught.value.code == "oip.bad_header_length"


def test_an_answer_has_its_binary_outputs_behind_the_json():
    tensors = (
        Tensor("score", "FP64", (2,), [0.25, None]),
        Tensor("decision", "BYTES", (2,), ["é", None]),
        Tensor("outputs", "FP64", (2, 2), np.array([0.5, 0.5, 1.0, 0.0])),
    )
    wanted = (
        RequestedOutput("score", binary=True),
        RequestedOutput("decision", binary=True),
        RequestedOutput("outputs"),
    )
    body, length = rest.encode(InferAnswer("late", "3", tensors, "7"), InferRequest((), outputs=wanted))
    said = json.loads(body[:length])
    assert said["outputs"][2] == {
        "name": "outputs",
        "datatype": "FP64",
        "shape": [2, 2],
        "data": [0.5, 0.5, 1.0, 0.0],
    }
    assert [one["parameters"]["binary_data_size"] for one in said["outputs"][:2]] == [16, 10]
    assert struct.unpack("<d", body[length : length + 8]) == (0.25,)
    assert body[length + 16 :] == b"\x02\0\0\0\xc3\xa9\0\0\0\0"
    assert np.isnan(struct.unpack("<d", body[length + 8 : length + 16])[0])


def test_an_answer_without_binary_is_json_alone():
    body, length = rest.encode(InferAnswer("m", "1", (Tensor("score", "FP64", (1,), [None]),)), InferRequest(()))
    assert length is None
    assert json.loads(body) == {
        "model_name": "m",
        "model_version": "1",
        "outputs": [{"name": "score", "datatype": "FP64", "shape": [1], "data": [None]}],
    }


@settings(max_examples=300)
@given(st.binary(max_size=200), st.none() | st.integers(0, 300))
def test_random_bodies_are_refused_with_our_errors(body, length):
    with contextlib.suppress(InvalidInput, msgspec.DecodeError):
        rest.decode(body, None if length is None else str(length).encode())

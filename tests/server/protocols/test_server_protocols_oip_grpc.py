import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.server.protocols.oip import grpc
from loopline.server.protocols.oip.messages import METHODS, messages, parse
from loopline.server.protocols.oip.tensors import InferAnswer, Tensor

TYPED = {
    "BOOL": ("bool_contents", [True, False], [1, 0], "?"),
    "UINT8": ("uint_contents", [0, 255], [0, 255], "B"),
    "UINT16": ("uint_contents", [0, 65535], [0, 65535], "H"),
    "UINT32": ("uint_contents", [0, 2**32 - 1], [0, 2**32 - 1], "I"),
    "UINT64": ("uint64_contents", [0, 2**64 - 1], [0, 2**64 - 1], "Q"),
    "INT8": ("int_contents", [-128, 127], [-128, 127], "b"),
    "INT16": ("int_contents", [-32768, 32767], [-32768, 32767], "h"),
    "INT32": ("int_contents", [-(2**31), 2**31 - 1], [-(2**31), 2**31 - 1], "i"),
    "INT64": ("int64_contents", [-(2**63), 2**63 - 1], [-(2**63), 2**63 - 1], "q"),
    "FP32": ("fp32_contents", [0.5, -1.25], [0.5, -1.25], "f"),
    "FP64": ("fp64_contents", [0.1, -1e300], [0.1, -1e300], "d"),
    "BYTES": ("bytes_contents", [b"a", "é".encode()], ["a", "é"], ""),
}


def message(datatype="FP64", shape=(2,), *, typed=None, raw=None, **rest):
    made = messages()["ModelInferRequest"](model_name="late", **rest)
    one = made.inputs.add(name="x", datatype=datatype, shape=shape)
    if typed is not None:
        getattr(one.contents, TYPED[datatype][0]).extend(typed)
    if raw is not None:
        made.raw_input_contents.append(raw)
    return made


def decoded(made):
    return grpc.decode(parse("ModelInferRequest", made.SerializeToString()))


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_and_raw_contents_say_the_same(datatype):
    _, sent, expected, code = TYPED[datatype]
    raw = struct.pack(f"<2{code}", *sent) if code else b"".join(struct.pack("<I", len(text)) + text for text in sent)
    (typed,), (packed,) = decoded(message(datatype, typed=sent)).inputs, decoded(message(datatype, raw=raw)).inputs
    assert list(typed.values) == list(packed.values) == expected


def test_half_floats_come_raw():
    (found,) = decoded(message("FP16", raw=struct.pack("<2e", 0.5, 2.0))).inputs
    assert found.values.tolist() == [0.5, 2.0]


def test_ids_parameters_and_wanted_outputs_are_kept():
    made = message(typed=[1, 2], id="r7")
    made.parameters["explain"].bool_param = True
    made.parameters["n"].int64_param = -3
    made.parameters["s"].string_param = "t"
    made.parameters["d"].double_param = 0.5
    made.parameters["none"].SetInParent()
    made.outputs.add(name="score")
    found = decoded(made)
    assert (found.id, found.explains, found.raw) == ("r7", True, False)
    assert found.parameters == {"explain": True, "n": -3, "s": "t", "d": 0.5}
    assert [one.name for one in found.outputs] == ["score"]


ANSWER = InferAnswer(
    "late",
    "3",
    (
        Tensor("score", "FP64", (2,), [0.25, None]),
        Tensor("decision", "BYTES", (2,), ["é", None]),
        Tensor("outputs", "FP64", (1, 2), np.array([0.5, 0.5])),
    ),
    "r7",
    {"explain": True, "n": 2, "u": 2**63, "d": 0.5, "s": "t"},
)


def test_an_answer_is_raw_where_the_request_was():
    found = grpc.encode(ANSWER, decoded(message(raw=b"\0" * 16)))
    assert [len(raw) for raw in found.raw_output_contents] == [16, 10, 16]
    assert struct.unpack("<d", found.raw_output_contents[0][:8]) == (0.25,)
    assert found.raw_output_contents[1] == b"\x02\0\0\0\xc3\xa9\0\0\0\0"
    assert not any(one.HasField("contents") for one in found.outputs)


def test_an_answer_is_typed_where_the_request_was():
    found = grpc.encode(ANSWER, decoded(message(typed=[1, 2])))
    assert not found.raw_output_contents
    scores = found.outputs[0].contents.fp64_contents
    assert scores[0] == 0.25
    assert np.isnan(scores[1])
    assert list(found.outputs[1].contents.bytes_contents) == ["é".encode(), b""]
    assert (list(found.outputs[2].shape), found.id, found.model_version) == ([1, 2], "r7", "3")
    assert {name: value.WhichOneof("parameter_choice") for name, value in found.parameters.items()} == {
        "explain": "bool_param",
        "n": "int64_param",
        "u": "uint64_param",
        "d": "double_param",
        "s": "string_param",
    }


def both():
    made = message(typed=[1, 2])
    made.raw_input_contents.append(b"\0" * 16)
    return made


def two_raw():
    made = message(raw=b"\0" * 16)
    made.raw_input_contents.append(b"")
    return made


def shared():
    made = message(typed=[1, 2])
    made.inputs[0].parameters["shared_memory_region"].string_param = "r"
    return made


WRONG = {
    "typed and raw": (both, "oip.raw_contents"),
    "one raw too many": (two_raw, "oip.raw_contents"),
    "nothing": (message, "oip.bad_shape"),
    "too few": (lambda: message(typed=[1]), "oip.bad_shape"),
    "too few bytes": (lambda: message(raw=b"\0" * 8), "oip.bad_shape"),
    "half floats typed": (lambda: message("FP16"), "oip.not_typed"),
    "too large": (lambda: message("INT8", typed=[1, 200]), "oip.bad_element"),
    "unknown": (lambda: message("FP8"), "oip.unknown_datatype"),
    "negative": (lambda: message(shape=[-2], typed=[1, 2]), "oip.bad_shape"),
    "no dimension": (lambda: message(shape=[], typed=[]), "oip.bad_shape"),
    "no text": (lambda: message("BYTES", typed=[b"\xff", b""]), "oip.bad_bytes"),
    "shared memory": (shared, "oip.not_spoken"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_message_is_refused(name):
    make, code = WRONG[name]
    with pytest.raises(InvalidInput) as caught:
        decoded(make())
    assert caught.value.code == code


@settings(max_examples=500)
@given(st.sampled_from(METHODS), st.binary(max_size=100))
def test_random_bytes_are_a_message_or_refused(method, content):
    try:
        found = parse(f"{method}Request", content)
        if method == "ModelInfer":
            grpc.decode(found)
    except InvalidInput:
        pass


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_request_is_read_or_refused(data):
    content = bytearray(message("BYTES", typed=[b"ab", b"c"], id="7").SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded_again = grpc.decode(parse("ModelInferRequest", bytes(content)))
    except InvalidInput:
        return
    for tensor in decoded_again.inputs:
        assert len(tensor.values) == np.prod(tensor.shape)

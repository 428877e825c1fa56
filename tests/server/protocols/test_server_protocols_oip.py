import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.server.protocols import oip

values = {
    "FP64": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    "BYTES": st.none() | st.text(max_size=5),
    "INT32": st.integers(-9, 9),
}


@st.composite
def requests(draw):
    count = draw(st.integers(1, 4))
    inputs, columns = [], {}
    for name in draw(st.lists(st.sampled_from("abc"), min_size=1, unique=True)):
        datatype = draw(st.sampled_from(sorted(values)))
        columns[name] = draw(st.lists(values[datatype], min_size=count, max_size=count))
        shape, data = draw(
            st.sampled_from(
                [([count], columns[name]), ([count, 1], columns[name]), ([count, 1], [[v] for v in columns[name]])]
            )
        )
        inputs.append({"name": name, "datatype": datatype, "shape": shape, "data": data})
    return {"inputs": inputs}, columns


@settings(max_examples=60)
@given(requests())
def test_rows_are_the_tensors_turned(made):
    request, columns = made
    rows = oip.rows(oip.decode(msgspec.json.encode(request)))
    assert {name: [row[name] for row in rows] for name in columns} == columns


def test_booleans_that_say_so_are_numbers():
    tensor = {"name": "x", "shape": [2], "datatype": "BOOL", "data": [True, False]}
    (first, second) = oip.rows(oip.decode(msgspec.json.encode({"inputs": [tensor]})))
    assert (first["x"], second["x"]) == (1, 0)
    assert type(first["x"]) is int


@pytest.mark.parametrize("data", [[[1], [2, 3]], [[1], 2], [[[1]], [2], [3]]])
def test_ragged_data_is_refused(data):
    tensor = {"name": "x", "shape": [2, 1], "datatype": "FP64", "data": data}
    with pytest.raises(InvalidInput) as caught:
        oip.rows(oip.decode(msgspec.json.encode({"inputs": [tensor]})))
    assert caught.value.code == "oip.bad_shape"

from hypothesis import given
from hypothesis import strategies as st

from loopline.values import derive_id, derive_ids

parts = st.text() | st.integers() | st.none()


@given(st.integers(0, 2**32), st.tuples(parts, parts), st.lists(st.tuples(parts, parts), max_size=5))
def test_ids_of_many_are_those_of_each(seed, path, lasts):
    assert derive_ids("pr", seed, path, lasts) == [derive_id("pr", seed, *path, *last) for last in lasts]

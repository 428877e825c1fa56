"""What every online store must hold. Subclass `KeyValueSuite` and give it a fixture `key_values`."""

import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.storage.key_values import KeyValues

_SHORT = st.binary(min_size=1, max_size=3)
_CHANGES = st.lists(st.dictionaries(_SHORT, st.none() | st.binary(max_size=4), max_size=5), max_size=6)


class KeyValueSuite:
    """A sorted map: reads, atomic writes, prefixes, threads. `key_values` is an empty store for each test."""

    def test_values_come_back(self, key_values: KeyValues) -> None:
        key_values.put_many({b"a": b"1", b"\x00": b"", b"\xff" * 511: b"x" * 100_000})
        assert key_values.get(b"a") == b"1"
        assert key_values.get(b"\x00") == b""
        assert key_values.get(b"\xff" * 511) == b"x" * 100_000
        assert key_values.get(b"b") is None

    def test_many_are_read_in_the_order_asked(self, key_values: KeyValues) -> None:
        key_values.put_many({b"a": b"1", b"b": b"2"})
        assert key_values.get_many([b"b", b"z", b"a", b"b"]) == [b"2", None, b"1", b"2"]
        assert key_values.get_many([]) == []

    def test_none_deletes(self, key_values: KeyValues) -> None:
        key_values.put_many({b"a": b"1", b"b": b"2"})
        key_values.put_many({b"a": None, b"never": None, b"b": b"3"})
        assert list(key_values.scan(b"")) == [(b"b", b"3")]

    @pytest.mark.parametrize("wrong", [b"", b"x" * 512])
    def test_an_impossible_key_is_refused_and_nothing_written(self, key_values: KeyValues, wrong: bytes) -> None:
        with pytest.raises(InvalidInput) as raised:
            key_values.put_many({b"a": b"1", wrong: b"2"})
        assert raised.value.code == "key_values.key_invalid"
        assert list(key_values.scan(b"")) == []
        with pytest.raises(InvalidInput):
            key_values.get(wrong)

    def test_a_long_scan_is_complete_and_sorted(self, key_values: KeyValues) -> None:
        rows = {f"k{number}".encode(): str(number).encode() for number in range(3500)}
        key_values.put_many(rows | {b"j": b"", b"l": b""})
        assert list(key_values.scan(b"k")) == sorted(rows.items())

    def test_a_scan_may_be_left_and_written_into(self, key_values: KeyValues) -> None:
        key_values.put_many({f"{number:05}".encode(): b"" for number in range(2500)})
        scan = key_values.scan(b"")
        next(scan)
        key_values.put_many({b"99999": b"late", b"00001": None})
        assert (b"99999", b"late") in list(scan)

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(changes=_CHANGES, prefix=st.binary(max_size=2))
    def test_it_is_a_sorted_map(
        self, key_values: KeyValues, changes: list[dict[bytes, bytes | None]], prefix: bytes
    ) -> None:
        key_values.put_many({key: None for key, _ in key_values.scan(b"")})
        model: dict[bytes, bytes] = {}
        for change in changes:
            key_values.put_many(change)
            model |= {key: value for key, value in change.items() if value is not None}
            model = {key: value for key, value in model.items() if change.get(key, b"") is not None}
        assert list(key_values.scan(prefix)) == [row for row in sorted(model.items()) if row[0].startswith(prefix)]
        asked = [key for change in changes for key in change]
        assert key_values.get_many(asked) == [model.get(key) for key in asked]

    def test_readers_never_see_half_a_write(self, key_values: KeyValues) -> None:
        keys = [b"a", b"m", b"z"]
        key_values.put_many(dict.fromkeys(keys, b"0"))
        done = threading.Event()
        torn: list[list[bytes | None]] = []

        def read() -> None:
            while not done.is_set():
                values = key_values.get_many(keys)
                if len(set(values)) != 1:
                    torn.append(values)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for number in range(200):
            key_values.put_many(dict.fromkeys(keys, str(number).encode()))
        done.set()
        for reader in readers:
            reader.join()
        assert torn == []
        assert key_values.get_many(keys) == [b"199"] * 3

"""A key-value store in memory, for building what is then written at once."""

from collections.abc import Iterator, Mapping, Sequence


class Scratch:
    """`storage.key_values.KeyValues` over a dict."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """The value of one key, or None."""
        return self.values.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of many keys in their order."""
        return [self.values.get(key) for key in keys]

    def put_many(self, values: Mapping[bytes, bytes | None]) -> None:
        """Set the keys, deleting those with None."""
        for key, value in values.items():
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The keys that begin with `prefix`, sorted by their bytes, with their values."""
        held = sorted((key, value) for key, value in self.values.items() if value is not None)
        return ((key, value) for key, value in held if key.startswith(prefix))

    def forget(self) -> None:
        """Memory keeps nothing of what is deleted."""

    def close(self) -> None:
        """Nothing to let go of."""

"""Pseudonyms: stable under one key, unlike under another, and telling nothing."""

import hashlib
import hmac
import threading

from hypothesis import given
from hypothesis import strategies as st

from loopline.access.pseudonyms import Pseudonyms, is_pseudonym
from loopline.storage.files import secret_in

KEY = b"k" * 32


def test_a_pseudonym_is_the_keyed_digest_of_the_text():
    expected = hmac.new(KEY, b"value\x1fC123", hashlib.sha256).hexdigest()
    assert Pseudonyms(KEY).of("C123") == f"person:{expected[:12]}"
    assert Pseudonyms(KEY).code("C123") == expected[:32]
    assert Pseudonyms(KEY).of(7) == Pseudonyms(KEY).of("7")


@given(st.text(), st.text())
def test_pseudonyms_join_as_values_do_and_another_key_gives_others(one, other):
    pseudonyms = Pseudonyms(KEY)
    assert (pseudonyms.code(one) == pseudonyms.code(other)) == (one == other)
    assert is_pseudonym(pseudonyms.of(one))
    assert not is_pseudonym(one) or one.startswith("person:")
    assert Pseudonyms(b"j" * 32).code(one) != pseudonyms.code(one)
    assert pseudonyms.secret(one) != pseudonyms.secret(one + "x")


def test_whoever_asks_first_makes_the_secret_for_all(tmp_path):
    path, found = tmp_path / "keys" / "secret", []
    threads = [threading.Thread(target=lambda: found.append(secret_in(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found[0]) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["secret"]

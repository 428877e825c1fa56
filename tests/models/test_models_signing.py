import base64
import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import Conflict, Corrupt, NotFound
from loopline.models.signing import (
    SigningKey,
    create_key,
    load_public_keys,
    load_signing_key,
    pre_authentication,
    sign,
    verify,
)

TYPE = "application/vnd.test+json"


def test_the_test_vector_of_dsse():
    # github.com/secure-systems-lab/dsse, protocol.md: P-256, RFC 6979, signature as r || s
    private = ec.derive_private_key(
        97358161215184420915383655311931858321456579547487070936769975997791359926199, ec.SECP256R1()
    )
    kind = "http://example.com/HelloWorld"
    envelope = json.loads(sign(SigningKey("k", private), kind, b"hello world"))
    r, s = utils.decode_dss_signature(base64.b64decode(envelope["signatures"][0]["sig"]))
    expected = "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
    assert base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode() == expected
    assert pre_authentication(kind, b"hello world") == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert (envelope["payload"], envelope["payloadType"]) == ("aGVsbG8gd29ybGQ=", kind)


def test_a_loaded_key_signs_the_same_bytes_and_its_public_half_verifies(tmp_path: Path):
    made = create_key(tmp_path)
    loaded = load_signing_key(tmp_path)
    assert loaded.id == made.id
    envelope = sign(made, TYPE, b"payload")
    assert envelope == sign(loaded, TYPE, b"payload")
    assert verify(load_public_keys(tmp_path), TYPE, envelope) == b"payload"


def test_key_files_are_for_the_owner_alone(tmp_path: Path):
    create_key(tmp_path / "keys")
    files = list((tmp_path / "keys").iterdir())
    assert len(files) == 2
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_second_key_needs_the_first_moved_away_and_the_first_stays_trusted(tmp_path: Path):
    first = create_key(tmp_path)
    with pytest.raises(Conflict) as caught:
        create_key(tmp_path)
    assert caught.value.code == "signing.key_exists"
    assert len(load_public_keys(tmp_path)) == 1
    (tmp_path / "signing.pem").rename(tmp_path / "old.pem")
    second = create_key(tmp_path)
    for key in (first, second):
        assert verify(load_public_keys(tmp_path), TYPE, sign(key, TYPE, b"p")) == b"p"


def test_missing_and_damaged_keys(tmp_path: Path):
    with pytest.raises(NotFound):
        load_signing_key(tmp_path)
    assert not load_public_keys(tmp_path)
    (tmp_path / "signing.pem").write_text("no key")
    (tmp_path / "x.pub.pem").write_text("no key")
    for load in (load_signing_key, load_public_keys):
        with pytest.raises(Corrupt) as caught:
            load(tmp_path)
        assert caught.value.code == "signing.key_unreadable"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_changed_byte_passes(data):
    key = _KEY
    payload = data.draw(st.binary(min_size=1, max_size=40))
    envelope = bytearray(sign(key, TYPE, payload))
    place = data.draw(st.integers(0, len(envelope) - 1))
    envelope[place] ^= data.draw(st.integers(1, 255))
    assert opened(key, bytes(envelope)) in {payload, "malformed", "unknown_key", "invalid"}


def opened(key: SigningKey, envelope: bytes) -> bytes | str:
    try:
        return verify(key.public, TYPE, envelope)
    except Corrupt as error:
        return error.code.removeprefix("signature.")


def test_each_refusal_has_its_code(tmp_path: Path):
    key, other = create_key(tmp_path / "a"), create_key(tmp_path / "b")
    envelope = json.loads(sign(key, TYPE, b"payload"))
    changed = {**envelope, "payload": base64.b64encode(b"payloae").decode()}
    for keys, kind, content, code in [
        (other.public, TYPE, envelope, "signature.unknown_key"),
        ({key.id: other.private.public_key()}, TYPE, envelope, "signature.invalid"),
        (key.public, TYPE, changed, "signature.invalid"),
        (key.public, "application/other", envelope, "signature.malformed"),
        (key.public, TYPE, {"payload": "x"}, "signature.malformed"),
        (key.public, TYPE, {**envelope, "payload": "!"}, "signature.malformed"),
        (key.public, TYPE, {**envelope, "signatures": []}, "signature.unknown_key"),
    ]:
        with pytest.raises(Corrupt) as caught:
            verify(keys, kind, json.dumps(content).encode())
        assert caught.value.code == code
    with pytest.raises(Corrupt) as caught:
        verify(key.public, TYPE, b"\xff not json")
    assert caught.value.code == "signature.malformed"


_KEY = SigningKey("sha256:test", ec.derive_private_key(12345, ec.SECP256R1()))

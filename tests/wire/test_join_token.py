"""Join tokens with and without the fingerprint of a certificate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_wire.join_token import join, split

SECRET = "lbj_0123456789abcdef"


@given(st.binary(min_size=32, max_size=32))
def test_a_fingerprint_comes_back_as_it_was(fingerprint: bytes) -> None:
    assert split(join(SECRET, fingerprint)) == (SECRET, fingerprint)


def test_a_token_without_one_is_the_secret() -> None:
    assert join(SECRET, None) == SECRET
    assert split(SECRET) == (SECRET, None)


@pytest.mark.parametrize("rest", ["", "AAAA", "A" * 42, "A" * 44, "!" * 43, "A" * 43 + ".B"])
def test_a_fingerprint_that_is_not_whole_is_refused(rest: str) -> None:
    with pytest.raises(ValueError, match="copy the token again"):
        split(f"{SECRET}.{rest}")


def test_only_a_sha256_is_a_fingerprint() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        join(SECRET, b"short")

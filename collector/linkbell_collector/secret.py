"""Join tokens and agent credentials: 256 random bits, of which only the SHA-256 is kept.

A plain hash is right here: nobody can guess 256 random bits, so there is nothing for a slow hash to slow down.
"""

import hashlib
import secrets

TOKEN_PREFIX = "lbj_"  # noqa: S105 - how a join token begins, not a secret
CREDENTIAL_PREFIX = "lbc_"
_RANDOM_BYTES = 32


def new_token() -> str:
    """Return a fresh join token; it is shown once."""
    return TOKEN_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def new_credential() -> str:
    """Return a fresh agent credential; it is shown once."""
    return CREDENTIAL_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def new_id(prefix: str) -> str:
    """Return a public identifier, short enough to read aloud: ``prefix`` and 48 random bits."""
    return f"{prefix}-{secrets.token_hex(6)}"


def digest(secret: str) -> bytes:
    """Return what is stored of a secret. Looking it up by this value leaks nothing through timing."""
    return hashlib.sha256(secret.encode()).digest()

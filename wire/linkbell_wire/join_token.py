"""A join token as people carry it: the secret, and if wanted the fingerprint of the collector's certificate.

``lbj_SECRET`` or ``lbj_SECRET.FINGERPRINT``: a dot, and the SHA-256 of the certificate (DER) as unpadded base64url.
The fingerprint is the agent's to check and never leaves it; the collector hears the secret alone.
"""

import base64
import binascii

FINGERPRINT_BYTES = 32


def join(secret: str, fingerprint: bytes | None) -> str:
    """Return the token. Raises ``ValueError`` if the fingerprint is not one of SHA-256."""
    if fingerprint is None:
        return secret
    if len(fingerprint) != FINGERPRINT_BYTES:
        raise ValueError("a fingerprint is a SHA-256 of 32 bytes")
    return f"{secret}.{base64.urlsafe_b64encode(fingerprint).decode().rstrip('=')}"


def split(token: str) -> tuple[str, bytes | None]:
    """Return secret and fingerprint. Raises ``ValueError`` if what follows the dot is not a whole fingerprint."""
    secret, dot, rest = token.partition(".")
    if not dot:
        return secret, None
    try:
        fingerprint = base64.b64decode(rest + "=" * (-len(rest) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        fingerprint = b""
    if len(fingerprint) != FINGERPRINT_BYTES:
        raise ValueError("what follows the dot is not a whole fingerprint: copy the token again, to its end")
    return secret, fingerprint

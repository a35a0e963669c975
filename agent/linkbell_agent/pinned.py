"""A collector whose certificate no authority vouches for: known by the fingerprint in its join token."""

import functools
import hashlib
import hmac
import ssl
from urllib.parse import urlsplit

from linkbell_agent.classify import NetworkFailure, network_failure
from linkbell_agent.http1 import Connection, Peer
from linkbell_wire.failures import Operation

TIMEOUT_S = 20.0


class OtherCertificateError(Exception):
    """Somebody answered, with another certificate than the token names."""


def certificate_of(url: str, fingerprint: bytes) -> str:
    """Return the certificate (PEM) that the collector at ``url`` shows, if it is the one with this fingerprint.

    Nothing is said to it. Blocks for up to twenty seconds a step. Raises :class:`OtherCertificateError`, and
    :class:`~linkbell_agent.classify.NetworkFailure` if nobody speaks TLS there.
    """
    parts = urlsplit(url)
    connection = Connection(Peer(parts.hostname or "", parts.port or 443, TIMEOUT_S, _believe_all))
    try:
        connection.open()
        shown = connection.peer_certificate
    except (NetworkFailure, OSError, UnicodeError) as error:
        raise network_failure(Operation.HTTP_REQUEST, error) from error
    finally:
        connection.close()
    if shown is None or not hmac.compare_digest(hashlib.sha256(shown).digest(), fingerprint):
        raise OtherCertificateError
    return ssl.DER_cert_to_PEM_cert(shown)


@functools.lru_cache(maxsize=1)
def only(certificate: str) -> ssl.SSLContext:
    """Trust this certificate (PEM) and no other, whatever names are in it: it is known by itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it need not have signed itself
    return context


def _believe_all() -> ssl.SSLContext:
    """For looking at a certificate before it is held against its fingerprint, and for nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context

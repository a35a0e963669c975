"""Whom this box trusts: one TLS context for all that it does, made when first needed."""

import functools
import os
import ssl
import sys


def system_tls() -> ssl.SSLContext:
    """Trust whom the system trusts. A folder of certificates is looked into when needed; a file of all is 2.5 MB."""
    paths = ssl.get_default_verify_paths()
    is_default = paths.cafile == paths.openssl_cafile or not paths.cafile  # not named by SSL_CERT_FILE
    if is_default and paths.capath and _is_index(paths.capath):
        return ssl.create_default_context(capath=paths.capath)
    return ssl.create_default_context()


def sessions_can_be_kept(python: tuple[int, ...] = sys.version_info[:3]) -> bool:
    """Say whether this Python can be asked for the session of a TLS connection without losing memory.

    Before 3.12.8, and in 3.13.0, ``SSLSocket.session`` makes two and frees one (python/cpython issue 116810): 6.9 kB
    each time (measured), 10 MB a day of an agent that fetches one page a minute.
    """
    return python >= (3, 13, 1) or (3, 12, 8) <= python < (3, 13)


def shared_tls() -> ssl.SSLContext:
    """Return the context that all connections share.

    Each of its own is 0.8 MB (measured, with a file of 140 authorities) for each of reports, configuration and
    fetches, kept, and for each speed test a hole in the heap.
    """
    return _shared(ssl.get_default_verify_paths())


@functools.lru_cache(maxsize=1)
def _shared(_paths: ssl.DefaultVerifyPaths) -> ssl.SSLContext:
    return system_tls()


def _is_index(folder: str) -> bool:
    """Say whether certificates can be found there by the hash of their subject (openssl-rehash(1))."""
    try:
        return any(name.endswith(".0") for name in os.listdir(folder))
    except OSError:
        return False

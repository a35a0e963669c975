"""Where the page is served, as the settings say it. Pure."""

import ipaddress


def read_listen(value: str) -> tuple[str, int]:
    """Return address and port of ``0.0.0.0:8472`` or ``[::]:8472``. Raises :class:`ValueError` with a sentence."""
    host, colon, port = value.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not port.isdecimal() or int(port) > 65_535 or (":" in bare) != (bare != host):
        raise ValueError("write it like 0.0.0.0:8472 or [::]:8472")
    ipaddress.ip_address(bare)
    return bare, int(port)


def loopback_of(host: str) -> str:
    """Return where this box finds what it serves at ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound

"""Where a measurement server is, read from the URL a person or the collector gave."""

import ipaddress
import re
from urllib.parse import urlsplit

from linkbell_agent.slim import dataclass

_HOST = re.compile(r"[A-Za-z0-9_.-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?")
_PORTS = {"ws": 80, "http": 80, "wss": 443, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Scheme, host and port: all of a server's URL that is used. ``tls`` stands for ``wss``."""

    host: str
    port: int
    tls: bool = False

    @property
    def authority(self) -> str:
        """``host:port`` as it stands in a URL and in the Host header; the port is left out where it is the usual."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL to record: without credentials, path or query."""
        return f"{'wss' if self.tls else 'ws'}://{self.authority}"


def parse(url: str) -> Endpoint:
    """Read ``ws://``, ``wss://``, ``http://`` or ``https://``, a host, perhaps a port; the rest is not used.

    Raises :class:`ValueError` with a sentence if there is no host or the port is no port.
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
        if host and ":" in host:
            ipaddress.IPv6Address(host)
        elif host and not host.isascii():  # the codec's tables are 0.4 MB: not for a name that needs none of them
            host = host.encode("idna").decode("ascii")
    except ValueError as error:
        raise ValueError(f"{url!r} is not the address of a server: {error}") from error
    if parts.scheme not in _PORTS or not host or not _HOST.fullmatch(host) or port == 0:
        raise ValueError(f"{url!r} is not the address of a server, as in ws://speed.example.org:8471")
    return Endpoint(host, port or _PORTS[parts.scheme], parts.scheme in ("wss", "https"))

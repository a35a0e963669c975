"""Names on one of several uplinks: asked of its own name servers, on it, or they would be asked by another way out."""

import socket
from pathlib import Path

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.net import Address, Uplink
from linkbell_agent.probes.dns import DnsRequest, ask
from linkbell_agent.probes.dns_message import RecordType
from linkbell_wire.failures import FailureCode, Operation

HOSTS_FILE = Path("/etc/hosts")
FINAL = frozenset({FailureCode.DNS_NOT_FOUND, FailureCode.DNS_NO_ADDRESS})
"""Answers that another name server would only repeat."""


async def addresses_on(host: str, uplink: Uplink) -> list[Address]:
    """Return the addresses of ``host``: of IPv4 if it has any and the uplink's source is not of IPv6, else of IPv6.

    Raises :class:`NetworkFailure`, the first name server's if none answers.
    """
    first: NetworkFailure | None = None
    for server in uplink.resolvers or ():
        try:
            return await _ask(host, server, uplink)
        except NetworkFailure as failure:
            if failure.failure.code in FINAL:
                raise
            first = first or failure
    raise first or NetworkFailure(Operation.RESOLVE, FailureCode.ADDRESS_UNAVAILABLE)


async def _ask(host: str, server: str, uplink: Uplink) -> list[Address]:
    kinds: list[tuple[RecordType, socket.AddressFamily]] = [("A", socket.AF_INET), ("AAAA", socket.AF_INET6)]
    if uplink.source is not None:
        kinds = [kinds[":" in uplink.source]]
    for kind, family in kinds:
        found = await ask(DnsRequest("name", host, server, record_type=kind), uplink)
        if found:
            return [Address(family, address) for address in found]
    raise NetworkFailure(Operation.RESOLVE, FailureCode.DNS_NO_ADDRESS)


def is_in_hosts_file(host: str, file: Path = HOSTS_FILE) -> bool:
    """Say whether the box itself knows the name (hosts(5))."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any(host.lower() in line.partition("#")[0].lower().split()[1:] for line in lines)

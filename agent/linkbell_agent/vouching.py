"""Whether the collector at an address is the one that a join token names, before anything is said to it."""

import asyncio

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.collector_api import CollectorApi
from linkbell_agent.enrolment import EnrolmentError, unreachable
from linkbell_agent.pinned import OtherCertificateError, certificate_of


async def vouched(url: str, fingerprint: bytes, system: CollectorApi) -> tuple[str, bool]:
    """Return the collector's certificate (PEM), and whether the system trusts it as well.

    ``system`` connects to ``url`` if it does. Then the certificate may be renewed without the agent. Raises
    :class:`~linkbell_agent.enrolment.EnrolmentError`.
    """
    if not url.startswith("https://"):
        raise EnrolmentError(f"the token names a certificate, and {url} has none. Write the address with https://.")
    try:
        certificate = await asyncio.to_thread(certificate_of, url, fingerprint)
    except NetworkFailure as failure:
        raise unreachable(url, failure) from failure
    except OtherCertificateError as error:
        raise EnrolmentError(
            f"{url} shows another certificate than the token names, so the token was not sent. Somebody may stand in "
            "between, such as a filter of the school or the provider; or the certificate is new: ask for a new token."
        ) from error
    return certificate, await _is_known(system)


async def _is_known(system: CollectorApi) -> bool:
    try:
        await system.ready()
    except NetworkFailure:
        return False
    return True

"""The collector: reached, encrypted, the right clock, and does it know this box."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from linkbell_agent import net
from linkbell_agent.classify import NetworkFailure
from linkbell_agent.collector_api import HttpReply
from linkbell_agent.configuration import CONFIGURATION_PATH
from linkbell_agent.doctor.findings import Case, Finding
from linkbell_agent.doctor.network import CONNECT_TIMEOUT_S, HTTP_TIMEOUT_S, reason
from linkbell_agent.identity import Identity
from linkbell_wire.failures import FailureCode

CLOCK_ALLOWED_S = 60.0
_TLS = ("tls_certificate_invalid", "tls_certificate_not_yet_valid", "tls_certificate_expired", "tls_failed")


async def collector(case: Case) -> list[Finding]:
    """Walk the way a report goes, and stop where it ends."""
    title = case.speech.say("Collector")
    if case.identity is None:
        return [case.skipped("collector", title, case.speech.say("This box has not enrolled."))]
    reached = await _reach(case, case.identity)
    if not isinstance(reached, HttpReply):
        return [*reached]
    findings = [case.good("collector", title, case.speech.say("{url} answers.", url=case.identity.collector))]
    findings.append(_encryption(case, case.identity))
    findings.append(_credential(case, reached.status))
    findings += _clock(case, reached.headers)
    return findings


async def _reach(case: Case, identity: Identity) -> HttpReply | list[Finding]:
    """Return the collector's answer, or how far it was."""
    say, title, parts = case.speech.say, case.speech.say("Collector"), urlsplit(identity.collector)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    try:
        sock, _ = await net.connect(parts.hostname or "", port, case.reports_by, timeout_s=CONNECT_TIMEOUT_S)
        sock.close()
    except NetworkFailure as failure:
        said = say("{url} is not reached: {reason}.", url=identity.collector, reason=reason(case, failure))
        advice = say(
            "See what is said of router and names. If they are well, a firewall may close port {port}.", port=port
        )
        return [case.failure("collector", title, said, advice)]
    api = case.outside.new_api(identity.collector, HTTP_TIMEOUT_S)
    try:
        authorization = f"Bearer {identity.credential.get_secret_value()}"
        return await api.request("GET", CONFIGURATION_PATH, {"Authorization": authorization})
    except NetworkFailure as failure:
        return [_no_answer(case, identity, failure)]
    finally:
        api.close()


def _no_answer(case: Case, identity: Identity, failure: NetworkFailure) -> Finding:
    say = case.speech.say
    said = say("{url} does not answer: {reason}.", url=identity.collector, reason=reason(case, failure))
    if failure.failure.code.value not in _TLS:
        advice = say("Something answers there that is no collector, or a proxy is in the way. Check the address.")
        return case.failure("collector", say("Collector"), said, advice)
    now = case.quantities.date_time(case.clock.now().wall)
    advice = say("This box has {moment} (UTC). If that is wrong, set the clock; if not, tell the operator.", moment=now)
    if failure.failure.code is FailureCode.TLS_FAILED:
        advice = say("Is it http:// instead of https://? If not, something on the way changes the traffic.")
    return case.failure("tls", say("Encryption (TLS)"), said, advice)


def _encryption(case: Case, identity: Identity) -> Finding:
    say, title = case.speech.say, case.speech.say("Encryption (TLS)")
    if identity.collector.startswith("https:"):
        return case.good("tls", title, say("The certificate is valid."))
    host = urlsplit(identity.collector).hostname or ""
    if host in ("localhost", "::1") or host.startswith("127."):
        return case.skipped("tls", title, say("Not needed within one machine."))
    advice = say("Ask the operator for an https:// address, and enrol again with it.")
    return case.warning("tls", title, say("None: whoever is on the way can read this box's credential."), advice)


def _credential(case: Case, status: int) -> Finding:
    say, title = case.speech.say, case.speech.say("Credential")
    if status in (HTTPStatus.OK, HTTPStatus.NOT_MODIFIED):
        return case.good("credential", title, say("The collector accepts it."))
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        advice = say("Ask for a new join token, and run: linkbell-agent enrol URL --token - --again. Nothing is lost.")
        return case.failure(
            "credential", title, say("The collector refuses it (HTTP {status}).", status=status), advice
        )
    advice = say("Check the address. If it is right, the collector has trouble: results wait here until it is over.")
    said = say("The answer is HTTP {status}, which says nothing of it.", status=status)
    return case.failure("credential", title, said, advice)


def _clock(case: Case, headers: Mapping[str, str]) -> list[Finding]:
    """Compare the clocks by the ``Date`` of the answer (RFC 9110, section 6.6.1), which is right to a second."""
    say, title = case.speech.say, case.speech.say("Clock beside the collector's")
    try:
        offset_s = (case.clock.now().wall - parsedate_to_datetime(headers["date"])).total_seconds()
    except (KeyError, ValueError, TypeError):
        return [case.skipped("clock_offset", title, say("The collector does not say its time."))]
    lasting = case.quantities.duration(abs(offset_s))
    if abs(offset_s) <= CLOCK_ALLOWED_S:
        return [case.good("clock_offset", title, say("They agree to within a minute."))]
    ahead, behind = say("Ahead by {duration}.", duration=lasting), say("Behind by {duration}.", duration=lasting)
    said = ahead if offset_s > 0 else behind
    return [case.warning("clock_offset", title, said, say("Set the clock: timedatectl set-ntp true, or date -s."))]

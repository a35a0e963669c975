"""Where the fault is: one answer from the states of the layers, and when to believe it. Pure.

Two steps. :func:`locate` reads one round. :func:`decide` holds on to what it said before until rounds agree: one lost
round is no fault, and a line that comes and goes is one after three.
"""

from dataclasses import replace

from linkbell_agent.layers.states import Health, LayerStates
from linkbell_agent.slim import dataclass
from linkbell_wire.words import VerdictState

AGREEING_ROUNDS = 2
"""A finding is believed when this many rounds in a row say the same."""

DISAGREEING_ROUNDS = 3
"""The present verdict is given up when so many rounds in a row contradict it, whatever each says."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict in force. ``since_s`` is on the boot-time clock; ``state`` is None before the first one.

    ``pending`` is what the last ``agreeing`` rounds said instead; ``against`` counts all in a row that did.
    """

    state: VerdictState | None = None
    since_s: float = 0.0
    pending: VerdictState | None = None
    agreeing: int = 0
    against: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether the last round said the same."""
        return self.state is not None and self.pending is None


def locate(states: LayerStates) -> VerdictState:
    """Return where the fault is, as one round shows it.

    What answers proves that everything nearer works, whatever that answers itself. What was not found out is never a
    fault. A login page explains all that fails behind it, and is looked for first.
    """
    if states.portal:
        return VerdictState.CAPTIVE_PORTAL
    heard_far = any(health.answers for health in states.far)
    if not heard_far and states.gateway is Health.DOWN and not _heard_beyond_the_gateway(states):
        return VerdictState.LAN_DOWN
    if not heard_far and _provider_is_down(states):
        return VerdictState.ISP_DOWN
    if states.dns is Health.DOWN:
        return VerdictState.DNS_FAULT
    if states.international is Health.DOWN:
        return VerdictState.INTERNATIONAL_DOWN
    if states.platform in _NOT_WELL:
        return VerdictState.PLATFORM_DOWN
    if states.collector in _NOT_WELL:
        return VerdictState.COLLECTOR_UNREACHABLE
    # Targets within the country fail while others beyond answer: the line works, and something on it does not.
    if states.degraded or states.domestic is Health.DOWN:
        return VerdictState.DEGRADED
    return VerdictState.OK


_NOT_WELL = (Health.DOWN, Health.IMPAIRED)


def _heard_beyond_the_gateway(states: LayerStates) -> bool:
    return states.isp.answers or (states.dns.answers and not states.local_dns)


def _provider_is_down(states: LayerStates) -> bool:
    """Nothing beyond the provider's first hop answers: is that the provider, or only what was asked?

    One layer alone speaks for itself. Two that fail together fail for the same reason, which is nearer, unless
    provider and name server both answer: then what fails together lies beyond them.
    """
    if Health.DOWN in (states.isp, states.domestic):
        return True
    failing = [states.dns, *states.far].count(Health.DOWN)
    provider_works = states.isp.answers and states.dns.answers and not states.local_dns
    return failing >= 2 and not provider_works


def decide(states: LayerStates, previous: Verdict, now_s: float) -> Verdict:
    """Return the verdict after one more round; ``now_s`` is on the boot-time clock.

    The first good round is believed at once, so that a new box says something; any other finding needs a second.
    """
    found = locate(states)
    if found is previous.state:
        return replace(previous, pending=None, agreeing=0, against=0)
    agreeing = previous.agreeing + 1 if found is previous.pending else 1
    against = previous.against + 1
    is_first_and_good = previous.state is None and found is VerdictState.OK
    if is_first_and_good or agreeing >= AGREEING_ROUNDS or against >= DISAGREEING_ROUNDS:
        return Verdict(found, now_s)
    return replace(previous, pending=found, agreeing=agreeing, against=against)

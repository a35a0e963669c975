"""What only a box with several uplinks has to know: where its default route leaves, and why one cannot be used."""

from collections.abc import Callable

from linkbell_agent.around import way_of
from linkbell_agent.failover import Move
from linkbell_agent.plan import Plan
from linkbell_agent.route_watch import Details, Looking
from linkbell_agent.sections import OneOfUplinks, Settings
from linkbell_agent.ways_out import SENTENCES, carrying, device_of, trouble_with, why_left
from linkbell_wire.words import UplinkRole


def looking(settings: Settings, plan: Callable[[str], Plan]) -> Looking:
    """Return how to see which uplink carries the default route. ``plan`` returns that of an uplink."""

    def evidence(move: Move) -> Details:
        roles = {way.name: plan(way.name).role for way in settings.ways}
        before = None if move.before is None else way_of(settings, move.before)
        return {
            "back": roles.get(move.now or "") is UplinkRole.PRIMARY
            and move.before is not None
            and roles[move.before] is UplinkRole.BACKUP,
            "reason": "other_preferred" if before is None else why_left(before),
            "device": None if move.now is None else device_of(way_of(settings, move.now)),
        }

    return Looking([way.name for way in settings.ways], lambda: carrying(settings.ways), evidence)


def trouble_in_words(way: OneOfUplinks) -> str | None:
    """Return why nothing can be measured on an uplink, for the log; ``None`` if it can."""
    trouble = trouble_with(way)
    return None if trouble is None else SENTENCES[trouble]

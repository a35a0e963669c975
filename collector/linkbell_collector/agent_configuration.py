"""What the collector asks the agents of a school to do. Pure."""

from linkbell_collector.domain import School
from linkbell_collector.profile import COLLECTORS_OWN
from linkbell_wire import AgentConfiguration, SpeedServer
from linkbell_wire.configuration import SchoolConfiguration, SpeedConfiguration
from linkbell_wire.words import ServerScope

NO_ZONE = "UTC"
"""What an agent is told where no time zone is known; it then goes by its own setting."""


def agent_configuration(
    school: School | None, measurement_url: str | None, portal_url: str | None = None
) -> AgentConfiguration:
    """Return what the agents of ``school``, with its defaults filled in, are to do. What nobody set is left to them.

    ``measurement_url`` and ``portal_url`` are the collector's own, ``None`` where agents cannot use them.
    """
    servers = [] if measurement_url is None else [SpeedServer(url=measurement_url, scope=ServerScope.COLLECTOR)]
    if school is None:
        return AgentConfiguration(speed=SpeedConfiguration(servers=servers) if servers else None)
    wishes = school.wishes
    return AgentConfiguration(
        school=SchoolConfiguration(
            id=school.id,
            name=school.title,
            timezone=school.timezone or NO_ZONE,
            download_floor_bps=school.download_floor_bps,
            upload_floor_bps=school.upload_floor_bps,
        ),
        targets=wishes.targets,
        platforms=wishes.platforms,
        dns=wishes.dns,
        portal_url=portal_url if wishes.portal_url == COLLECTORS_OWN else wishes.portal_url,
        ping=wishes.ping,
        speed=_speed(wishes.speed, servers),
        check=wishes.check,
        calendar=wishes.calendar,
        budget=wishes.budget,
        uplinks=wishes.uplinks,
    )


def _speed(wished: SpeedConfiguration | None, servers: list[SpeedServer]) -> SpeedConfiguration | None:
    """Return what is wished; servers that are named go before the collector's own."""
    if wished is None:
        return SpeedConfiguration(servers=servers) if servers else None
    return wished if wished.servers else wished.model_copy(update={"servers": servers})

"""What is around the box on each of its uplinks, found anew each time: routes and name servers change under way."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from linkbell_agent.net import Uplink
from linkbell_agent.netlink import own_networks
from linkbell_agent.plan import Plan, Surroundings
from linkbell_agent.route import Gateway, default_gateways, nameservers
from linkbell_agent.sections import OneOfUplinks, Settings

if TYPE_CHECKING:
    from linkbell_agent.route_watch import Looking


def way_of(settings: Settings, name: str | None) -> OneOfUplinks:
    """Return the settings of an uplink, of the first for None."""
    ways = settings.ways
    return ways[0] if name is None else next(way for way in ways if way.name == name)


def surroundings_of(settings: Settings, way: OneOfUplinks, collector: str | None) -> Surroundings:
    """Return what there is around one uplink."""
    if settings.has_several:
        # Imported late: most boxes have one way out.
        from linkbell_agent.ways_out import way_out

        others = [other for other in settings.ways if other.name != way.name]
        return replace(way_out(way, others).surroundings, collector=collector)
    gateways = [gateway for gateway in default_gateways() if way.device in (None, gateway.device)]
    return Surroundings(
        gateway=gateways[0].address if gateways else None,
        nameservers=way.resolvers or nameservers(),
        collector=collector,
        networks=own_networks(Uplink(device=way.device or _device_of(gateways), source=way.source)),
    )


def device_now(settings: Settings, name: str) -> str | None:
    """Return the device that leads out by an uplink at the moment."""
    way = way_of(settings, name)
    if not settings.has_several:
        return way.device or _device_of(default_gateways())
    from linkbell_agent.ways_out import device_of

    return device_of(way)


def looking_of(settings: Settings, plan: Callable[[str], Plan]) -> "Looking | None":
    """Return how to see which uplink carries the default route; None on a box with one."""
    if not settings.has_several:
        return None
    from linkbell_agent.several import looking  # most boxes have one way out, and no memory to spare

    return looking(settings, plan)


def trouble_of(settings: Settings, way: OneOfUplinks) -> str | None:
    """Return why nothing can be measured on one of several uplinks, in words for the log."""
    if not settings.has_several:
        return None
    from linkbell_agent.several import trouble_in_words

    return trouble_in_words(way)


def _device_of(gateways: Sequence[Gateway]) -> str | None:
    return gateways[0].device if gateways else None

"""Time zones by name, as this system knows them, and by coordinates (docs/decisions/0010-time-zones-of-places.md)."""

import difflib
import zoneinfo
from functools import lru_cache


@lru_cache(1)
def known_zones() -> frozenset[str]:
    """Return all names there are; none on a system without the time zone database."""
    return frozenset(zoneinfo.available_timezones())


@lru_cache(1024)
def problem_of(name: str) -> str | None:
    """Say what is wrong with the name of a zone, ``None`` if nothing is. Where no zone is known, nothing is."""
    known = known_zones()
    if not known or name in known:
        return None
    close = difflib.get_close_matches(name, known, n=1)
    return f"{name!r} is not a time zone{f'; did you mean {close[0]}?' if close else ', such as Asia/Almaty'}"


def zone_at(place: tuple[float, float]) -> str | None:
    """Return the zone at a latitude and longitude, off the line; ``Etc/...`` at sea, ``None`` if it is not known.

    The borders are simplified to about a hundred metres. A name that this system does not know counts as none.
    """
    # Loaded where it is used: its borders take 40 MB.
    from tzfpy import get_tz

    latitude, longitude = place
    zone = get_tz(longitude, latitude)
    return zone if zone and problem_of(zone) is None else None

"""Time zones by name, as this system knows them."""

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

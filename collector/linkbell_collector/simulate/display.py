"""How a simulation shows how it goes: one line that is renewed, and a summary. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from linkbell_collector.clock import from_us

SUMMED = (
    *("schools", "up", "off", "filling", "made", "stored", "duplicate", "rejected", "dropped", "power_lost"),
    *("waiting", "requests"),
)


def summed(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the counts of all processes together."""
    found = list(parts)
    outcomes: Counter[str] = Counter()
    for part in found:
        outcomes.update(part.get("outcomes", {}))
    return {
        **{name: sum(part.get(name, 0) for part in found) for name in SUMMED},
        "simulated_us": max((part.get("simulated_us", 0) for part in found), default=0),
        "behind_s": max((part.get("behind_s", 0.0) for part in found), default=0.0),
        "outcomes": dict(outcomes),
    }


def refused(total: Mapping[str, Any]) -> int:
    """Return how many deliveries were not settled."""
    return sum(count for word, count in total["outcomes"].items() if word != "settled")


def status_line(total: Mapping[str, Any], rate: float) -> str:
    """Return the line of the present moment; ``rate`` is records accepted a second."""
    down = total["schools"] - total["up"] - total["off"]
    behind = f" · {total['behind_s']:.0f} s behind" if total["behind_s"] > 90 else ""
    filling = f" · {total['filling']} bring their history" if total["filling"] else ""
    return (
        f"{from_us(total['simulated_us']):%a %d %b %H:%M:%S} UTC · schools: {total['up']} up, {down} cut off, "
        f"{total['off']} switched off · {rate:,.0f} records/s accepted · {refused(total):,} deliveries refused · "
        f"{total['waiting']:,} records wait{behind}{filling}"
    )


def summary(total: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Return the counts of a whole run, which adds up: ``unaccounted`` is 0, or there is a defect."""
    accounted = total["stored"] + total["duplicate"] + total["rejected"] + total["dropped"] + total["power_lost"]
    return {
        "seconds": round(seconds, 1),
        "simulated_until": from_us(total["simulated_us"]).isoformat(timespec="seconds").replace("+00:00", "Z"),
        **{name: total[name] for name in SUMMED if name not in ("up", "off", "filling")},
        "waiting_before": total.get("waiting_before", 0),
        "unaccounted": total.get("waiting_before", 0) + total["made"] - total["waiting"] - accounted,
        "records_per_second": round(total["stored"] / seconds, 1) if seconds else 0.0,
        "outcomes": total["outcomes"],
    }

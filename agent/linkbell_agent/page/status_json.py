"""``/status.json``: the view as data, for ``status`` and for other programs on the school's network. Pure.

Times are RFC 3339 in UTC, units are in the names, and absent is null.
"""

from datetime import UTC, datetime
from typing import Any

from linkbell_agent.page.view import DAY_S, Line, Measure, Span, View, buckets
from linkbell_agent.recent.stretch import Track

PARTS = 96
"""A quarter of an hour each."""


def status_document(view: View) -> dict[str, Any]:
    """Return the document. ``rtt_s`` and ``loss_ratio`` are of the last day, oldest first, in equal parts."""
    facts = view.facts
    return {
        "format": 1,
        "instance": facts.instance,
        "version": facts.version,
        "running": facts.running,
        "at": _time(view.now_s),
        "clock_synced": facts.synced,
        "timezone": facts.timezone,
        "agent": facts.agent,
        "school": facts.school,
        "school_name": facts.school_name,
        "uplink": facts.uplink,
        "uplinks": [_line(line) for line in view.uplinks],
        "download_floor_bps": facts.download_floor_bps,
        "upload_floor_bps": facts.upload_floor_bps,
        "waiting_records": facts.waiting,
        "verdict": view.verdict,
        "tone": view.tone,
        "slow": view.is_slow,
        "since": _time(view.since_s),
        "last_result": _time(view.last_s),
        "evidence": [
            {"layer": layer, "target": target, "up": is_up, "failure": failure}
            for layer, target, is_up, failure in view.evidence
        ],
        "targets": [_target(track, view.now_s) for track in view.tracks],
        "timeline": [_span(span) for span in view.timeline],
        "outages_7d": [_span(span) for span in view.outages],
        "speeds": [
            {
                "at": _time(one.at),
                "download_bps": one.download_bps,
                "upload_bps": one.upload_bps,
                "rtt_idle_s": one.rtt_idle_s,
                "failure": one.failure,
                "server": one.server,
            }
            for one in view.found.speeds
        ],
        "downloads_24h": [_measure(one) for one in view.downloads if one.at > view.now_s - DAY_S],
    }


def _line(line: Line) -> dict[str, Any]:
    shown = ("name", "role", "device", "carries", "trouble", "download_floor_bps", "upload_floor_bps")
    return {key: line.entry[key] for key in shown} | {
        "verdict": line.verdict,
        "since": _time(line.since_s),
        "tone": line.tone,
        "slow": line.is_slow,
        "download_bps": line.download_bps,
        "rtt_s": line.rtt_s,
    }


def _target(track: Track, now_s: float) -> dict[str, Any]:
    parts, last = buckets(track, now_s, PARTS), track.last
    return {
        "target": track.target,
        "layer": track.layer,
        "kind": track.kind,
        "host": track.host,
        "answers": None if last is None else last.answers,
        "at": None if last is None else _time(last.at),
        "last_rtt_s": None if last is None else last.rtt_s,
        "last_loss_ratio": None if last is None else last.loss_ratio,
        "failure": None if last is None else last.failure,
        "rtt_s": [None if part.rtt_s is None else round(part.rtt_s, 4) for part in parts],
        "loss_ratio": [None if part.loss_ratio is None else round(part.loss_ratio, 3) for part in parts],
    }


def _span(span: Span) -> dict[str, Any]:
    return {"from": _time(span.start_s), "to": _time(span.end_s), "verdict": span.state}


def _measure(one: Measure) -> dict[str, Any]:
    return {"at": _time(one.at), "bps": one.bps, "below": one.is_below, "check": one.is_check}


def _time(at_s: float | None) -> str | None:
    return None if at_s is None else datetime.fromtimestamp(round(at_s), UTC).isoformat().replace("+00:00", "Z")

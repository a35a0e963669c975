"""Any record there can be survives the way through JSON, and none that contradicts itself can be made."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from linkbell_wire import fields, words
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import (
    RECORD_ADAPTER,
    AnyRecord,
    CheckRecord,
    DnsRecord,
    EventRecord,
    Evidence,
    HttpRecord,
    PingRecord,
    SkipRecord,
    SpeedRecord,
    SpeedResult,
    VerdictRecord,
)

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=fields.MAX_TEXT_LENGTH)
HOSTS = st.sampled_from(["192.0.2.1", "2001:db8::1", "fe80::1%eth0", "мектеп.қаз", "h" * 253])
URLS = st.sampled_from(["http://a", "wss://measure.example:8471/ndt/v7/download", "https://" + "u" * 2040])
SECONDS = st.floats(0, 86_400, allow_subnormal=True)
COUNTS = st.integers(0, fields.MAX_COUNT)
WHOLE_NUMBERS = st.integers(-fields.MAX_COUNT, fields.MAX_COUNT)
RATES = st.floats(0, 1e13)
FAILURES = st.builds(Failure, operation=st.sampled_from(Operation), code=st.sampled_from(FailureCode))
BASE = {
    "seq": COUNTS,
    "uplink": NAMES,
    "at": st.datetimes(datetime(1970, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    "boot_id": NAMES,
    "boottime_s": st.floats(0, 4e9),
    "clock": st.none() | st.sampled_from(words.ClockQuality),
}


def maybe(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | strategy


@st.composite
def pings(draw: st.DrawFn) -> PingRecord:
    failures = draw(st.dictionaries(st.sampled_from(FailureCode), st.integers(1, 1000), max_size=5))
    received = draw(st.integers(0, 1000))
    times = sorted(draw(st.lists(SECONDS, min_size=4, max_size=4)))
    rtts = dict(zip(("rtt_min_s", "rtt_mean_s", "rtt_p95_s", "rtt_max_s"), times, strict=True)) if received else {}
    sent = received + sum(failures.values())
    return PingRecord.model_validate(
        {name: draw(strategy) for name, strategy in BASE.items()}
        | {"target": draw(NAMES), "layer": draw(st.sampled_from(words.Layer)), "host": draw(HOSTS)}
        | {"address": draw(maybe(HOSTS)), "port": draw(maybe(st.integers(1, 65_535)))}
        | {"method": draw(st.sampled_from(words.PingMethod)), "socket": draw(maybe(st.sampled_from(words.PingSocket)))}
        | {"sent": sent, "received": received, "failures": failures, **rtts}
        | {"jitter_s": draw(maybe(SECONDS)) if received else None}
        | {"failure": None if sent else draw(maybe(FAILURES))}
    )


@st.composite
def results(draw: st.DrawFn) -> SpeedResult:
    failed = draw(st.booleans())
    limited_by = draw(st.sampled_from(words.LimitedBy))
    is_device = limited_by is words.LimitedBy.DEVICE
    return SpeedResult(
        bps=None if failed else draw(RATES),
        stop=None if failed else draw(st.sampled_from(words.Stop)),
        failure=draw(FAILURES) if failed else None,
        bytes=draw(COUNTS),
        duration_s=draw(SECONDS),
        streams=draw(st.integers(1, 64)),
        retransmit_ratio=draw(st.none() | st.floats(0, 1)),
        rtt_loaded_s=draw(st.none() | SECONDS),
        loss_ratio=draw(st.none() | st.floats(0, 1)),
        probes=draw(st.none() | st.integers(0, 100_000)),
        responsiveness_rpm=draw(st.none() | st.floats(0, 1e7)),
        others_bps=draw(st.none() | RATES),
        limited_by=limited_by,
        device_limit=draw(st.sampled_from(words.DeviceLimit)) if is_device else None,
    )


@st.composite
def checks(draw: st.DrawFn) -> CheckRecord:
    failed = draw(st.booleans())
    return CheckRecord.model_validate(
        {name: draw(strategy) for name, strategy in BASE.items()}
        | {"server": draw(URLS), "trigger": draw(st.sampled_from(words.Trigger)), "floor_bps": draw(st.floats(1, 1e13))}
        | {"bytes": draw(COUNTS), "duration_s": draw(SECONDS), "bps": draw(RATES)}
        | ({"failure": draw(FAILURES)} if failed else {"passed": draw(st.booleans())})
    )


RECORDS: st.SearchStrategy[AnyRecord] = st.one_of(
    pings(),
    checks(),
    st.builds(DnsRecord, **BASE, target=NAMES, name=HOSTS, duration_s=SECONDS, failure=st.none()),
    st.builds(DnsRecord, **BASE, target=NAMES, name=HOSTS, duration_s=st.none(), failure=FAILURES),
    st.builds(
        HttpRecord, **BASE, target=NAMES, layer=st.sampled_from(words.Layer), url=URLS, status=st.integers(100, 599)
    ),
    st.builds(
        SpeedRecord,
        **BASE,
        engine=st.sampled_from(words.Engine),
        server=URLS,
        trigger=st.sampled_from(words.Trigger),
        download=results(),
        upload=maybe(results()),
        jitter_idle_s=maybe(SECONDS),
        bufferbloat=maybe(st.sampled_from(words.Grade)),
        probe_bytes=maybe(COUNTS),
    ),
    st.builds(
        VerdictRecord,
        **BASE,
        verdict=st.sampled_from(words.VerdictState),
        evidence=st.lists(
            st.builds(Evidence, layer=st.sampled_from(words.Layer), target=NAMES, up=st.booleans()), max_size=5
        ),
    ),
    st.builds(
        EventRecord,
        **BASE,
        event=st.sampled_from(words.EventName),
        details=st.dictionaries(
            NAMES,
            TEXTS
            | st.booleans()
            | st.integers(-fields.MAX_COUNT, fields.MAX_COUNT)
            | st.floats(-1e15, 1e15)
            | st.none(),
            max_size=16,
        ),
    ),
    st.builds(
        SkipRecord,
        **BASE,
        skipped=st.sampled_from(["ping", "dns", "http", "speed", "check"]),
        reason=st.sampled_from(words.SkipReason),
        value=st.none() | st.floats(-1e15, 1e15),
    ),
)


@given(record=RECORDS)
def test_any_record_survives_json_bit_for_bit(record: AnyRecord) -> None:
    text = record.model_dump_json()
    again = RECORD_ADAPTER.validate_json(text)
    assert type(again) is type(record)
    assert again == record
    assert again.model_dump_json() == text
    assert RECORD_ADAPTER.validate_json(record.model_dump_json(exclude_none=True, exclude_unset=False)) == record


@given(record=pings())
def test_a_ping_always_adds_up(record: PingRecord) -> None:
    assert record.sent == record.received + sum(record.failures.values())
    assert record.received <= record.sent
    assert (record.loss_ratio is None) == (record.sent == 0)
    assert record.loss_ratio is None or 0 <= record.loss_ratio <= 1


@given(record=pings(), sent=st.integers(0, 3000), received=st.integers(0, 3000))
def test_a_ping_that_does_not_add_up_cannot_be_made(record: PingRecord, sent: int, received: int) -> None:
    changed = {**record.model_dump(), "sent": sent, "received": received}
    if sent != received + sum(record.failures.values()):
        with pytest.raises(ValidationError):
            PingRecord.model_validate(changed)


@given(record=pings(), lost=st.sampled_from(["rtt_min_s", "rtt_mean_s", "rtt_p95_s", "rtt_max_s"]))
def test_a_ping_has_all_of_its_times_or_none(record: PingRecord, lost: str) -> None:
    changed = {**record.model_dump(), lost: None if record.received else 0.5}
    with pytest.raises(ValidationError):
        PingRecord.model_validate(changed)


def test_a_record_cannot_be_changed() -> None:
    record = SkipRecord.model_validate(
        {
            "seq": 1,
            "uplink": "main",
            "at": datetime(2026, 3, 2, tzinfo=UTC),
            "boot_id": "boot",
            "boottime_s": 1.0,
            "skipped": "speed",
            "reason": words.SkipReason.BUDGET,
        }
    )
    with pytest.raises(ValidationError):
        record.seq = 2  # type: ignore[misc]

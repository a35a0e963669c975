"""Reading the body of a delivery, one bad record beside good ones."""

import json
from typing import Any

import pytest

from linkbell_collector.errors import CollectorError
from linkbell_collector.ingest.batches import read_batch
from linkbell_wire import ErrorCode
from tests.collector.support import batch, ping


def read(document: Any) -> Any:
    return read_batch(json.dumps(document).encode())


BAD_RECORDS: dict[str, tuple[Any, int | None, str, str]] = {
    "an unknown kind": (ping(7) | {"kind": "telepathy"}, 7, "unknown_kind", "telepathy"),
    "a missing kind": ({"seq": 7}, 7, "invalid", "kind"),
    "a missing field": ({k: v for k, v in ping(7).items() if k != "layer"}, 7, "invalid", "layer"),
    "a word for a number": (ping(7, sent="ten"), 7, "invalid", "sent"),
    "a float for a count": (ping(7, sent=9.5), 7, "invalid", "sent"),
    "more received than sent": (ping(7, received=11), 7, "invalid", "received"),
    "a negative time": (ping(7, rtt_min_s=-0.1), 7, "invalid", "rtt_min_s"),
    "a time without a zone": (ping(7, at="2026-03-02T04:05:00"), 7, "invalid", "at"),
    "a label with a line break": (ping(7, uplink="a\nb"), 7, "invalid", "uplink"),
    "a failure outside the closed list": (ping(7, failures={"gremlins": 1}), 7, "invalid", "failures"),
    "not a number at all": (ping(7, rtt_min_s=float("nan")), 7, "invalid", "rtt_min_s"),
    "infinity": (ping(7, rtt_max_s=float("inf")), 7, "invalid", "rtt_max_s"),
    "no sequence number": ({k: v for k, v in ping(7).items() if k != "seq"}, None, "invalid", "seq"),
    "a sequence number that is no number": (ping(7) | {"seq": "seven"}, None, "invalid", "seq"),
    "a negative sequence number": (ping(7) | {"seq": -1}, None, "invalid", "seq"),
    "true for a sequence number": (ping(7) | {"seq": True}, None, "invalid", "seq"),
    "a sequence number that no JSON reader keeps": (ping(7) | {"seq": 2**60}, None, "invalid", "seq"),
    "a record that is a list": ([1, 2], None, "invalid", "record"),
    "a record that is null": (None, None, "invalid", "record"),
}


@pytest.mark.parametrize(("bad", "seq", "code", "hint"), BAD_RECORDS.values(), ids=BAD_RECORDS.keys())
def test_a_bad_record_is_rejected_with_its_number_and_a_hint_and_costs_its_neighbours_nothing(
    bad: Any, seq: int | None, code: str, hint: str
) -> None:
    read_records = read(batch([ping(1), bad, ping(2)]))
    assert [record.seq for record in read_records.records] == [1, 2]
    (rejection,) = read_records.rejected
    assert (rejection.seq, rejection.code) == (seq, code)
    assert hint in rejection.detail
    assert len(rejection.detail) <= 256
    assert rejection.detail.isprintable()


def test_unknown_fields_of_a_newer_agent_are_accepted_everywhere() -> None:
    newer = batch([ping(1, mood="good")], weather="fine")
    newer["clock"]["leap"] = 0
    newer["agent"]["colour"] = "green"
    assert len(read(newer).records) == 1


def test_a_number_that_comes_twice_in_a_batch_counts_once() -> None:
    read_records = read(batch([ping(1), ping(2), ping(1, jitter_s=0.5)]))
    assert [record.seq for record in read_records.records] == [1, 2]
    assert read_records.records[0].jitter_s == 0.003
    assert read_records.repeated == 1


def test_an_empty_batch_is_a_sign_of_life() -> None:
    assert read(batch([])).records == []


HEADS: dict[str, tuple[dict[str, Any], ErrorCode, str]] = {
    "another protocol": ({"protocol": 2}, ErrorCode.UNSUPPORTED_PROTOCOL, "speaks protocol 1"),
    "no stream": ({"stream": None}, ErrorCode.INVALID_REQUEST, "stream"),
    "a stream that is no uuid": ({"stream": "one"}, ErrorCode.INVALID_REQUEST, "stream"),
    "no clock": ({"clock": {}}, ErrorCode.INVALID_REQUEST, "clock.boot_id"),
    "a protocol that is no number": ({"protocol": "1"}, ErrorCode.INVALID_REQUEST, "protocol"),
    "records that are no list": ({"records": {"seq": 1}}, ErrorCode.INVALID_REQUEST, "records"),
    "too many records": ({"records": [None] * 1001}, ErrorCode.BODY_TOO_LARGE, "1001"),
    "a negative count": (
        {"agent": {"version": "1", "spooled": -1, "dropped": 0}},
        ErrorCode.INVALID_REQUEST,
        "agent.spooled",
    ),
}


@pytest.mark.parametrize(("changes", "code", "hint"), HEADS.values(), ids=HEADS.keys())
def test_a_bad_head_is_refused_and_names_the_field(changes: dict[str, Any], code: ErrorCode, hint: str) -> None:
    with pytest.raises(CollectorError) as refused:
        read(batch([ping(1)]) | changes)
    assert refused.value.code is code
    assert hint in refused.value.message
    assert refused.value.action


@pytest.mark.parametrize("protocol", [2, 0, 99])
def test_the_protocol_is_judged_before_anything_else_of_a_future_format(protocol: int) -> None:
    with pytest.raises(CollectorError) as refused:
        read({"protocol": protocol, "everything": "is different"})
    assert refused.value.code is ErrorCode.UNSUPPORTED_PROTOCOL


NO_JSON = {
    "nothing": (b"", "line 1, column 1"),
    "cut off": (b'{"protocol": 1, "str', "column 17"),
    "not utf-8": (b'{"\xff": 1}', "byte 2"),
    "too deep": (b"[" * 100_000, "nested"),
    "an enormous number": (b'{"protocol": ' + b"9" * 5000 + b"}", "number"),
}


@pytest.mark.parametrize(("body", "hint"), NO_JSON.values(), ids=NO_JSON.keys())
def test_what_is_not_json_is_refused_with_the_position(body: bytes, hint: str) -> None:
    with pytest.raises(CollectorError) as refused:
        read_batch(body)
    assert refused.value.code is ErrorCode.INVALID_JSON
    assert hint in refused.value.message


@pytest.mark.parametrize("document", [[], "text", 7, None])
def test_json_that_is_no_object_is_refused(document: Any) -> None:
    with pytest.raises(CollectorError) as refused:
        read(document)
    assert refused.value.code is ErrorCode.INVALID_REQUEST


def test_a_record_nested_too_deeply_is_rejected_alone() -> None:
    deep: Any = "x"
    for _ in range(500):
        deep = [deep]
    read_records = read(batch([ping(1), ping(2, extra=deep)]))
    assert [record.seq for record in read_records.records] == [1]
    assert read_records.rejected[0].seq == 2

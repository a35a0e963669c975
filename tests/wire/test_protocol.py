"""PROTOCOL.md, the golden files and the models say the same."""

import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from linkbell_wire import ErrorCode
from linkbell_wire.batch import MAX_BATCH_RECORDS, MAX_BODY_BYTES, Batch
from linkbell_wire.failures import FailureCode
from linkbell_wire.records import AnyRecord
from linkbell_wire.words import RecordKind
from tests.wire.describing import MODELS, adapter, table_of

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "protocol"
GOLDEN = sorted(DATA.glob("*.json"))
TEXT = (ROOT / "wire" / "PROTOCOL.md").read_text(encoding="utf-8")

QUOTED = re.findall(
    r"^\[(\S+)\]\(\.\./tests/data/protocol/(\S+)\):\n\n```json\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL
)

BAD = [
    ("AgentConfiguration.day_that_is_not", "calendar.holidays.0", "Value error, '2026-02-29' is no day there is"),
    ("AgentConfiguration.hours_without_minutes", "calendar.hours", "Value error, '8-18' are no hours: write them like"),
    ("AgentConfiguration.ping_too_often", "ping.interval_s", "Input should be greater than or equal to 10"),
    ("AgentConfiguration.platform_is_no_page", "platforms.0.url", "String should match pattern"),
    ("AgentConfiguration.platform_twice", "", "Value error, platform names must be unique"),
    ("AgentConfiguration.target_twice", "", "Value error, target names must be unique"),
    ("AgentConfiguration.uplink_twice", "", "Value error, uplink names must be unique"),
    ("AgentConfiguration.version_2", "version", "Input should be less than or equal to 1"),
    ("AnyRecord.no_kind", "", "Unable to extract tag using discriminator 'kind'"),
    ("AnyRecord.unknown_kind", "", "Input tag 'pong' found using 'kind' does not match any of the"),
    ("Batch.no_stream", "stream", "Field required"),
    ("Batch.one_bad_record", "records.1.ping.seq", "Input should be greater than or equal to 0"),
    ("Batch.stream_is_no_uuid", "stream", "Input should be a valid UUID, invalid length: found 1"),
    ("CheckRecord.floor_of_zero", "", "Value error, no line is held to a floor of 0"),
    ("CheckRecord.passed_without_a_speed", "", "Value error, a check that found out says the bps it reached"),
    ("DnsRecord.neither_result_nor_failure", "", "Value error, needs duration_s or a failure"),
    ("DnsRecord.result_and_failure", "", "Value error, a failure has no duration_s"),
    ("EnrolRequest.token_too_short", "token", "String should have at least 16 characters"),
    ("EnrolRequest.token_with_a_space", "token", "String should match pattern"),
    ("ErrorReply.unknown_code", "code", "Input should be 'invalid_json'"),
    (
        "EventRecord.nested_details",
        "details.a.function-after[_is_real_text(), constrained-str]",
        "Input should be a valid string",
    ),
    (
        "EventRecord.right_to_left_override",
        "details.note.function-after[_is_real_text(), constrained-str]",
        "Value error, must not contain control characters",
    ),
    ("EventRecord.too_many_details", "details", "Dictionary should have at most 16 items after validation, not more"),
    ("HttpRecord.neither_status_nor_failure", "", "Value error, needs status or a failure"),
    ("HttpRecord.other_scheme", "url", "String should match pattern"),
    ("PingRecord.after_2199", "at", "Value error, must lie between the years 1970 and 2199"),
    ("PingRecord.before_1970", "at", "Value error, must lie between the years 1970 and 2199"),
    ("PingRecord.boolean_count", "sent", "Input should be a valid integer"),
    ("PingRecord.control_character", "host", "String should match pattern"),
    ("PingRecord.cut_off", "", "Invalid JSON: EOF while parsing an object at line 1 column 200"),
    ("PingRecord.does_not_add_up", "", "Value error, sent must equal received plus the failures"),
    ("PingRecord.failure_and_packets", "", "Value error, failure is for pings that could not be sent; a lost"),
    ("PingRecord.failure_counted_zero", "failures.prohibited", "Input should be greater than or equal to 1"),
    ("PingRecord.host_with_a_path", "host", "String should match pattern"),
    ("PingRecord.infinite", "jitter_s", "Input should be a finite number"),
    ("PingRecord.lone_surrogate", "", "Invalid JSON: unexpected end of hex escape at line 1 column 193"),
    ("PingRecord.mean_above_max", "", "Value error, round-trip times must satisfy min <= mean, p95 <= max"),
    ("PingRecord.name_too_long", "target", "String should have at most 64 characters"),
    ("PingRecord.name_with_a_space", "target", "String should match pattern"),
    ("PingRecord.negative_time", "rtt_min_s", "Input should be greater than or equal to 0"),
    ("PingRecord.no_reply_but_a_time", "", "Value error, without a reply there is no round-trip time"),
    ("PingRecord.no_time_zone", "at", "Input should have timezone info"),
    ("PingRecord.not_a_number", "jitter_s", "Input should be a finite number"),
    ("PingRecord.not_utf_8", "", "Invalid JSON: invalid unicode code point at line 1 column 188"),
    ("PingRecord.number_in_quotes", "sent", "Input should be a valid integer"),
    ("PingRecord.port_zero", "port", "Input should be greater than or equal to 1"),
    ("PingRecord.received_more_than_sent", "", "Value error, received must not be greater than sent"),
    ("PingRecord.reply_without_a_time", "", "Value error, with a reply all of rtt_min_s, rtt_mean_s, rtt_p95_s,"),
    ("PingRecord.seq_missing", "seq", "Field required"),
    ("PingRecord.seq_too_large", "seq", "Input should be less than or equal to 9007199254740991"),
    ("PingRecord.time_as_a_number", "at", "Input should be a valid datetime"),
    ("PingRecord.unknown_failure", "failures.gremlins.[key]", "Input should be 'timeout'"),
    ("PingRecord.unknown_layer", "layer", "Input should be 'gateway'"),
    ("SkipRecord.unknown_reason", "reason", "Input should be 'budget'"),
    ("SpeedRecord.device_without_a_cause", "download", "Value error, device_limit says what of the device it was"),
    ("SpeedRecord.faster_than_light", "download.bps", "Input should be less than or equal to 10000000000000"),
    ("SpeedRecord.nothing_measured", "", "Value error, a speed record needs a direction or a failure"),
    ("SpeedRecord.speed_and_failure", "download", "Value error, a failure has no bps"),
    ("SpeedRecord.speed_without_a_stop", "download", "Value error, bps and stop belong together"),
    ("VerdictRecord.evidence_is_not_a_list", "evidence", "Input should be a valid array"),
]


def model_of(file: Path) -> str:
    """A file is named for its model: ``PingRecord.tcp.json``."""
    return file.name.partition(".")[0]


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_a_golden_file_is_read_and_written_again_unchanged(file: Path) -> None:
    model = adapter(model_of(file))
    read = model.validate_json(file.read_bytes())
    assert json.loads(model.dump_json(read, exclude_unset=True)) == json.loads(file.read_bytes())
    assert model.validate_json(model.dump_json(read)) == read


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_what_is_unknown_is_ignored_at_every_depth(file: Path) -> None:
    def with_more(value: object) -> object:
        if isinstance(value, list):
            return [with_more(one) for one in value]
        if not isinstance(value, dict):
            return value
        more: dict[str, object] = (
            {}
            if "note" in value or "k0" in value or "while_stopped" in value or set(value) <= set(FailureCode)
            else {"from_version_1_9": [{}]}
        )
        return {**{key: with_more(one) for key, one in value.items()}, **more}

    model = adapter(model_of(file))
    document = json.loads(file.read_bytes())
    assert model.validate_json(json.dumps(with_more(document))) == model.validate_json(json.dumps(document))


def test_every_json_block_of_the_protocol_is_a_golden_file_word_for_word() -> None:
    assert len(QUOTED) == TEXT.count("```json") > 15
    for label, name, block in QUOTED:
        assert label == name
        assert block == (DATA / name).read_text(encoding="utf-8"), name


def test_every_golden_file_is_quoted_or_mentioned_in_the_protocol() -> None:
    mentioned = set(re.findall(r"\(\.\./tests/data/protocol/(\S+\.json)\)", TEXT))
    assert mentioned == {file.name for file in GOLDEN}


def test_the_golden_files_fill_every_field_of_every_model() -> None:
    filled: dict[str, set[str]] = {}
    for file in GOLDEN:
        read = adapter(model_of(file)).validate_json(file.read_bytes())
        pending = [read]
        while pending:
            value = pending.pop()
            if isinstance(value, list):
                pending.extend(value)
            elif type(value).__name__ in MODELS:
                present = {name: getattr(value, name) for name in type(value).model_fields}
                filled.setdefault(type(value).__name__, set()).update(n for n, v in present.items() if v is not None)
                pending.extend(present.values())
    for name in set(MODELS) - {"Record", "BatchHead"}:  # never sent by themselves
        assert filled.get(name) == set(MODELS[name].model_fields), name


def test_there_is_a_golden_file_and_a_section_for_every_kind_of_record() -> None:
    for kind in RecordKind:
        name = f"{kind.capitalize()}Record"
        assert (DATA / f"{name}.json").exists()
        assert f"\n### {name}\n" in TEXT


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_protocol_lists_each_field_with_its_type_and_bounds(name: str) -> None:
    heading = "Batch" if name == "BatchHead" else name
    section = TEXT.split(f"\n### {heading}\n")[1].split("\n### ")[0].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:3] == "| `"]
    documented = {field.strip("`"): (kind, without) for field, kind, meaning, without in rows if len(meaning) > 2}
    expected = table_of(MODELS[name])
    if heading == "Batch":
        expected = {**table_of(MODELS["BatchHead"]), **table_of(Batch)}
    assert documented == expected


def test_the_protocol_lists_every_refusal_and_no_other() -> None:
    section = TEXT.split("\n## Refusals\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", section, re.MULTILINE)
    assert sorted(code for code, _ in rows) == sorted(ErrorCode)
    assert [int(status) for _, status in rows] == sorted(int(status) for _, status in rows)


def test_the_protocol_states_the_limits_of_a_batch() -> None:
    assert f"at most {MAX_BATCH_RECORDS} records" in TEXT
    assert f"at most {MAX_BODY_BYTES:,} bytes".replace(",", " ") in TEXT


def test_the_example_of_a_reply_accounts_for_every_record_of_the_example_of_a_batch() -> None:
    batch = json.loads((DATA / "Batch.json").read_bytes())
    reply = json.loads((DATA / "BatchReply.json").read_bytes())
    assert reply["stored"] + reply["duplicate"] + len(reply["rejected"]) == len(batch["records"])


def test_links_within_the_protocol_lead_somewhere() -> None:
    titles = re.findall(r"(?m)^#+ (.*)$", TEXT)
    headings = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= headings
    for target in re.findall(r"\]\((?!#)([^)]+)\)", TEXT):
        assert (ROOT / "wire" / target).exists(), target


# --- what must be refused


@pytest.mark.parametrize(("name", "place", "message"), BAD, ids=[name for name, _, _ in BAD])
def test_a_bad_file_is_refused_with_the_place_and_a_reason(name: str, place: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        adapter(name.partition(".")[0]).validate_json((DATA / "bad" / f"{name}.json").read_bytes())
    first = caught.value.errors(include_url=False)[0]
    assert ".".join(str(part) for part in first["loc"]) == place
    assert first["msg"].startswith(message)


def test_every_bad_file_has_its_expected_message() -> None:
    assert sorted(file.stem for file in (DATA / "bad").glob("*.json")) == sorted(name for name, _, _ in BAD)


def test_a_batch_of_more_records_than_allowed_is_refused() -> None:
    batch = json.loads((DATA / "Batch.json").read_bytes())
    one = batch["records"][1]
    batch["records"] = [one] * MAX_BATCH_RECORDS
    assert len(Batch.model_validate_json(json.dumps(batch)).records) == MAX_BATCH_RECORDS
    batch["records"].append(one)
    with pytest.raises(ValidationError, match="at most 1000 items"):
        Batch.model_validate_json(json.dumps(batch))


def test_a_secret_is_neither_in_a_repr_nor_in_an_error() -> None:
    reply = adapter("EnrolReply").validate_json((DATA / "EnrolReply.json").read_bytes())
    assert reply.credential not in repr(reply)
    with pytest.raises(ValidationError) as caught:
        adapter("EnrolRequest").validate_json('{"token": "secret with spaces"}')
    assert "secret with" not in str(caught.value)


def test_any_record_is_told_by_its_kind() -> None:
    kinds = {kind: adapter("AnyRecord") for kind in RecordKind}
    for kind, any_record in kinds.items():
        record: AnyRecord = any_record.validate_json((DATA / f"{kind.capitalize()}Record.json").read_bytes())
        assert record.kind == kind

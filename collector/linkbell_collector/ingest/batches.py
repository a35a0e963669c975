"""Read the body of ``POST /api/v1/records``. Pure: bytes in, records and refusals out.

The whole body is validated at once; only if that fails is each record looked at alone, so that one bad record costs
its neighbours nothing.
"""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from linkbell_collector.errors import CollectorError
from linkbell_wire import PROTOCOL_VERSION, AnyRecord, Batch, ErrorCode, RecordKind, Rejection
from linkbell_wire.batch import MAX_BATCH_RECORDS, BatchHead
from linkbell_wire.fields import MAX_COUNT, MAX_TEXT_LENGTH
from linkbell_wire.records import RECORD_ADAPTER

INVALID = "invalid"
UNKNOWN_KIND = "unknown_kind"
REJECTION_CODES = (INVALID, UNKNOWN_KIND)
_KINDS = frozenset(kind.value for kind in RecordKind)


@dataclass(frozen=True, slots=True)
class ReadBatch:
    """A batch whose head is right. ``repeated`` counts sequence numbers that came twice in it."""

    head: BatchHead
    records: list[AnyRecord]
    rejected: list[Rejection]
    repeated: int


def read_batch(body: bytes) -> ReadBatch:
    """Return the batch in ``body``. Raises :class:`CollectorError` if not even its head can be used."""
    try:
        batch = Batch.model_validate_json(body)
    except ValidationError:
        return _read_record_by_record(body)
    _require_protocol(batch.protocol)
    return _without_repetition(batch, batch.records, [])


def _read_record_by_record(body: bytes) -> ReadBatch:
    document = _parse(body)
    if not isinstance(document, dict):
        raise _invalid_request("the body must be a JSON object")
    _require_protocol(document.get("protocol"))
    head = _read_head(document)
    raw_records = document.get("records")
    if not isinstance(raw_records, list):
        raise _invalid_request("records: must be a list")
    if len(raw_records) > MAX_BATCH_RECORDS:
        raise CollectorError(
            ErrorCode.BODY_TOO_LARGE,
            f"the batch has {len(raw_records)} records; at most {MAX_BATCH_RECORDS} are taken at once",
            "send the records in smaller batches",
        )
    return _read_records(head, raw_records)


def _read_records(head: BatchHead, raw_records: list[Any]) -> ReadBatch:
    records: list[AnyRecord] = []
    rejected: list[Rejection] = []
    for raw in raw_records:
        try:
            # Through JSON again: the models are strict, and only in JSON may a time or a word be text.
            records.append(RECORD_ADAPTER.validate_json(json.dumps(raw)))
        except ValidationError as error:
            rejected.append(_rejection(raw, describe(error)))
        except RecursionError:
            rejected.append(_rejection(raw, "record: is nested too deeply"))
    return _without_repetition(head, records, rejected)


def _without_repetition(head: BatchHead, records: list[AnyRecord], rejected: list[Rejection]) -> ReadBatch:
    """Keep the first of each sequence number: a repeated one is a duplicate, whatever it holds."""
    repeated = len(records) - len({record.seq for record in records})
    if not repeated:
        return ReadBatch(head, records, rejected, repeated)
    first = {record.seq: record for record in reversed(records)}
    return ReadBatch(head, [record for record in records if first[record.seq] is record], rejected, repeated)


def _parse(body: bytes) -> object:
    try:
        return json.loads(body)
    except UnicodeDecodeError as error:
        raise CollectorError(
            ErrorCode.INVALID_JSON,
            f"the body is not UTF-8 text: byte {error.start} cannot be read",
            "send JSON in UTF-8, and say so in Content-Encoding if it is compressed",
        ) from error
    except json.JSONDecodeError as error:
        raise CollectorError(
            ErrorCode.INVALID_JSON,
            f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno} (byte {error.pos})",
            "send one JSON object as wire/PROTOCOL.md describes; a cut-off body looks like this too",
        ) from error
    except (RecursionError, ValueError) as error:
        raise CollectorError(
            ErrorCode.INVALID_JSON,
            "the body is not JSON that can be read: it is nested too deeply, or holds an enormous number",
            "send one JSON object as wire/PROTOCOL.md describes",
        ) from error


def _require_protocol(protocol: object) -> None:
    if isinstance(protocol, int) and not isinstance(protocol, bool) and protocol != PROTOCOL_VERSION:
        raise CollectorError(
            ErrorCode.UNSUPPORTED_PROTOCOL,
            f"the batch is in protocol {protocol}, this collector speaks protocol {PROTOCOL_VERSION}",
            "update whichever of agent and collector is older; the agent keeps its records meanwhile",
        )


def _read_head(document: dict[str, Any]) -> BatchHead:
    head = {name: value for name, value in document.items() if name != "records"}
    try:
        return BatchHead.model_validate_json(json.dumps(head))
    except ValidationError as error:
        raise _invalid_request(describe(error)) from error


def _invalid_request(problem: str) -> CollectorError:
    return CollectorError(
        ErrorCode.INVALID_REQUEST,
        f"the batch cannot be used: {problem}"[:MAX_TEXT_LENGTH],
        "see wire/PROTOCOL.md for the fields of a batch; nothing of it was stored",
    )


def _rejection(raw: object, problem: str) -> Rejection:
    seq = raw.get("seq") if isinstance(raw, dict) else None
    readable = isinstance(seq, int) and not isinstance(seq, bool) and 0 <= seq <= MAX_COUNT
    kind = raw.get("kind") if isinstance(raw, dict) else None
    unknown = isinstance(kind, str) and kind not in _KINDS
    detail = f"kind: {_printable(str(kind))[:64]!r} is not a kind this collector knows" if unknown else problem
    return Rejection(seq=seq if readable else None, code=UNKNOWN_KIND if unknown else INVALID, detail=detail)


def describe(error: ValidationError) -> str:
    """Return the first problem as ``field: what is wrong``, printable and at most 256 characters long."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # The discriminator's value is part of the location pydantic gives, but of no field.
    path = [str(part) for part in first["loc"] if str(part) not in _KINDS]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    text = f"{'.'.join(path) or 'record'}: {first['msg']}{more}"
    return _printable(text)[:MAX_TEXT_LENGTH]


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)

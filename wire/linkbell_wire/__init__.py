"""What an agent and a collector say to each other: models, failure codes and limits. No I/O, no clock.

The prose that goes with these models is ``wire/PROTOCOL.md``.
"""

from linkbell_wire.batch import AgentStatus, Batch, BatchReply, Clock, Rejection
from linkbell_wire.configuration import AgentConfiguration, SpeedServer, TargetConfiguration
from linkbell_wire.enrolment import EnrolReply, EnrolRequest, EnrolStatus
from linkbell_wire.errors import ErrorCode, ErrorReply
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import (
    AnyRecord,
    CheckRecord,
    DnsRecord,
    EventRecord,
    HttpRecord,
    PingRecord,
    Record,
    SkipRecord,
    SpeedRecord,
    SpeedResult,
    VerdictRecord,
)
from linkbell_wire.version import __version__
from linkbell_wire.words import Layer, RecordKind

PROTOCOL_VERSION = 1
"""Major version of the protocol. A collector refuses any other; fields are added without changing it."""

__all__ = [
    "PROTOCOL_VERSION",
    "AgentConfiguration",
    "AgentStatus",
    "AnyRecord",
    "Batch",
    "BatchReply",
    "CheckRecord",
    "Clock",
    "DnsRecord",
    "EnrolReply",
    "EnrolRequest",
    "EnrolStatus",
    "ErrorCode",
    "ErrorReply",
    "EventRecord",
    "Failure",
    "FailureCode",
    "HttpRecord",
    "Layer",
    "Operation",
    "PingRecord",
    "Record",
    "RecordKind",
    "Rejection",
    "SkipRecord",
    "SpeedRecord",
    "SpeedResult",
    "SpeedServer",
    "TargetConfiguration",
    "VerdictRecord",
    "__version__",
]

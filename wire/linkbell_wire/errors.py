"""How the collector says no: a code for programs, a sentence for people, and what to do next."""

from enum import StrEnum

from linkbell_wire import fields
from linkbell_wire.fields import WireModel


class ErrorCode(StrEnum):
    """The closed list of refusals. Meanings are in ``wire/PROTOCOL.md``; a test holds the two lists together."""

    INVALID_JSON = "invalid_json"
    INVALID_REQUEST = "invalid_request"
    UNSUPPORTED_PROTOCOL = "unsupported_protocol"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    BODY_TOO_LARGE = "body_too_large"
    CREDENTIAL_MISSING = "credential_missing"
    CREDENTIAL_UNKNOWN = "credential_unknown"
    CREDENTIAL_REVOKED = "credential_revoked"
    TOKEN_UNKNOWN = "token_unknown"
    TOKEN_EXPIRED = "token_expired"
    TOKEN_USED_UP = "token_used_up"
    TOKEN_REVOKED = "token_revoked"
    SCHOOL_MISMATCH = "school_mismatch"
    SCHOOL_NEEDED = "school_needed"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    OVERLOADED = "overloaded"
    STORAGE_FULL = "storage_full"
    STORAGE_FAILED = "storage_failed"
    BUSY = "busy"
    INTERNAL = "internal"


class ErrorReply(WireModel):
    """The body of every answer that is not a success."""

    code: ErrorCode
    message: fields.Text
    action: fields.Text | None = None

"""`POST /api/v1/enrol`: a join token against an agent's own credential."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints

from linkbell_wire import fields
from linkbell_wire.fields import WireModel

Secret = Annotated[str, StringConstraints(min_length=16, max_length=256, pattern=r"^[\x21-\x7e]+$")]


class EnrolStatus(StrEnum):
    """``pending`` agents may send; their records are kept, and shown once an operator has approved the school."""

    ACTIVE = "active"
    PENDING = "pending"


class EnrolRequest(WireModel):
    """``installation`` is made once by the agent and kept: asking again with it, after a lost reply, does not use
    the token up twice but answers with a fresh credential for the same agent.

    ``simulated``: no box in a school, but a program that makes its results up. Its school is marked as such.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    token: Secret = Field(repr=False)
    school: fields.Name | None = None
    name: fields.Text | None = None
    installation: UUID | None = None
    version: fields.Name | None = None
    simulated: bool | None = None


class EnrolReply(WireModel):
    """The credential is shown this once; the collector keeps only its hash."""

    model_config = ConfigDict(hide_input_in_errors=True)

    agent: fields.Name
    credential: Secret = Field(repr=False)
    status: EnrolStatus
    school: fields.Name | None = None

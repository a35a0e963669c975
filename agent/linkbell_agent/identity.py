"""Who this agent is to its collector: kept in the state folder, readable by the agent alone."""

import json
import uuid
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_serializer

from linkbell_agent.files import StateError, read_if_there, write_whole
from linkbell_wire import fields

IDENTITY_FILE = "identity.json"
INSTALLATION_FILE = "installation"


class Identity(BaseModel):
    """The collector's address and the credential it gave. The credential never shows in a repr or a log.

    ``certificate`` (PEM) is the collector's own, where the join token vouched for it and nobody else does.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    collector: fields.Url
    agent: fields.Name
    school: fields.Name | None
    credential: SecretStr
    certificate: str | None = None

    @field_serializer("credential", when_used="json")
    def _reveal(self, credential: SecretStr) -> str:
        return credential.get_secret_value()


def read_identity(state: Path) -> Identity | None:
    """Return the identity, None if this box has not enrolled. Raises :class:`StateError` if the file is damaged."""
    path = state / IDENTITY_FILE
    content = read_if_there(path)
    if content is None:
        return None
    try:
        return Identity.model_validate_json(content)
    except ValidationError as error:
        raise StateError(
            f"{path}: is damaged, so the agent does not know who it is. Ask for a new join token and enrol again; "
            "results not yet sent are kept."
        ) from error


def write_identity(state: Path, identity: Identity) -> None:
    """Keep ``identity``. Raises :class:`StateError`."""
    write_whole(state / IDENTITY_FILE, identity.model_dump_json(indent=1).encode())


def installation_id(state: Path) -> uuid.UUID:
    """Return the id of this installation, made and kept at the first call.

    It is written before the first enrolment is tried, so that a reply lost on the way does not cost a second use of
    the token. Raises :class:`StateError`.
    """
    path = state / INSTALLATION_FILE
    content = read_if_there(path)
    if content is not None:
        try:
            return uuid.UUID(json.loads(content)["installation"])
        except (ValueError, KeyError, TypeError):
            pass  # damaged: a new one costs at worst one more use of a token
    fresh = uuid.uuid4()
    write_whole(path, json.dumps({"installation": str(fresh)}).encode())
    return fresh

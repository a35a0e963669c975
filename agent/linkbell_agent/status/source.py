"""Where the state comes from: the running agent's page, else what it last put on disk."""

import http.client
import json
from enum import Enum
from typing import Any

from linkbell_agent.clock import Clock
from linkbell_agent.configuration import read_kept_configuration
from linkbell_agent.files import StateError
from linkbell_agent.identity import Identity, read_identity
from linkbell_agent.page.child import find_zone
from linkbell_agent.page.gather import gather, instance_of
from linkbell_agent.page.listen import loopback_of, read_listen
from linkbell_agent.page.status_json import status_document
from linkbell_agent.page.view import make_view
from linkbell_agent.recent.keeping import HISTORY_FILE, load_history
from linkbell_agent.sections import Settings
from linkbell_agent.slim import dataclass

TIMEOUT_S = 25.0
MAX_BYTES = 2_000_000


class Origin(Enum):
    """Where a state comes from: the agent itself, its files while it runs, or its files after it has ended."""

    AGENT = "agent"
    FILES_OF_RUNNING = "files_of_running"
    FILES = "files"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Found:
    """A document as of ``/status.json``, and where it comes from."""

    document: dict[str, Any]
    origin: Origin


def find(settings: Settings, clock: Clock, *, is_running: bool) -> Found:
    """Return the state of the agent on ``settings.state``. Raises :class:`~linkbell_agent.files.StateError`.

    ``is_running`` says whether an agent holds that folder.
    """
    document = ask_page(settings) if settings.page.enabled else None
    if document is not None and document.get("instance") == instance_of(settings.state):
        return Found(document, Origin.AGENT)
    history = load_history(settings.state, clock.boot_id)
    facts = gather(settings, read_kept_configuration(settings.state), _identity(settings), clock, running=False)
    document = status_document(make_view(facts, history, find_zone(facts.timezone)))
    if is_running:
        return Found(document, Origin.FILES_OF_RUNNING)
    is_there = (settings.state / HISTORY_FILE).exists() and document["last_result"] is not None
    return Found(document, Origin.FILES if is_there else Origin.NOTHING)


def ask_page(settings: Settings, timeout_s: float = TIMEOUT_S) -> dict[str, Any] | None:
    """Return what the page of this box says; None if there is none, or something else answers there."""
    host, port = read_listen(settings.page.listen)
    connection = http.client.HTTPConnection(loopback_of(host), port, timeout=timeout_s)
    try:
        connection.request("GET", "/status.json")
        reply = connection.getresponse()
        content = json.loads(reply.read(MAX_BYTES)) if reply.status == http.HTTPStatus.OK else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return content if isinstance(content, dict) and "instance" in content else None


def _identity(settings: Settings) -> Identity | None:
    try:
        return read_identity(settings.state)
    except StateError:
        return None

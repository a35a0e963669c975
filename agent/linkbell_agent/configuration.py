"""The collector's wishes: fetched, validated whole before any of it is used, the last good kept across restarts."""

import json
import logging
from enum import Enum
from pathlib import Path

from pydantic import ValidationError

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.collector_api import CollectorApi, HttpReply
from linkbell_agent.files import StateError, read_if_there, write_whole
from linkbell_wire.configuration import AgentConfiguration

log = logging.getLogger(__name__)

CONFIGURATION_PATH = "/api/v1/agent/config"
CONFIGURATION_FILE = "configuration.json"


class Outcome(Enum):
    """What came of asking."""

    UNCHANGED = "unchanged"
    APPLIED = "applied"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


class ConfigurationKeeper:
    """Holds the configuration in force; ``current`` is None until one has ever come."""

    def __init__(self, api: CollectorApi, credential: str, state: Path) -> None:
        self._api = api
        self._authorization = f"Bearer {credential}"
        self._file = state / CONFIGURATION_FILE
        self.current: AgentConfiguration | None = None
        self.etag: str | None = None
        self._handled: set[str | None] = set()
        kept = _read(self._file)
        if kept is not None:
            self.current, self.etag = kept

    def is_news(self, etag: str | None) -> bool:
        """Say whether ``etag``, named by the collector, is one not yet fetched."""
        return etag is not None and etag != self.etag and etag not in self._handled

    async def refresh(self, named: str | None = None) -> Outcome:
        """Ask the collector once. Whatever goes wrong, the configuration in force stays.

        ``named`` is the etag the collector last named; once it has answered, that one is no news any more, whatever
        etag came with the answer: something in between may strip or rewrite it.
        """
        headers = {"Authorization": self._authorization}
        if self.etag is not None and self.current is not None:
            headers["If-None-Match"] = self.etag
        try:
            reply = await self._api.request("GET", CONFIGURATION_PATH, headers)
        except NetworkFailure:
            return Outcome.UNREACHABLE
        if reply.status not in (200, 304):
            return Outcome.UNREACHABLE
        self._handled = {named}
        return Outcome.UNCHANGED if reply.status == 304 else self._take(reply)

    def _take(self, reply: HttpReply) -> Outcome:
        etag = reply.headers.get("etag")
        try:
            fresh = AgentConfiguration.model_validate_json(reply.body)
        except ValidationError as error:
            self._handled.add(etag)
            problem = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in problem["loc"])
            log.error(
                "the collector's configuration is refused, the last good one stays: %s: %s", place, problem["msg"]
            )
            return Outcome.REFUSED
        unchanged = fresh == self.current
        self.current, self.etag = fresh, etag
        self._keep()
        return Outcome.UNCHANGED if unchanged else Outcome.APPLIED

    def _keep(self) -> None:
        assert self.current is not None
        content = {"etag": self.etag, "configuration": json.loads(self.current.model_dump_json())}
        try:
            write_whole(self._file, json.dumps(content, ensure_ascii=False).encode())
        except StateError as error:
            log.warning("the configuration is in force but could not be kept: %s", error)


def read_kept_configuration(state: Path) -> AgentConfiguration | None:
    """Return the configuration last in force, None if there is none that can be read."""
    kept = _read(state / CONFIGURATION_FILE)
    return None if kept is None else kept[0]


def _read(file: Path) -> tuple[AgentConfiguration, str | None] | None:
    try:
        content = read_if_there(file)
        if content is None:
            return None
        kept = json.loads(content)
        return AgentConfiguration.model_validate_json(json.dumps(kept["configuration"])), kept["etag"]
    except (StateError, ValueError, KeyError, TypeError) as error:
        log.warning("the kept configuration cannot be read and is fetched anew (%s)", type(error).__name__)
        return None

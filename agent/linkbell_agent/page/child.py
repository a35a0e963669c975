"""The process that draws one page: facts, history and a wish on standard input, the answer on standard output.

``python -m linkbell_agent.page.child``. It imports neither pydantic nor asyncio, so it starts in a moment and costs the
box 15 MB while it lives.
"""

import json
import os
import sys
from collections.abc import Callable
from datetime import tzinfo
from typing import Any

from linkbell_agent.language.speech import Speech
from linkbell_agent.page.facts import Facts
from linkbell_agent.page.frame import Frame
from linkbell_agent.page.overview import overview
from linkbell_agent.page.provider import provider
from linkbell_agent.page.status_json import status_document
from linkbell_agent.page.view import View, make_view
from linkbell_agent.recent.history import History

POLITENESS = 15
"""Whoever reloads the page again and again must not slow a measurement down (nice(2))."""

PAGES: dict[str, Callable[[Frame], bytes]] = {"/": overview, "/provider": provider}


def find_zone(name: str | None) -> tzinfo | None:
    """Return a time zone by its name; None if there is none, or this box does not know it."""
    if name is None:
        return None
    from zoneinfo import ZoneInfo  # not needed on every box

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return None


def answer(wish: dict[str, Any]) -> bytes:
    """Return the body of ``wish["path"]`` in ``wish["language"]``."""
    facts = Facts.from_state(wish["facts"])
    history = History.from_state(wish["history"], facts.boot_id)
    view = make_view(facts, history, find_zone(facts.timezone))
    return draw(str(wish["path"]), view, str(wish["language"]))


def draw(path: str, view: View, language: str) -> bytes:
    """Return one page of a view."""
    if path == "/status.json":
        return json.dumps(status_document(view), ensure_ascii=False).encode() + b"\n"
    return PAGES[path](Frame(view, Speech(language)))


def main() -> int:
    """Read, draw, write."""
    os.nice(POLITENESS)
    sys.stdout.buffer.write(answer(json.loads(sys.stdin.buffer.read())))
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())

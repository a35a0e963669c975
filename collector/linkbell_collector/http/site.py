"""The pages for people."""

import asyncio

from aiohttp import web

from linkbell_collector.http.operations import Observed
from linkbell_collector.lifetimes import Horizon
from linkbell_collector.live import Snapshot
from linkbell_collector.pages.overview import Question, overview
from linkbell_collector.pages.render import Pages

MAX_QUERY_LENGTH = 64
_STYLE_MAX_AGE_S = 86_400


class Site:
    """``/`` and its style sheet."""

    def __init__(self, observed: Observed, pages: Pages) -> None:
        self._observed = observed
        self._pages = pages

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/", self.overview), web.get("/static/style.css", self.style)]

    async def overview(self, request: web.Request) -> web.Response:
        """All schools, from live state alone: no query, however many schools there are."""
        observed = self._observed
        page = request.query.get("page", "1")
        question = Question(
            query=request.query.get("q", "").strip()[:MAX_QUERY_LENGTH],
            page=int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1,
            pending=observed.registry.pending_agents,
        )
        horizon = observed.lifetimes.at(observed.clock.now_us())
        text = await asyncio.to_thread(self._render, observed.live.snapshot(), horizon, question)
        return web.Response(text=text, content_type="text/html")

    def _render(self, snapshot: Snapshot, horizon: Horizon, question: Question) -> str:
        return self._pages.overview(overview(snapshot, horizon, question))

    async def style(self, request: web.Request) -> web.Response:
        """The one style sheet; its address changes with its content, so it may be kept."""
        headers = {"ETag": self._pages.style_etag, "Cache-Control": f"public, max-age={_STYLE_MAX_AGE_S}"}
        if request.headers.get("If-None-Match") == self._pages.style_etag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=self._pages.style, content_type="text/css", charset="utf-8", headers=headers)

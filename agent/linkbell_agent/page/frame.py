"""What all pages share: the head, the way to the other pages and languages, tables. Pure."""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

from linkbell_agent.language.quantities import Quantities
from linkbell_agent.language.speech import LANGUAGES, Speech
from linkbell_agent.page.markup import Content, Markup, join, tag
from linkbell_agent.page.view import DAY_S, View

REFRESH_S = 60
PATHS = {"/": "overview", "/provider": "provider"}


class Frame:
    """A view, and the words it is shown in."""

    def __init__(self, view: View, speech: Speech) -> None:
        self.view = view
        self.speech = speech
        self.quantities = Quantities(speech, unbroken=True)

    @property
    def place(self) -> str:
        """The school's name, or what is known in its stead."""
        facts = self.view.facts
        return facts.school_name or facts.school or self.speech.say("this school")

    def when(self, at_s: float) -> str:
        """Return a moment, without the day if it is today."""
        at, now = self.view.local(at_s), self.view.local(self.view.now_s)
        return self.quantities.clock(at) if at.date() == now.date() else self.quantities.date_time(at)

    def moment(self, at_s: float) -> str:
        """Return a moment with its day."""
        return self.quantities.date_time(self.view.local(at_s))

    def zone(self) -> str:
        """Return which time the page's times are in."""
        at = self.view.local(self.view.now_s)
        name = self.view.facts.timezone if self.view.zone is not None else None
        return self.speech.say("All times are {zone}.", zone=f"{name}, {_offset(at)}" if name else _offset(at))

    def hours(self) -> Markup:
        """Return the axis under a chart of a day."""
        ticks = [self.view.now_s - DAY_S * part / 4 for part in (4, 3, 2, 1)]
        words = [self.quantities.clock(self.view.local(at_s)) for at_s in ticks]
        return tag("div", *(tag("span", word) for word in (*words, self.speech.say("now"))), class_="hours")

    def address(self, path: str, *, language: str | None = None, uplink: str | None = None) -> str:
        """Return the link to a page in the present language, or another, of the uplink shown, or another."""
        shown = uplink or (self.view.facts.uplink if self.view.uplinks else None)
        query = f"?lang={language or self.speech.language}"
        return f"{path}{query}" if shown is None else f"{path}{query}&uplink={quote(shown)}"

    def page(self, path: str, title: str, *contents: Content) -> bytes:
        """Return the whole document."""
        head = tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", http_equiv="refresh", content=REFRESH_S) if path == "/" else None,
            tag("title", f"{title} – Linkbell"),
            tag("link", rel="icon", href="/icon.svg"),
            tag("link", rel="stylesheet", href="/style.css"),
        )
        body = tag("body", self._top(path), tag("main", *contents), self._foot())
        return f"<!DOCTYPE html>\n{tag('html', head, body, lang=self.speech.language)}\n".encode()

    def _top(self, path: str) -> Markup:
        say, code = self.speech.say, self.speech.language
        names = {"/": say("Overview"), "/provider": say("For the provider")}
        pages = [
            tag("a", name, href=self.address(to), aria_current="page" if to == path else None)
            for to, name in names.items()
        ]
        languages = [
            tag("a", name, href=self.address(path, language=to), lang=to, aria_current="true" if to == code else None)
            for to, name in LANGUAGES.items()
        ]
        return tag(
            "header",
            tag("p", tag("b", "Linkbell"), " ", tag("span", self.place), class_="brand"),
            tag("nav", *pages, class_="pages", aria_label=say("Pages")),
            tag("nav", *languages, class_="languages", aria_label=say("Language")),
        )

    def _foot(self) -> Markup:
        say, facts = self.speech.say, self.view.facts
        state = say("State of {moment}.", moment=self.moment(self.view.now_s))
        unsynced = say("This box's clock is not set: times may be wrong.") if facts.synced is False else None
        lines = [f"{state} {self.zone()}", unsynced, f"Linkbell {facts.version}"]
        return tag("footer", *(tag("p", line) for line in lines if line))

    def table(self, head: Sequence[str], rows: Sequence[Sequence[Content]], class_: str | None = None) -> Markup:
        """Return a table that can be read on a phone: each cell knows the head of its column."""
        top = tag("tr", *(tag("th", name, scope="col") for name in head))
        body = [
            tag("tr", *(tag("td", cell, data_head=name) for cell, name in zip(row, head, strict=True))) for row in rows
        ]
        return tag("table", tag("thead", top), tag("tbody", *body), class_=class_)


def section(title: str, *contents: Content) -> Markup:
    """Return a part of a page."""
    return tag("section", tag("h2", title), *contents)


def paragraph(*contents: Content, class_: str | None = None) -> Markup:
    """Return a paragraph."""
    return tag("p", join(*contents), class_=class_)


def _offset(at: datetime) -> str:
    minutes = round((at.utcoffset() or at - at).total_seconds() / 60)
    hours, rest = divmod(abs(minutes), 60)
    sign = "−" if minutes < 0 else "+"
    return f"UTC{sign}{hours}:{rest:02}" if rest else f"UTC{sign}{hours}"

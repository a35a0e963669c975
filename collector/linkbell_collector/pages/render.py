"""Templates and the style sheet, read once at start."""

import hashlib
from importlib import resources

import jinja2

from linkbell_collector.pages.overview import Overview
from linkbell_wire import __version__


class Pages:
    """Turns views into HTML. Everything a template prints is escaped."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("linkbell_collector.pages"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.style = resources.files("linkbell_collector.pages").joinpath("static/style.css").read_bytes()
        self.style_etag = f'"{hashlib.sha256(self.style).hexdigest()[:16]}"'
        self._environment.globals.update(version=__version__, style_tag=self.style_etag.strip('"'))

    def overview(self, view: Overview) -> str:
        """Return the first page."""
        return self._environment.get_template("overview.html").render(view=view)

    def error(self, status: int, message: str, action: str | None) -> str:
        """Return a page for a browser that asked for something that cannot be had."""
        return self._environment.get_template("error.html").render(status=status, message=message, action=action)

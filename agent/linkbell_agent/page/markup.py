"""HTML and SVG from Python, everything escaped unless it was made here. Pure."""

from html import escape

_VOID = frozenset({"br", "link", "meta", "hr"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Content = str | None
"""A string is text and is escaped, :class:`Markup` is taken as it is, ``None`` is nothing."""


def join(*contents: Content) -> Markup:
    """Return all of it in a row."""
    return Markup("".join(one if isinstance(one, Markup) else escape(one) for one in contents if one is not None))


def tag(name: str, /, *contents: Content, **attributes: str | float | None) -> Markup:
    """Return an element. Attributes: a trailing underscore is dropped, others are hyphens, ``None`` is left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{join(*contents)}</{name}>")


def _plain(value: str | float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)

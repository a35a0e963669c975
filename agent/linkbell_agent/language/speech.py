"""Messages in one language, from the catalogues under ``locale/``."""

import gettext
from pathlib import Path

LANGUAGES = {"en": "English", "ru": "Русский", "kk": "Қазақша"}
"""Code, and the name its speakers know it by."""

LOCALE = Path(__file__).parent.parent / "locale"
DOMAIN = "linkbell_agent"


def N_(text: str) -> str:  # noqa: N802 - the name gettext's tools know
    """Mark a message that is said elsewhere."""
    return text


class Speech:
    """Says messages. The English text is the key; a placeholder is ``{name}``.

    An unknown language is spoken as English.
    """

    def __init__(self, language: str = "en") -> None:
        self.language = language if language in LANGUAGES else "en"
        self._catalogue = gettext.translation(DOMAIN, str(LOCALE), [self.language], fallback=True)

    def say(self, text: str, **values: object) -> str:
        """Return a message, its placeholders filled."""
        return self._catalogue.gettext(text).format(**values)

    def say_n(self, one: str, many: str, n: int, **values: object) -> str:
        """Return a message whose words depend on the number ``n``, which it may name as ``{n}``."""
        return self._catalogue.ngettext(one, many, n).format(n=n, **values)


def from_environment(value: str | None) -> str:
    """Return the language of a locale's name such as ``ru_RU.UTF-8`` or ``kk:ru``; English if we do not speak it."""
    for name in (value or "").split(":"):
        code = name.partition(".")[0].partition("_")[0].partition("@")[0].lower()
        if code in LANGUAGES:
            return code
    return "en"


def from_header(value: str) -> str | None:
    """Return the best language of an ``Accept-Language`` header (RFC 9110, section 12.5.4), if we speak one of them."""
    wishes: list[tuple[float, int, str]] = []
    for place, part in enumerate(value[:500].split(",")):
        tag, _, parameter = part.strip().partition(";")
        code = tag.partition("-")[0].strip().lower()
        if code in LANGUAGES:
            wishes.append((-_quality(parameter), place, code))
    best = min(wishes, default=None)
    return best[2] if best is not None and best[0] < 0 else None


def _quality(parameter: str) -> float:
    name, _, number = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(number)
    except ValueError:
        return 0.0


def chosen(*wishes: str | None) -> str:
    """Return the first wish we can fulfil, English if none."""
    return next((wish for wish in wishes if wish is not None and wish in LANGUAGES), "en")

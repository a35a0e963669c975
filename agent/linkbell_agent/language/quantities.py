"""Numbers, rates, dates and durations as people of each language write them. Pure.

Sources: CLDR 46 for the decimal signs and the date patterns of ``ru`` and ``kk``; the units' names are messages.
"""

from datetime import datetime

from linkbell_agent.language.speech import Speech

NO_BREAK = "\u00a0"
WORD_JOINER = "\u2060"
_DECIMAL = {"en": ".", "ru": ",", "kk": ","}
_GROUP = {"en": ",", "ru": NO_BREAK, "kk": NO_BREAK}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DASH = "–"


class Quantities:
    """Says quantities in the language of ``speech``. Nothing known (``None``) is a dash.

    ``unbroken`` keeps a number and its unit on one line; not every terminal has the characters for that.
    """

    def __init__(self, speech: Speech, *, unbroken: bool = False) -> None:
        self._unbroken = unbroken
        self._speech = speech
        self._language = speech.language

    def number(self, value: float, digits: int = 0) -> str:
        """Return a number with so many digits after the decimal sign."""
        text = f"{value:,.{digits}f}"
        return text.translate({ord(","): _GROUP[self._language], ord("."): _DECIMAL[self._language]})

    def rate(self, bps: float | None) -> str:
        """Return bits per second in Mbit/s, with two or three digits that mean something."""
        if bps is None:
            return DASH
        mbps = bps / 1e6
        digits = 0 if mbps >= 100 or mbps == int(mbps) else 1 if mbps >= 1 else 2
        return self._kept(self._speech.say("{number} Mbit/s", number=self.number(mbps, digits)))

    def milliseconds(self, seconds: float | None) -> str:
        """Return a short time in milliseconds."""
        if seconds is None:
            return DASH
        digits = 1 if seconds < 0.01 else 0
        return self._kept(self._speech.say("{number} ms", number=self.number(seconds * 1e3, digits)))

    def share(self, ratio: float | None) -> str:
        """Return a ratio in per cent."""
        if ratio is None:
            return DASH
        percent = 100 * ratio
        return self._kept(self._speech.say("{number} %", number=self.number(percent, 1 if 0 < percent < 10 else 0)))

    def megabytes(self, count: float) -> str:
        """Return bytes in megabytes."""
        return self._speech.say("{number} MB", number=self.number(count / 1e6, 1 if count < 1e8 else 0))

    def _kept(self, text: str) -> str:
        if not self._unbroken:
            return text
        return text.replace(" ", NO_BREAK).replace("/", f"{WORD_JOINER}/{WORD_JOINER}")

    def duration(self, seconds: float) -> str:
        """Return a duration in whole minutes, hours and minutes, or days and hours; seconds below one minute."""
        whole = max(0, round(seconds))
        say_n = self._speech.say_n
        if whole < 60:
            return say_n("{n} second", "{n} seconds", whole)
        minutes = round(whole / 60)
        if minutes < 60:
            return say_n("{n} minute", "{n} minutes", minutes)
        hours, rest = divmod(minutes, 60)
        if hours < 24:
            said = say_n("{n} hour", "{n} hours", hours)
            return f"{said} {say_n('{n} minute', '{n} minutes', rest)}" if rest else said
        days, rest = divmod(round(minutes / 60), 24)
        said = say_n("{n} day", "{n} days", days)
        return f"{said} {say_n('{n} hour', '{n} hours', rest)}" if rest else said

    def clock(self, when: datetime) -> str:
        """Return the time of day."""
        return f"{when:%H:%M}"

    def date(self, when: datetime) -> str:
        """Return the day."""
        if self._language == "en":
            return f"{when.day} {_MONTHS[when.month - 1]} {when.year}"
        return f"{when:%d.%m.%Y}"

    def date_time(self, when: datetime) -> str:
        """Return day and time of day."""
        return f"{self.date(when)} {self.clock(when)}"

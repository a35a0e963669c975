"""Numbers, dates and durations as each language writes them; the language that is wished for."""

from datetime import UTC, datetime

import pytest

from linkbell_agent.language.quantities import Quantities
from linkbell_agent.language.speech import Speech, chosen, from_environment, from_header

WHEN = datetime(2026, 11, 24, 14, 5, tzinfo=UTC)


def quantities(language: str) -> Quantities:
    return Quantities(Speech(language))


@pytest.mark.parametrize(
    ("language", "number", "rate", "slow", "time", "share", "size", "date"),
    [
        ("en", "1,234.5", "22.4 Mbit/s", "0.51 Mbit/s", "1.2 ms", "2.5 %", "81,226 MB", "24 Nov 2026 14:05"),
        ("ru", "1\u00a0234,5", "22,4 Мбит/с", "0,51 Мбит/с", "1,2 мс", "2,5 %", "81\u00a0226 МБ", "24.11.2026 14:05"),
        ("kk", "1\u00a0234,5", "22,4 Мбит/с", "0,51 Мбит/с", "1,2 мс", "2,5 %", "81\u00a0226 МБ", "24.11.2026 14:05"),
    ],
)
def test_each_language_writes_them_its_own_way(
    language: str, number: str, rate: str, slow: str, time: str, share: str, size: str, date: str
) -> None:
    say = quantities(language)
    assert say.number(1234.5, 1) == number
    assert say.rate(22.4e6) == rate
    assert say.rate(512_000) == slow
    assert say.milliseconds(0.0012) == time
    assert say.share(0.025) == share
    assert say.megabytes(81_226e6) == size
    assert say.date_time(WHEN) == date


@pytest.mark.parametrize(
    ("bps", "said"),
    [(20e6, "20 Mbit/s"), (0.0, "0 Mbit/s"), (123.4e6, "123 Mbit/s"), (8.04e6, "8.0 Mbit/s"), (None, "–")],
)
def test_a_rate_has_as_many_digits_as_mean_something(bps: float | None, said: str) -> None:
    assert quantities("en").rate(bps) == said


@pytest.mark.parametrize(
    ("seconds", "ru", "kk"),
    [
        (1, "1 секунда", "1 секунд"),
        (59.6, "1 минута", "1 минут"),
        (62, "1 минута", "1 минут"),
        (3600, "1 час", "1 сағат"),
        (7260, "2 часа 1 минута", "2 сағат 1 минут"),
        (86_400 * 5 + 3600 * 3, "5 дней 3 часа", "5 күн 3 сағат"),
        (86_400 - 20, "1 день", "1 күн"),
    ],
)
def test_durations_are_in_the_two_units_that_matter(seconds: float, ru: str, kk: str) -> None:
    assert (quantities("ru").duration(seconds), quantities("kk").duration(seconds)) == (ru, kk)


def test_a_number_keeps_its_unit_on_the_line_where_that_is_wanted() -> None:
    said = Quantities(Speech("ru"), unbroken=True).rate(22.4e6)
    assert " " not in said
    assert "\u00a0" in said


def test_nothing_known_is_a_dash() -> None:
    say = quantities("en")
    assert {say.rate(None), say.milliseconds(None), say.share(None)} == {"–"}


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("ru-RU,ru;q=0.9,en-US;q=0.8", "ru"),
        ("kk, ru;q=0.8", "kk"),
        ("de,fr;q=0.5,kk;q=0.3", "kk"),
        ("en;q=0.2, ru;q=0.7", "ru"),
        ("ru;q=0, en", "en"),
        ("de", None),
        ("", None),
        ("*", None),
        ("ru;q=much, ,;;==", None),
        ("," * 5000 + "ru", None),
    ],
)
def test_the_browser_s_wish_is_read(header: str, language: str | None) -> None:
    assert from_header(header) == language


@pytest.mark.parametrize(
    ("value", "language"),
    [
        ("ru_RU.UTF-8", "ru"),
        ("kk_KZ", "kk"),
        ("de:kk:ru", "kk"),
        ("C", "en"),
        ("C.UTF-8", "en"),
        (None, "en"),
        ("", "en"),
    ],
)
def test_the_environment_s_wish_is_read(value: str | None, language: str) -> None:
    assert from_environment(value) == language


def test_the_first_wish_that_can_be_fulfilled_counts() -> None:
    assert chosen(None, "de", "kk", "ru") == "kk"
    assert chosen(None, None) == "en"
    assert Speech("de").language == "en"

"""Weekdays, hours and days as people write them, and a sentence for what cannot be read."""

from datetime import date

import pytest

from linkbell_wire.calendar import read_days, read_hours, read_weekdays


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon-fri", {0, 1, 2, 3, 4}),
        ("sun-thu", {6, 0, 1, 2, 3}),
        ("Mon–Sat", {0, 1, 2, 3, 4, 5}),
        ("mon, wed,fri", {0, 2, 4}),
        ("sat", {5}),
        ("mon-mon", {0}),
    ],
)
def test_weekdays(text: str, days: set[int]) -> None:
    assert read_weekdays(text) == days


@pytest.mark.parametrize(
    ("text", "usual", "special"),
    [
        ("08:00-18:00", ((480, 1080),), {}),
        ("8:00–18:00", ((480, 1080),), {}),
        ("08:00-13:00,14:00-19:00", ((480, 780), (840, 1140)), {}),
        ("18:00-01:00", ((1080, 1500),), {}),
        ("00:00-24:00", ((0, 1440),), {}),
        ("08:00-08:00", ((480, 1920),), {}),
        ("08:00-18:00; sat 08:00-13:00", ((480, 1080),), {5: ((480, 780),)}),
        (
            "08:00-18:00; tue,thu 09:00-10:00, 11:00-12:00",
            ((480, 1080),),
            dict.fromkeys((1, 3), ((540, 600), (660, 720))),
        ),
        ("fri-sat 08:00-13:00", (), dict.fromkeys((4, 5), ((480, 780),))),
    ],
)
def test_hours(text: str, usual: object, special: object) -> None:
    hours = read_hours(text)
    assert (hours.usual, dict(hours.special)) == (usual, special)


def test_days() -> None:
    assert read_days("2028-02-29") == (date(2028, 2, 29), date(2028, 2, 29))
    assert read_days("2026-12-30/2027-01-08") == (date(2026, 12, 30), date(2027, 1, 8))


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_weekdays, "mon-fry", "'fry' is no weekday: write them like mon-fri"),
        (read_weekdays, "", "'' is no weekday"),
        (read_hours, "8-18", "'8-18' are no hours: write them like 08:00-18:00"),
        (read_hours, "", "'' are no hours"),
        (read_hours, "08:00-25:00", "25:00 is no time of day"),
        (read_hours, "08:60-18:00", "08:60 is no time of day"),
        (read_hours, "24:00-08:00", "opens at 00:00"),
        (read_hours, "08:00-13:00, 12:00-18:00", "in their order, and without overlap"),
        (read_hours, "14:00-18:00, 08:00-13:00", "in their order, and without overlap"),
        (read_hours, "08:00-18:00; 09:00-12:00", "must say for which weekdays"),
        (read_hours, "18:00-07:00; sat 06:00-12:00", "reach into those of the next"),
        (read_hours, "08:00-18:00; sut 08:00-12:00", "'sut' is no weekday"),
        (read_days, "2026-02-29", "is no day there is"),
        (read_days, "29.03.2026", "write 2026-03-22"),
        (read_days, "2026-03-29/2026-03-21", "ends before it begins"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(read: object, text: str, message: str) -> None:
    assert callable(read)
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        read(text)

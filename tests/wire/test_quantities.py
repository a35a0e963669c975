"""Rates and sizes as people type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_wire.quantities import read_rate, read_size


@pytest.mark.parametrize(
    ("text", "bps"),
    [
        ("8M", 8e6),
        ("8000k", 8e6),
        ("8 Mbit/s", 8e6),
        ("8000000", 8e6),
        (" 8.5m ", 8.5e6),
        ("8.500M", 8.5e6),
        ("8Mbps", 8e6),
        ("0.25 Mbit/s", 250e3),
        ("1G", 1e9),
        ("10G", 10e9),
        ("8,5M", 8.5e6),
        ("8,55 Mbit/s", 8.55e6),
        ("8,5000M", 8.5e6),
        ("0,256M", 256e3),
        ("1024,125k", 1_024_125),
    ],
)
def test_a_rate_is_read_as_people_write_it(text: str, bps: float) -> None:
    assert read_rate(text) == pytest.approx(bps)


@pytest.mark.parametrize(
    "text",
    ["", "0", "0M", "0,0M", "-8M", "8X", "fast", "8 MB/s", "1e6", "nan", "8M8", "\u0668M", "9" * 400, "8,M", ",5M"],
)
def test_what_is_no_rate_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="8M"):
        read_rate(text)


@pytest.mark.parametrize(
    ("text", "small", "large"),
    [
        ("8,500M", "8.5M", "8500M"),
        ("20,000", "20.0", "20000"),
        ("1,024 kbit/s", "1.024 kbit/s", "1024 kbit/s"),
    ],
)
def test_a_comma_that_may_part_thousands_is_asked_about(text: str, small: str, large: str) -> None:
    with pytest.raises(ValueError, match="may mean") as caught:
        read_rate(text)
    assert f"{small} or {large}" in str(caught.value)
    assert read_rate(large) == pytest.approx(1000 * read_rate(small))


@pytest.mark.parametrize("text", ["8 000 000", "8,500,000", "8.500.000", "8\u00a0000k", "1'000M"])
def test_parted_thousands_are_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ValueError, match="nothing between the thousands"):
        read_rate(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1000000", 10**6),
        ("500k", 500_000),
        ("1M", 10**6),
        ("1.5 MB", 1_500_000),
        ("1,5M", 1_500_000),
        ("2G", 2 * 10**9),
        ("100kB", 10**5),
    ],
)
def test_a_size_is_read_as_people_write_it(text: str, count: int) -> None:
    assert read_size(text) == count


@pytest.mark.parametrize("text", ["", "0", "-1M", "1.5", "1MiB", "8Mbit", "much", "1T", "9" * 400])
def test_what_is_no_size_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="1M"):
        read_size(text)


@given(st.integers(1, 10**15))
def test_a_whole_number_of_bytes_is_itself(count: int) -> None:
    assert read_size(str(count)) == count

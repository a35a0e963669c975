"""docs/failures.md explains every word a failure can consist of, and no other."""

import re
from enum import StrEnum
from pathlib import Path

import pytest

from linkbell_wire.failures import FailureCode, Operation

TEXT = (Path(__file__).parents[2] / "docs" / "failures.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, list[str]]:
    """Return the rows of the table under ``heading``: first cell, without its quotes, to the others."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:3] == "| `"
    ]
    return {first.strip("`"): rest for first, *rest in cells}


@pytest.mark.parametrize(("heading", "words"), [("Operations", Operation), ("Codes", FailureCode)])
def test_every_word_has_its_row_and_no_row_is_left_over(heading: str, words: type[StrEnum]) -> None:
    assert list(rows(heading)) == [word.value for word in words]


def test_every_code_says_what_it_means_and_what_to_do() -> None:
    for code, (meaning, _cause, remedy) in rows("Codes").items():
        assert len(meaning) > 10, code
        assert remedy, code


def test_no_word_in_quotes_is_one_that_has_gone() -> None:
    known = {word.value for word in (*Operation, *FailureCode)} | {"source", "device"}
    quoted = re.findall(r"`([a-z_]+)`", TEXT)
    assert set(quoted) <= known

"""The catalogues hold every message of the source in every language, whole; what is compiled is what is written."""

import ast
import string
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from tools import catalogues

from linkbell_agent.language import terms
from linkbell_agent.language.speech import LANGUAGES, Speech
from linkbell_wire.failures import FailureCode
from linkbell_wire.words import Layer, VerdictState

FORMS = {"en": 2, "ru": 3, "kk": 2}


def on_disk(language: str) -> Catalog:
    with catalogues.po_file(language).open("rb") as file:
        return read_po(file, locale=language)


def texts(message: object) -> tuple[str, ...]:
    return tuple(message) if isinstance(message, list | tuple) else (str(message),)


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_the_languages_are_those_spoken() -> None:
    assert set(catalogues.PLURALS) == set(LANGUAGES) == {"en", "ru", "kk"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_catalogue_has_every_message_of_the_source_and_no_other(language: str) -> None:
    source = {message.id for message in catalogues.extracted() if message.id}
    assert len(source) > 200
    assert {message.id for message in on_disk(language) if message.id} == source, "run `make catalogues`"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_is_translated_with_the_same_placeholders_and_none_is_fuzzy(language: str) -> None:
    for message in on_disk(language):
        if not message.id:
            continue
        assert not message.fuzzy, message.id
        said, meant = texts(message.string), texts(message.id)
        assert all(text.strip() for text in said), message.id
        assert len(said) == (FORMS[language] if len(meant) > 1 else 1), message.id
        for text in said:
            assert placeholders(text) == placeholders(meant[-1]), message.id
            assert text == text.strip()
            assert text[-1] in ".:?!" or meant[-1][-1] not in ".?!", message.id


@pytest.mark.parametrize("language", ["ru", "kk"])
def test_a_translation_is_in_its_own_letters(language: str) -> None:
    allowed = {"ping", "{number} %"}
    latin_only = {
        message.id
        for message in on_disk(language)
        if message.id and not any("а" <= letter.lower() <= "ӹ" for text in texts(message.string) for letter in text)
    }
    assert latin_only <= allowed
    kazakh = "".join(text for message in on_disk("kk") for text in texts(message.string))
    assert all(letter in kazakh for letter in "әғқңөұүһі" if letter != "һ")


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_compiled_is_what_is_written(language: str) -> None:
    po = catalogues.po_file(language)
    assert po.with_suffix(".mo").read_bytes() == catalogues.mo_bytes(po.read_bytes(), language), "run `make catalogues`"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_written_catalogue_is_as_the_tool_writes_it(language: str) -> None:
    content = catalogues.po_text(language, catalogues.updated(language))
    assert catalogues.po_file(language).read_bytes() == content, "run `make catalogues`"


def test_nobody_is_spoken_to_in_words_that_are_made_up_as_they_are_said() -> None:
    """A message that is not a literal has to come from a table of marked ones, which is a name or a look-up."""
    made_up = []
    for room in ("language", "page", "status", "doctor"):
        for file in (catalogues.SOURCE / room).glob("*.py"):
            made_up += _made_up(file)
    made_up += _made_up(catalogues.SOURCE / "technician.py")
    assert made_up == []


def _made_up(file: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", getattr(node.func, "id", "")) in catalogues.KEYWORDS
        ):
            first = node.args[0]
            if isinstance(first, ast.JoinedStr | ast.BinOp | ast.IfExp):
                found.append(f"{file.name}:{node.lineno}")
    return found


def test_every_closed_list_of_the_wire_has_words() -> None:
    states, layers = {one.value for one in VerdictState}, {one.value for one in Layer}
    for table in (terms.VERDICTS, terms.STEPS, terms.SHORT, terms.TONES):
        assert set(table) == states
    assert set(terms.LAYERS) == layers
    assert {one.value for one in FailureCode} <= set(terms.FAILURES)
    assert set(terms.TONES.values()) | {"unknown"} == set(terms.TONE_WORDS)


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", {0: "0 minutes", 1: "1 minute", 2: "2 minutes", 21: "21 minutes"}),
        ("ru", {0: "0 минут", 1: "1 минута", 2: "2 минуты", 5: "5 минут", 11: "11 минут", 12: "12 минут"}),
        ("ru", {21: "21 минута", 22: "22 минуты", 111: "111 минут", 1004: "1004 минуты"}),
        ("kk", {0: "0 минут", 1: "1 минут", 2: "2 минут", 21: "21 минут"}),
    ],
)  # fmt: skip
def test_plurals_are_right(language: str, said: dict[int, str]) -> None:
    speech = Speech(language)
    assert {n: speech.say_n("{n} minute", "{n} minutes", n) for n in said} == said

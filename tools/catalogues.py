"""`make catalogues`: every message of the agent's source into agent/linkbell_agent/locale/, compiled files beside it.

A message that is new is empty in Russian and Kazakh until somebody translates it; a test holds that none is. English is
what the source says. Compiled catalogues are in the repository, so that a box needs neither Babel nor a build.
"""

import argparse
import ast
import io
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "agent" / "linkbell_agent"
LOCALE = SOURCE / "locale"
DOMAIN = "linkbell_agent"
KEYWORDS = {"say": None, "_say": None, "say_n": (1, 2), "_say_n": (1, 2), "N_": None}
ROOMS = ("language/**.py", "page/**.py", "status/**.py", "doctor/**.py", "technician.py")
"""Where people are spoken to."""

PLURALS = {
    "en": "nplurals=2; plural=(n != 1);",
    "ru": ("nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2);"),
    "kk": "nplurals=2; plural=(n != 1);",
}
"""CLDR 46, as gettext writes it."""

WIDTH = 120

Found = tuple[int, str, str | tuple[str, ...], list[str]]


def extracted() -> Catalog:
    """Return every message of the source, in the order of the files. Lines are left out: they move with every edit."""
    catalog = Catalog(charset="utf-8")
    method = cast("str", calls)  # Babel takes a function, too, and does not say so
    found = extract_from_dir(str(SOURCE), [(room, method) for room in ROOMS], keywords=KEYWORDS)
    for file, _, message, _, _ in sorted(found, key=lambda one: (one[0], one[1])):
        catalog.add(message, None, [cast("tuple[str, int]", (file, None))])
    return catalog


def calls(file: IO[bytes], keywords: Iterable[str], comment_tags: object, options: object) -> Iterator[Found]:
    """Yield the messages of one file. Babel's own extractor for Python does not look into f-strings."""
    del comment_tags, options  # there are none
    for node in ast.walk(ast.parse(file.read())):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        texts = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        if name in keywords and texts:
            yield node.lineno, name, tuple(texts) if len(texts) > 1 else texts[0], []


def catalogue(language: str) -> Catalog:
    """Return the catalogue of a language as it is on disk, empty if there is none."""
    path = po_file(language)
    if not path.exists():
        return Catalog(locale=language, domain=DOMAIN)
    with path.open("rb") as file:
        return read_po(file, locale=language, domain=DOMAIN)


def updated(language: str) -> Catalog:
    """Return the catalogue with exactly the messages of the source, translations kept, nothing guessed."""
    before, fresh = catalogue(language), extracted()
    made = Catalog(
        locale=language, domain=DOMAIN, project="Linkbell", copyright_holder="The Linkbell authors", fuzzy=False
    )
    for message in fresh:
        if not message.id:
            continue
        known = before.get(message.id)
        string = message.id if language == "en" else (known.string if known is not None else None)
        made.add(message.id, string or "", message.locations)
    return made


def po_text(language: str, made: Catalog) -> bytes:
    """Return the text of a catalogue, the same for the same messages."""
    buffer = io.BytesIO()
    write_po(buffer, made, width=WIDTH, omit_header=True)
    head = (
        f'# {language}: messages of the Linkbell agent. Made and updated by `make catalogues`.\nmsgid ""\nmsgstr ""\n'
        f'"Project-Id-Version: Linkbell\\n"\n"Language: {language}\\n"\n"MIME-Version: 1.0\\n"\n'
        '"Content-Type: text/plain; charset=utf-8\\n"\n"Content-Transfer-Encoding: 8bit\\n"\n'
        f'"Plural-Forms: {PLURALS[language]}\\n"\n\n'
    )
    return head.encode() + buffer.getvalue()


def mo_bytes(po: bytes, language: str) -> bytes:
    """Return a catalogue compiled (gettext manual, "The Format of GNU MO Files"): the same for the same messages.

    Babel's own compiler writes its version and the time into each.
    """
    pairs = {b"": f"Content-Type: text/plain; charset=utf-8\nPlural-Forms: {PLURALS[language]}\n".encode()}
    for message in read_po(io.BytesIO(po), locale=language, domain=DOMAIN):
        if message.id and all(_strings(message.string)):
            pairs["\0".join(_strings(message.id)).encode()] = "\0".join(_strings(message.string)).encode()
    keys = sorted(pairs)
    texts = [*keys, *(pairs[key] for key in keys)]
    start, count = 28, len(keys)
    place, table, body = start + 16 * count, b"", b""
    for text in texts:
        table += struct.pack("<II", len(text), place + len(body))
        body += text + b"\0"
    return struct.pack("<7I", 0x950412DE, 0, count, start, start + 8 * count, 0, place) + table + body


def po_file(language: str) -> Path:
    """Return where the catalogue of a language lies."""
    return LOCALE / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def main(argv: Sequence[str] | None = None) -> int:
    """Update and compile all; say what is missing."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args(argv)
    for language in PLURALS:
        made, path = updated(language), po_file(language)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = po_text(language, made)
        path.write_bytes(content)
        path.with_suffix(".mo").write_bytes(mo_bytes(content, language))
        missing = [message.id for message in made if message.id and not all(_strings(message.string))]
        print(f"{language}: {len(made)} messages, {len(missing)} not translated")
        for one in missing:
            print(f"  {one}")
    return 0


def _strings(string: object) -> tuple[str, ...]:
    if isinstance(string, list | tuple):
        return tuple(string)
    return (str(string or ""),)


if __name__ == "__main__":
    sys.exit(main())

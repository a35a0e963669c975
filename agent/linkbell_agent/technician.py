"""``status`` and ``doctor``: what each does, in the technician's language."""

import argparse
import asyncio
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from linkbell_agent import app
from linkbell_agent.cli import EXIT_FAILURE, EXIT_RESULT, load_settings
from linkbell_agent.doctor.findings import Finding, Result
from linkbell_agent.doctor.run import MARKS, examine, exit_is_good, report
from linkbell_agent.files import StateError
from linkbell_agent.folder_lock import is_held
from linkbell_agent.language.speech import Speech, from_environment
from linkbell_agent.page.child import find_zone
from linkbell_agent.sections import Settings
from linkbell_agent.settings import SettingsError, environment_language, load
from linkbell_agent.status.screen import UNICODE, Screen, signs_for
from linkbell_agent.status.source import Found, Origin, find


def status(arguments: argparse.Namespace) -> int:
    """``linkbell-agent status``."""
    settings = load_settings(arguments).settings
    found = find(settings, app.build_context(settings).clock, is_running=_runs(settings))
    if arguments.json:
        print(json.dumps(found.document | {"origin": found.origin.value}, ensure_ascii=False))
    else:
        _print(_status_lines(found, _speech(settings)))
    return EXIT_FAILURE if found.origin is Origin.NOTHING else EXIT_RESULT


def _status_lines(found: Found, speech: Speech) -> list[str]:
    zone = find_zone(found.document["timezone"])
    return Screen(found.document, speech, signs_for(sys.stdout.encoding), zone).lines(found.origin)


def doctor(arguments: argparse.Namespace) -> int:
    """``linkbell-agent doctor``."""
    settings, problem = _settings_or_default(arguments)
    speech = _speech(settings)
    case = app.build_case(settings, speech)
    title = speech.say("Settings")
    if problem is None:
        first = case.good("settings", title, speech.say("They are valid."))
    else:
        first = case.failure("settings", title, problem, speech.say("Correct them; what follows is with the defaults."))
    findings = [first, *asyncio.run(examine(case))]
    if arguments.json:
        print(json.dumps(_document(findings), ensure_ascii=False))
    else:
        unicode = signs_for(sys.stdout.encoding) is UNICODE
        _print(report(findings, case, MARKS if unicode else _ASCII_MARKS))
    return EXIT_RESULT if exit_is_good(findings) else EXIT_FAILURE


_ASCII_MARKS = {Result.GOOD: "+", Result.WARNING: "!", Result.FAILURE: "x", Result.SKIPPED: "-"}


def _document(findings: list[Finding]) -> dict[str, Any]:
    checks = [asdict(one) | {"result": one.result.value} for one in findings]
    return {"good": exit_is_good(findings), "checks": checks}


def _settings_or_default(arguments: argparse.Namespace) -> tuple[Settings, str | None]:
    """Return the settings, or the defaults and what is wrong: a wrong setting is a finding like any other."""
    try:
        return load_settings(arguments).settings, None
    except SettingsError as error:
        state = [] if arguments.state is None else [f"state={arguments.state}"]
        # Neither file nor environment: what is wrong is in one of them, or in a flag.
        return load(Path(os.devnull), state, {}).settings, " ".join(str(error).split())


def _runs(settings: Settings) -> bool:
    try:
        return settings.state.is_dir() and is_held(settings.state)
    except StateError:  # not this user's to look into; the page may answer all the same
        return False


def _speech(settings: Settings) -> Speech:
    """Speak as set, else as the environment says; English where the terminal has no such letters."""
    speech = Speech(settings.language or from_environment(environment_language()))
    try:
        speech.say("The Internet connection works.").encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return Speech("en")
    return speech


def _print(lines: list[str]) -> None:
    """Print what the terminal can show; a letter it does not have is a question mark."""
    encoding = sys.stdout.encoding or "ascii"
    text = "\n".join(line.rstrip() for line in lines)
    print(text.encode(encoding, "replace").decode(encoding), flush=True)

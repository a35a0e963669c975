"""The agent's documentation says every setting, with its default and its help, every command and every flag."""

import argparse
import json
from pathlib import Path

from linkbell_agent.cli import build_parser
from linkbell_agent.settings import table

PAGE = (Path(__file__).parent.parent / "docs" / "agent.md").read_text(encoding="utf-8")


def _row(key: str) -> list[str]:
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| `{key}` |"))
    return [cell.strip().strip("`") for cell in line.strip("|").split("|")]


def test_every_setting_is_documented_as_it_is() -> None:
    for row in table():
        default = "" if row.default is None else json.dumps(row.default, default=str)
        assert _row(row.key) == [row.key, row.variable if row.is_plain else "", default, row.help]


def test_no_setting_is_documented_that_is_not_there() -> None:
    documented = [
        line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `") and "LINKBELL_AGENT_" in line
    ]
    assert documented == [row.key for row in table() if row.is_plain]


def test_every_command_and_flag_is_documented_in_its_own_row() -> None:
    parser = build_parser()
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    common = next(line for line in PAGE.splitlines() if line.startswith("Every command has `--help`"))
    for name, command in commands.choices.items():
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `linkbell-agent {name}"))
        flags = {flag for action in command._actions for flag in action.option_strings if flag.startswith("--")}
        said = row + common
        assert {flag for flag in flags if f"`{flag}`" not in said and f"{flag} " not in said} == set(), name

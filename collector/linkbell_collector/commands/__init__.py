"""One module per command. Each has ``add_to(subparsers, common)``, which adds it with its help and what runs it."""

import argparse
from types import ModuleType
from typing import TYPE_CHECKING

from linkbell_collector.commands import (
    agents,
    backup,
    check_config,
    measure,
    move,
    regions,
    restore,
    schools,
    serve,
    simulate,
    tokens,
)

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def modules() -> tuple[ModuleType, ...]:
    """Return the commands in the order of the help."""
    return (serve, measure, schools, regions, tokens, agents, backup, restore, move, simulate, check_config)

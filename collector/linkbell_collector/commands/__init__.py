"""One module per command. Each has ``add_to(subparsers, common)``, which adds it with its help and what runs it."""

import argparse
from types import ModuleType
from typing import TYPE_CHECKING

from linkbell_collector.commands import agents, check_config, measure, regions, schools, serve, simulate, tokens

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def modules() -> tuple[ModuleType, ...]:
    """Return the commands in the order of the help."""
    return (serve, measure, schools, regions, tokens, agents, simulate, check_config)

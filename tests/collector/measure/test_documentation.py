"""docs/measurement.md names every flag, metric, outcome and address of the measurement server."""

import argparse
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from linkbell_agent.floor import exchange as check
from linkbell_agent.ndt7 import connection, exchange, judge, stream
from linkbell_agent.ookla import tester
from linkbell_agent.ookla.process import PROGRAM
from linkbell_collector.measure import command
from linkbell_collector.measure.metrics import Metrics, Outcome, PlaceEnd, Refusal
from linkbell_collector.measure.places import PlaceLimits
from linkbell_collector.measure.speedtest import MAX_UPLOAD_BYTES, PREFIX, TEST_HEADER
from linkbell_wire.records import SpeedResult

TEXT = (Path(__file__).parents[3] / "docs" / "measurement.md").read_text(encoding="utf-8")


def flags() -> list[str]:
    parser = argparse.ArgumentParser(add_help=False)
    command.add_arguments(parser)
    return [action.option_strings[0] for action in parser._actions]


def metrics() -> list[str]:
    registry = CollectorRegistry()
    Metrics(registry)
    names = {sample.name for family in registry.collect() for sample in family.samples}
    return sorted(name for name in names if not name.endswith("_created"))


@pytest.mark.parametrize(
    "word", [*flags(), *metrics(), *Outcome, *PlaceEnd, *Refusal, TEST_HEADER, PREFIX, "/healthz", "/metrics"]
)
def test_the_page_names_it(word: str) -> None:
    assert f"`{word}" in TEXT


# Those that other pages explain, or that nothing fills yet.
ELSEWHERE = {"bps", "bps_low", "bps_high", "streams", "failure"}


@pytest.mark.parametrize("field", sorted(set(SpeedResult.model_fields) - ELSEWHERE))
def test_the_page_explains_the_field(field: str) -> None:
    assert f"| `{field}` |" in TEXT


@pytest.mark.parametrize(
    "limit",
    [
        f"| TLS | {connection.UPGRADE_TIMEOUT_S:g} s |",
        f"{exchange.LONGEST_GOODBYE_S:g} s at most",
        f"Nothing moving for {exchange.STALL_S:g} seconds",
        f"More than {stream.MAX_TEXTS} texts",
        f"more than {check.MAX_TEXTS} texts",
        f"ends before {judge.LEAST_ELAPSED_S:g} seconds",
        f"Less than {judge.LEAST_BYTES} bytes",
        f"killed {PROGRAM.stall_s:g} seconds after the last byte",
        f"{PROGRAM.start_s:g} s for the program to start and {PROGRAM.setup_s:g} s to find a server",
        f"{PROGRAM.tail_s:g} s more than `max_duration_s` for each direction",
        f"More than {tester.MOST_TROUBLE:.0%} of the requests failed",
        f"open for more than {PlaceLimits().request_s:g} s",
        f"no request for {PlaceLimits().idle_s:g} s",
        f"longer than {PlaceLimits().test_s:g} s",
        f"more than {PlaceLimits().requests} requests at once",
        f"an upload over {MAX_UPLOAD_BYTES >> 20} MiB",
        f"not more than {judge.CLAIM_SURPLUS:g} times",
    ],
)
def test_the_page_states_the_limit_that_holds(limit: str) -> None:
    assert limit in TEXT

"""``simulate``: schools that do not exist, speaking the real protocol."""

import argparse
import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linkbell_collector.commands import common
from linkbell_collector.errors import UsageError
from linkbell_collector.settings import Settings
from linkbell_collector.store.interface import Store

if TYPE_CHECKING:
    from linkbell_collector.simulate.prepare import Prepared, Wish
    from linkbell_collector.simulate.state import StateFolder

_EPILOG = """\
Examples:
  linkbell-collector simulate --data /tmp/demo --serve 127.0.0.1:8470 --days 7
        a demonstration: a collector, 447 schools, a week of history, and then live
  linkbell-collector simulate --data /tmp/demo --schools 50 --scenario district-dark --speed 30
        beside a collector that serves /tmp/demo already; half an hour of the schools' life in a minute
  linkbell-collector simulate --data /tmp/load --schools 20000 --scenario quiet --processes 2
        load; --speed 20 makes twenty times as much of it
  linkbell-collector simulate --url https://collector.example --token lbj_... --state /tmp/fleet --schools 20
        through a collector elsewhere; its operator approves the schools, which are marked as simulated there, too
  linkbell-collector simulate --data /tmp/week --clock fast --speed 60 --serve --scenario alerts
        a collector whose clock runs as fast as the schools': nights and holidays pass in minutes
  linkbell-collector simulate --scenarios            what can happen; --show NAME prints one, to be changed
  linkbell-collector simulate --data /tmp/demo --remove

Simulated schools are marked everywhere, and never come into a collector with real ones unless you say
--beside-real-schools. What was done to whom is written, as JSON lines, into truth.jsonl of the state folder.
Ctrl-C ends it; the next run on the same folder goes on with the same schools. docs/simulate.md says more.
"""

_NUMBERS = ("schools", "regions", "districts", "providers", "seed")


def add_to(subparsers: common.Subparsers, parent: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = common.add_command(
        subparsers, "simulate", "run schools that do not exist, for load, demonstrations and tests", _EPILOG, [parent]
    )
    where = parser.add_argument_group("where")
    where.add_argument("--url", metavar="URL", help="the collector (default: where the settings of --data listen)")
    where.add_argument("--token", metavar="TOKEN", help="join token of a region, for a collector elsewhere")
    where.add_argument("--state", metavar="DIR", type=Path, help="where the fleet is kept (default DATA/simulation)")
    where.add_argument(
        "--serve", metavar="HOST:PORT", nargs="?", const="127.0.0.1:8470", help="run a collector on --data as well"
    )
    where.add_argument("--beside-real-schools", action="store_true", help="even into a collector with real schools")
    what = parser.add_argument_group("what")
    for name, default in zip(_NUMBERS, (447, 5, 20, 4, 1), strict=True):
        what.add_argument(f"--{name}", type=int, metavar="N", help=f"default {default}")
    what.add_argument("--prefix", metavar="WORD", help="how the schools' ids begin (default sim)")
    what.add_argument("--scenario", metavar="NAME|FILE", default="normal", help="what happens (default normal)")
    what.add_argument(
        "--days", type=float, default=0.0, metavar="D", help="history of D days first, pings every 15 min"
    )
    time = parser.add_argument_group("time")
    time.add_argument("--speed", type=float, default=1.0, metavar="X", help="simulated time passes X times as fast")
    time.add_argument(
        "--clock",
        choices=("real", "fast"),
        default="real",
        help="the collector's clock: real, or as fast as the schools'",
    )
    time.add_argument("--lasts", metavar="TIME", help="end after so much simulated time, such as 2h (default: Ctrl-C)")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--processes", type=int, default=1, metavar="N", help="processes that share the schools (default 1)"
    )
    how.add_argument("--connections", type=int, default=32, metavar="N", help="connections of all of them (default 32)")
    how.add_argument("--interval", metavar="TIME", default="60s", help="simulated time between rounds (default 60s)")
    how.add_argument("--report-every", metavar="TIME", default="0s", help="collect records for so long before sending")
    how.add_argument("--batch", type=int, default=60, metavar="N", help="most records in a delivery (default 60)")
    how.add_argument(
        "--speed-tests", type=int, default=3, metavar="N", help="full speed tests a school day (default 3)"
    )
    other = parser.add_argument_group("instead")
    other.add_argument("--prepare", action="store_true", help="only make the schools known (and the clock), then end")
    other.add_argument("--remove", action="store_true", help="remove all simulated schools with their records")
    other.add_argument("--scenarios", action="store_true", help="list the ready-made scenarios")
    other.add_argument("--show", metavar="NAME", help="print a ready-made scenario")
    common.add_json(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Simulate, or do what is asked for instead."""
    from linkbell_collector.simulate import prepare  # late, as all of it: --help of other commands must be quick

    if parsed.scenarios:
        for name in prepare.scenario_names():
            print(f"{name:20} {prepare.load_scenario(name).description}")
        return 0
    if parsed.show is not None:
        print(prepare.scenario_text(parsed.show), end="")
        return 0
    settings = common.effective(parsed).settings
    state = _state_folder(parsed, settings)
    if parsed.remove:
        return _remove(settings, state)
    return _simulate(parsed, settings, state)


def _state_folder(parsed: argparse.Namespace, settings: Settings) -> "StateFolder":
    from linkbell_collector.simulate.state import StateFolder

    if parsed.token is not None and parsed.state is None:
        raise UsageError("--token: say with --state DIR where the fleet of a collector elsewhere is to be kept")
    return StateFolder(parsed.state or settings.data / "simulation")


def _remove(settings: Settings, state: "StateFolder") -> int:
    from linkbell_collector import folder_clock
    from linkbell_collector.simulate import removal

    removed = common.with_store(settings, lambda store: removal.remove(store, settings.data))
    state.remove()
    (settings.data / folder_clock.FILE_NAME).unlink(missing_ok=True)
    print(f"removed {removed.schools} simulated schools, {removed.agents} agents and {removed.records} records")
    return 0


def _wish(parsed: argparse.Namespace) -> "Wish":
    from linkbell_collector.simulate.prepare import Wish, load_scenario

    if not 0.01 <= parsed.speed <= 100_000:
        raise UsageError("--speed: must be between 0.01 and 100000")
    if parsed.processes < 1 or parsed.connections < 1 or not 1 <= parsed.batch <= 1000 or parsed.days < 0:
        raise UsageError("--processes, --connections, --batch: must be at least 1, and --batch at most 1000")
    return Wish(
        scenario=load_scenario(parsed.scenario),
        speed=parsed.speed,
        fast_clock=parsed.clock == "fast",
        days=parsed.days,
        lasts_s=None if parsed.lasts is None else _seconds("--lasts", parsed.lasts),
        speeds_per_day=parsed.speed_tests,
    )


def _seconds(flag: str, text: str) -> float:
    from linkbell_collector.simulate.scenario import ScenarioError, duration_s

    try:
        seconds = duration_s(text, flag)
    except ScenarioError as error:
        raise UsageError(str(error)) from error
    if seconds < 0:
        raise UsageError(f"{flag}: must not be negative")
    return seconds


def _simulate(parsed: argparse.Namespace, settings: Settings, state: "StateFolder") -> int:
    from linkbell_collector.clock import SystemClock
    from linkbell_collector.simulate import prepare, register
    from linkbell_collector.simulate.client import Client
    from linkbell_collector.simulate.state import Kept

    clock, wish, kept = SystemClock(), _wish(parsed), state.read()
    spec = prepare.fleet_spec(kept, wish.scenario, {name: getattr(parsed, name) for name in (*_NUMBERS, "prefix")})
    here = parsed.token is None
    url = parsed.url or (kept.url if kept is not None and not here else f"http://{settings.listen}")
    Client(url)  # refuses what is no address, before anything is made
    if not parsed.serve and not parsed.prepare:
        asyncio.run(register.refuse_where_nobody_answers(url))
    if not here and not parsed.beside_real_schools:
        asyncio.run(register.refuse_real_schools_at(url))
    enrolled = kept is not None and kept.simulated_us is not None
    lead_s = prepare.lead_s(spec.schools, known=enrolled)
    timeline = prepare.timeline_of(wish, settings.data if here else None, kept, clock.now_us(), lead_s)
    state.write(Kept(spec, url, kept.simulated_us if kept else None))
    if parsed.prepare:
        wish = replace(wish, scenario=replace(wish.scenario, moments=(), background=False))
    prepared = prepare.prepare(wish, spec, kept, state, timeline)
    tokens = {"": parsed.token}
    made: list[str] = []
    if here:
        unenrolled = {site.id for site in prepared.fleet} - {
            school for school, item in state.agents().items() if item.get("credential")
        }

        async def work(store: Store) -> register.Tokens:
            now_us = timeline.wire(timeline.simulated_us)
            return await register.register(
                store, prepared.fleet, unenrolled, now_us, beside_real=parsed.beside_real_schools
            )

        found = common.with_store(settings, work, make=True)
        tokens, made = found.secrets, found.ids
    if parsed.prepare:
        print(f"{len(prepared.fleet)} simulated schools are known in {settings.data}", file=sys.stderr)
        return 0
    try:
        return _perform(parsed, settings, state, (prepared, wish, url, tokens))
    finally:
        if made:
            common.with_store(settings, lambda store: _revoke(store, made, clock.now_us()))


async def _revoke(store: Store, ids: list[str], now_us: int) -> None:
    for token in ids:
        await store.revoke_token(token, now_us)


def _perform(
    parsed: argparse.Namespace,
    settings: Settings,
    state: "StateFolder",
    what: tuple["Prepared", "Wish", str, dict[str, str]],
) -> int:
    from linkbell_collector.clock import SystemClock
    from linkbell_collector.simulate.children import CollectorProcess
    from linkbell_collector.simulate.conductor import Conductor, Performance, split
    from linkbell_collector.simulate.driver import Rhythm
    from linkbell_collector.simulate.run_file import Shard
    from linkbell_collector.simulate.state import Kept

    prepared, wish, url, tokens = what
    clock = SystemClock()
    rhythm = Rhythm(
        interval_s=max(1.0, _seconds("--interval", parsed.interval)),
        report_every_s=_seconds("--report-every", parsed.report_every),
        batch_records=parsed.batch,
        connections=parsed.connections,
    )

    def came_to(simulated_us: int) -> None:
        state.write(Kept(prepared.spec, url, simulated_us))

    async def perform() -> dict[str, Any]:
        collector = CollectorProcess(settings.data, parsed.serve) if parsed.serve else None
        try:
            if collector is not None:
                await collector.start()
            shard = Shard(
                url=collector.url if collector is not None else url,
                agents_file="",
                truth_file=str(state.truth_file),
                schools=[],
                spec=prepared.spec,
                timeline=prepared.timeline,
                rhythm=rhythm,
                speeds_per_day=wish.speeds_per_day,
                tokens=tokens,
                histories=prepared.histories,
            )
            _introduce(prepared, shard.url, state)
            shards = split(shard, state.share_out(prepared.fleet, parsed.processes))
            lasts_s = None
            if wish.lasts_s is not None:
                lead_s = max(0.0, (prepared.timeline.real_us - clock.now_us()) / 1e6)
                lasts_s = lead_s + wish.lasts_s / prepared.timeline.speed
            return await Conductor(clock, _show, came_to, collector).perform(
                Performance(shards, prepared.faults, prepared.timeline, lasts_s)
            )
        finally:
            if collector is not None:
                await collector.end()

    result = asyncio.run(perform())
    came_to(prepared.timeline.simulated(clock.now_us()))
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if parsed.json:
        common.print_json(result)
    else:
        for name, value in result.items():
            print(f"{name:20} {value}")
    return 0


def _introduce(prepared: "Prepared", url: str, state: "StateFolder") -> None:
    regions = len({site.region for site in prepared.fleet})
    print(
        f"{len(prepared.fleet)} simulated schools in {regions} regions report to {url}, "
        f"{prepared.timeline.speed:g} times as fast as life; the truth is in {state.truth_file}. Ctrl-C ends it.",
        file=sys.stderr,
    )


def _show(line: str) -> None:
    """Renew the status line, or print one where nobody watches a screen."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)

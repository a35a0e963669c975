"""What each command does. Results go to standard output, everything said about them to standard error."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from pydantic import ValidationError

from linkbell_agent import app
from linkbell_agent.cli import EXIT_FAILURE, EXIT_RESULT, EXIT_USAGE, load_settings
from linkbell_agent.configuration import read_kept_configuration
from linkbell_agent.describe import describe_uplink, explain, is_up, next_step
from linkbell_agent.enrolment import EnrolmentError
from linkbell_agent.files import StateError
from linkbell_agent.folder_lock import is_held
from linkbell_agent.identity import Identity, read_identity
from linkbell_agent.permit import Permit
from linkbell_agent.plan import Plan, floors_of, is_mlab
from linkbell_agent.probes.base import CheckRequest, PingRequest, SpeedRequest
from linkbell_agent.probes.gateway import no_gateway
from linkbell_agent.running import say, show
from linkbell_agent.sections import Settings
from linkbell_agent.settings import nearest, table
from linkbell_wire import floor, join_token, quantities
from linkbell_wire.configuration import (
    MAX_TEST_BYTES,
    MIN_TEST_BYTES,
    SpeedConfiguration,
    SpeedServer,
    TargetConfiguration,
)
from linkbell_wire.enrolment import EnrolRequest, EnrolStatus
from linkbell_wire.failures import Failure
from linkbell_wire.records import CheckRecord, PingRecord, Record, SpeedRecord
from linkbell_wire.words import Direction, Engine, Layer, PingMethod, Trigger

T = TypeVar("T")

GATEWAY = "gateway"


class UsageError(Exception):
    """The words of the command make no sense together."""


def enrol(arguments: argparse.Namespace) -> int:
    """``linkbell-agent enrol``."""
    settings = load_settings(arguments).settings
    given: str = arguments.token
    try:
        token, fingerprint = join_token.split(_typed_token() if given == "-" else given)
        request = EnrolRequest(token=token, school=arguments.school, name=arguments.name)
    except ValidationError as error:
        return _wrong(_first_problem(error, "--"))
    except ValueError as error:
        return _wrong(f"--token: {error}.")
    if _is_readable_by_others(arguments.url):
        say("warning: over http:// everybody on the way can read the credential; https:// is safe", 0)
    try:
        done = asyncio.run(
            app.enrol_with(settings, arguments.url, request, again=arguments.again, fingerprint=fingerprint)
        )
    except EnrolmentError as error:
        return say(str(error), EXIT_FAILURE)
    identity = done.identity
    if arguments.json:
        status = None if done.status is None else done.status.value
        shown = {"agent": identity.agent, "school": identity.school, "collector": identity.collector, "status": status}
        print(json.dumps(shown, ensure_ascii=False))
        return EXIT_RESULT
    if done.already:
        print(f"Already enrolled as {identity.agent} of school {identity.school}; the token was not used.")
        print("To enrol anew, for instance after this agent was revoked, add --again.")
        return EXIT_RESULT
    print(f"Enrolled as {identity.agent} of school {identity.school}.")
    if done.status is EnrolStatus.PENDING:
        print(
            "The collector does not know this school yet: results are kept there and shown once an operator approves."
        )
    running = is_held(settings.state)
    print("The running agent notices by itself." if running else "Next: linkbell-agent run")
    return EXIT_RESULT


def probe(arguments: argparse.Namespace) -> int:
    """``linkbell-agent probe``."""
    settings = load_settings(arguments).settings
    try:
        plan = _present_plan(settings, _uplink(arguments, settings))
    except UsageError as error:
        return _wrong(str(error))
    if arguments.name is None and arguments.host is None:
        return _list_targets(plan, as_json=arguments.json)
    if arguments.name == GATEWAY and arguments.host is None and not _has_gateway(plan):
        show(no_gateway(app.build_context(settings, arguments.uplink)), as_json=arguments.json)
        return EXIT_FAILURE
    try:
        target = _chosen_target(arguments, plan)
        count = plan.ping_count if arguments.count is None else arguments.count
        if not 1 <= count <= 100:
            raise UsageError(f"--count {count}: give a number from 1 to 100")
    except UsageError as error:
        return _wrong(str(error))
    permit = plan.permit if arguments.host is None else None
    request = PingRequest(target, count=count)
    if arguments.debug:
        record = _tell(settings, request, permit, arguments)
    else:
        record = asyncio.run(app.ping_once(settings, request, permit, arguments.uplink))
    show(record, as_json=arguments.json)
    return EXIT_RESULT if isinstance(record, PingRecord) and is_up(record) else EXIT_FAILURE


def _tell(settings: Settings, request: PingRequest, permit: Permit | None, arguments: argparse.Namespace) -> Record:
    """Ping, and print everything about it; with ``--json`` beside standard output, which is the record's alone."""
    record, story = asyncio.run(app.ping_told(settings, request, permit, arguments.uplink))
    as_json: bool = arguments.json
    out = sys.stderr if as_json else sys.stdout
    uplink = app.build_context(settings, arguments.uplink).uplink
    bound = " ".join(filter(None, (uplink.device, uplink.source))) or "as the box's routes decide"
    print(f"target {request.target.name}, layer {request.target.layer}, host {request.target.host}", file=out)
    print(f"{request.count} packets, one each {request.spacing_s} s, waited for {request.timeout_s} s", file=out)
    print(f"uplink {uplink.name}: {bound}", file=out)
    for line in story:
        print(line, file=out)
    if not as_json:
        print(f"the record as it would be sent:\n{record.model_dump_json(exclude_none=True)}", file=out)
    return record


def speed(arguments: argparse.Namespace) -> int:
    """``linkbell-agent speed``."""
    settings = load_settings(arguments).settings
    try:
        request = _speed_request(arguments, settings)
    except UsageError as error:
        return _wrong(str(error))
    if not arguments.json:
        say(f"testing against {request.servers[0].url}, {2 * request.max_duration_s:.0f} seconds at most", 0)
    record = asyncio.run(app.speed_once(settings, request, _permit(arguments, settings), arguments.uplink))
    show(record, as_json=arguments.json)
    if isinstance(record, SpeedRecord) and not arguments.json:
        print("".join(f"       {line}\n" for line in explain(record)), end="", flush=True)
        parts = (record, record.download, record.upload)
        _advise([part.failure for part in parts if part is not None and part.failure is not None])
    return EXIT_RESULT if isinstance(record, SpeedRecord) and _has_result(record) else EXIT_FAILURE


def check(arguments: argparse.Namespace) -> int:
    """``linkbell-agent check``."""
    settings = load_settings(arguments).settings
    try:
        request = _check_request(arguments, settings)
    except UsageError as error:
        return _wrong(str(error))
    record = asyncio.run(app.check_once(settings, request, _permit(arguments, settings), arguments.uplink))
    show(record, as_json=arguments.json)
    if not arguments.json and isinstance(record, CheckRecord) and record.failure is not None:
        _advise([record.failure])
    return EXIT_RESULT if isinstance(record, CheckRecord) and record.passed is not None else EXIT_FAILURE


def config(arguments: argparse.Namespace) -> int:
    """``linkbell-agent config check``."""
    loaded = load_settings(arguments)
    values = json.loads(loaded.settings.model_dump_json())
    rows = []
    for row in table():
        value: object = values
        for part in row.key.split("."):
            assert isinstance(value, dict)
            value = value[part]
        rows.append({"key": row.key, "value": value, "origin": loaded.origins.get(row.key, "default")})
    if arguments.json:
        print(json.dumps(rows, ensure_ascii=False))
        return EXIT_RESULT
    for shown in rows:
        text = json.dumps(shown["value"], ensure_ascii=False)
        print(f"{shown['key']} = {text}  ({shown['origin']})")
    for way in loaded.settings.ways if loaded.settings.uplinks else ():
        print(f"uplink {way.name}: {describe_uplink(way, _present_plan(loaded.settings, way.name))}")
    return EXIT_RESULT


def _typed_token() -> str:
    if sys.stdin.isatty():
        print("join token: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _is_readable_by_others(url: str) -> bool:
    return url.startswith("http://") and not url.startswith(("http://localhost", "http://127.", "http://[::1]"))


def _uplink(arguments: argparse.Namespace, settings: Settings) -> str | None:
    """Return the uplink that was asked for. Raises :class:`UsageError` if this box has none of that name."""
    name: str | None = arguments.uplink
    names = [way.name for way in settings.ways]
    if name is not None and name not in names:
        raise UsageError(
            f"--uplink {name}: there is none of that name.{nearest(name, names)} Here: {', '.join(names)}."
        )
    return name


def _present_plan(settings: Settings, uplink: str | None = None) -> Plan:
    return app.build_plan(settings, read_kept_configuration(settings.state), _identity_if_readable(settings), uplink)


def _identity_if_readable(settings: Settings) -> Identity | None:
    """One-off commands work without the rights of the service, or before anything is set up."""
    try:
        return read_identity(settings.state)
    except StateError:
        return None


def _permit(arguments: argparse.Namespace, settings: Settings) -> Permit | None:
    """A server named by hand may be anywhere; one that the collector named may not."""
    return None if arguments.server is not None else _present_plan(settings, arguments.uplink).permit


def _has_gateway(plan: Plan) -> bool:
    return any(target.name == GATEWAY for target in plan.targets)


def _list_targets(plan: Plan, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps([target.model_dump(mode="json", exclude_none=True) for target in plan.targets]))
        return EXIT_RESULT
    for target in plan.targets:
        print(f"{target.name:<16} {target.layer:<14} {target.host}")
    return EXIT_RESULT


def _chosen_target(arguments: argparse.Namespace, plan: Plan) -> TargetConfiguration:
    if arguments.host is not None:
        method = None if arguments.method is None else PingMethod(arguments.method)
        try:
            return TargetConfiguration(
                name=arguments.name or "host",
                layer=Layer.INTERNATIONAL,
                host=arguments.host,
                method=method,
                port=arguments.port,
            )
        except ValidationError as error:
            raise UsageError(_first_problem(error, "--")) from error
    known = {target.name: target for target in plan.targets}
    if arguments.name not in known:
        names = ", ".join(known) or "none are configured"
        raise UsageError(f"{arguments.name} is not a target.{nearest(arguments.name, known)} Targets here: {names}.")
    return known[arguments.name]


def _speed_request(arguments: argparse.Namespace, settings: Settings) -> SpeedRequest:
    plan = _present_plan(settings, _uplink(arguments, settings))
    servers = _chosen_servers(arguments, settings, plan)
    try:
        limits = SpeedConfiguration(
            max_duration_s=plan.speed_max_duration_s if arguments.max_duration is None else arguments.max_duration,
            max_bytes=plan.speed_max_bytes if arguments.max_bytes is None else _given_size(arguments.max_bytes),
        )
    except ValidationError as error:
        raise UsageError(_first_problem(error, "--").replace("_s:", ":").replace("_", "-")) from error
    return SpeedRequest(
        servers,
        Trigger.MANUAL,
        download=not arguments.upload_only,
        upload=not arguments.download_only,
        max_duration_s=limits.max_duration_s or plan.speed_max_duration_s,
        max_bytes=limits.max_bytes,
        full=arguments.full or plan.speed_full,
        engine=plan.speed_engine if arguments.engine is None else Engine(arguments.engine),
    )


def _given_size(text: str) -> int:
    size = _typed("--max-bytes", text, quantities.read_size)
    if not MIN_TEST_BYTES <= size <= MAX_TEST_BYTES:
        raise UsageError(f"--max-bytes {text}: give 100k (100 kB) to 100G; less than that measures nothing.")
    return size


def _chosen_servers(arguments: argparse.Namespace, settings: Settings, plan: Plan) -> tuple[SpeedServer, ...]:
    """Return the servers to ask. Raises :class:`UsageError` if there is none, or one is not to be used."""
    servers = plan.servers if arguments.server is None else (_server(arguments.server),)
    if any(is_mlab(server.url) for server in servers) and not settings.speed.mlab_consent:
        raise UsageError(
            "M-Lab's servers publish this line's address with each result, for ever. If that is meant, allow it with "
            "--set speed.mlab_consent=true."
        )
    if not servers:
        raise UsageError("which server? Give --server ws://host:8471, or enrol this box first.")
    return servers


def _check_request(arguments: argparse.Namespace, settings: Settings) -> CheckRequest:
    direction = Direction(arguments.direction)
    servers = _chosen_servers(arguments, settings, _present_plan(settings, _uplink(arguments, settings)))
    floor_bps = (
        _known_floor(settings, arguments.uplink, direction)
        if arguments.floor is None
        else _given_floor(arguments.floor)
    )
    return CheckRequest(servers, Trigger.MANUAL, floor_bps, direction)


def _typed(option: str, text: str, read: Callable[[str], T]) -> T:
    """Read what was given for ``option``. Raises :class:`UsageError`."""
    try:
        return read(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}.") from error


def _given_floor(text: str) -> float:
    floor_bps = _typed("--floor", text, quantities.read_rate)
    if not floor.can_be_checked(floor_bps):
        raise UsageError(
            f"--floor {text}: floors from 100k to 1G (100 kbit/s to 1 Gbit/s) can be checked. For a faster line, "
            "linkbell-agent speed measures it."
        )
    return floor_bps


def _known_floor(settings: Settings, uplink: str | None, direction: Direction) -> float:
    """Return the floor of an uplink, the school's where it has none of its own. Raises :class:`UsageError`."""
    configuration = read_kept_configuration(settings.state)
    if configuration is not None:
        name = uplink or settings.ways[0].name
        own = floors_of(configuration, name).get(direction)
        if own is not None:
            return own
    raise UsageError("which floor? Give --floor 8M: this box knows of none for its school.")


def _server(url: str) -> SpeedServer:
    try:
        return SpeedServer(url=url)
    except ValidationError as error:
        raise UsageError(f"--server {url}: write it like ws://host:8471, or wss://host for TLS.") from error


def _has_result(record: SpeedRecord) -> bool:
    asked = [result for result in (record.download, record.upload) if result is not None]
    return record.failure is None and all(result.bps is not None for result in asked)


def _advise(failures: Sequence[Failure]) -> None:
    """Print what to do next, once for each kind of failure."""
    for line in dict.fromkeys(next_step(failure) for failure in failures):
        if line:
            print(f"       {line}", flush=True)


def _first_problem(error: ValidationError, prefix: str) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{prefix}{place}: {problem['msg']}"


def _wrong(message: str) -> int:
    return say(message, EXIT_USAGE)

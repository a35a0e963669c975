"""The command line as a person uses it: real processes, their words, their exit status."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from linkbell_agent.spool_file import SpoolFile
from linkbell_wire.records import RECORD_ADAPTER, EventRecord, PingRecord
from linkbell_wire.words import EventName

AGENT = (sys.executable, "-m", "linkbell_agent")
LOOPBACK = """
default_targets = false
targets = [{ name = "here", layer = "gateway", host = "127.0.0.1" }]
[ping]
interval_s = 10
count = 2
"""


def agent(*arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*AGENT, *arguments], capture_output=True, text=True, timeout=60, input=given, check=False)


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(LOOPBACK)
    return path


@pytest.mark.parametrize(
    "command", [[], ["enrol"], ["run"], ["probe"], ["speed"], ["check"], ["config"], ["status"], ["doctor"]]
)
def test_every_command_explains_itself(command: list[str]) -> None:
    done = agent(*command, "--help")
    assert done.returncode == 0
    assert "usage: linkbell-agent" in done.stdout
    assert len(done.stdout.splitlines()) > 8


@pytest.mark.parametrize("command", ["probe", "speed", "check"])
def test_measuring_commands_say_how_to_read_their_answer_and_fit_a_terminal(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = agent(command, "--help").stdout.splitlines()
    assert "reading the answer" in lines
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required: COMMAND"),
        (["fly"], "invalid choice"),
        (["speed", "--server", "example"], "write it like ws://host:8471"),
        (["speed", "--server", "ws://127.0.0.1:99999"], "write it like ws://host:8471"),
        (["speed", "--server", "ws://127.0.0.1:1", "--max-duration", "99"], "--max-duration: "),
        (["speed", "--server", "ws://127.0.0.1:1", "--max-bytes", "1"], "--max-bytes 1: give 100k"),
        (["speed", "--server", "ws://127.0.0.1:1", "--max-bytes", "200G"], "--max-bytes 200G: give 100k"),
        (["speed", "--server", "ws://127.0.0.1:1", "--max-bytes", "a lot"], "write it like 500k, 1M"),
        (["speed", "--server", "ws://127.0.0.1:1", "--max-bytes", "1,500k"], "1.5k or 1500k"),
        (["check", "--server", "ws://127.0.0.1:1"], "which floor? Give --floor 8M"),
        (["check", "--floor", "8M", "--server", "example"], "write it like ws://host:8471"),
        (["check", "--floor", "0", "--server", "ws://127.0.0.1:1"], "give more than 0"),
        (["check", "--floor=-8M", "--server", "ws://127.0.0.1:1"], "write it like 8M"),
        (["check", "--floor", "fast", "--server", "ws://127.0.0.1:1"], "write it like 8M"),
        (["check", "--floor", "8,500M", "--server", "ws://127.0.0.1:1"], "8.5M or 8500M"),
        (["check", "--floor", "10G", "--server", "ws://127.0.0.1:1"], "100k to 1G"),
        (["check", "--floor", "10k", "--server", "ws://127.0.0.1:1"], "100k to 1G"),
        (["check", "--floor", "8M", "--direction", "sideways"], "invalid choice"),
        (["speed", "--server", "wss://ndt-mlab1.measurement-lab.org"], "speed.mlab_consent=true"),
        (["check", "--floor", "8M", "--server", "wss://locate.measurementlab.net"], "speed.mlab_consent=true"),
        (["speed", "--download-only", "--upload-only"], "not allowed with"),
        (["probe", "gatway", "--set", "ping.cuont=1"], "Did you mean ping.count?"),
        (["probe", "--host", "bad host"], "host"),
        (["status", "--set", "language=de"], "language"),
        (["run", "--set", "page.listen=8472"], "write it like 0.0.0.0:8472"),
        (["run", "--set", "page.listen=::1:8472"], "write it like 0.0.0.0:8472"),
        (["run", "--set", "page.listen=0.0.0.0:99999"], "write it like 0.0.0.0:8472"),
        (["probe", "--host", "127.0.0.1", "--count", "0"], "1 to 100"),
        (["probe", "--host", "127.0.0.1", "--port", "70000"], "port"),
        (["enrol", "http://127.0.0.1:1", "--token", "short"], "token"),
        (["enrol", "https://127.0.0.1:1", "--token", "lbj_0123456789abcdef.AAAA"], "copy the token again"),
        (["config", "check", "--config", "/no/such/file.toml"], "no such file"),
    ],
)
def test_wrong_use_is_status_2_with_a_sentence_and_no_traceback(arguments: list[str], words: str) -> None:
    done = agent(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_probe_prints_its_record_alone(configuration: Path, tmp_path: Path) -> None:
    done = agent("probe", "here", "--json", "--config", str(configuration), "--state", str(tmp_path / "none"))
    assert done.returncode == 0
    record = RECORD_ADAPTER.validate_json(done.stdout)
    assert isinstance(record, PingRecord)
    assert (record.target, record.sent, record.received) == ("here", 2, 2)


def test_a_failed_probe_is_status_1_and_still_a_record() -> None:
    done = agent("probe", "--host", "no-such-host.invalid", "--json")
    assert done.returncode == 1
    record = RECORD_ADAPTER.validate_json(done.stdout)
    assert isinstance(record, PingRecord)
    assert record.failure is not None
    assert record.failure.operation == "resolve"


def test_a_speed_test_without_a_server_is_a_record_with_codes() -> None:
    done = agent("speed", "--server", "ws://127.0.0.1:1", "--json")
    assert done.returncode == 1
    record = json.loads(done.stdout)
    assert record["kind"] == "speed"
    assert record["download"]["bps"] is None
    assert record["download"]["failure"]["code"] == "connection_refused"


def test_sizes_and_decimal_commas_are_understood() -> None:
    speed = agent("speed", "--server", "ws://127.0.0.1:1", "--max-bytes", "1,5M", "--json")
    assert (speed.returncode, json.loads(speed.stdout)["kind"]) == (1, "speed")
    check = agent("check", "--server", "ws://127.0.0.1:1", "--floor", "8,5M", "--json")
    assert json.loads(check.stdout)["floor_bps"] == 8.5e6


def test_a_check_without_a_server_is_a_record_with_a_code() -> None:
    done = agent("check", "--server", "ws://127.0.0.1:1", "--floor", "8 Mbit/s", "--json")
    assert done.returncode == 1
    record = json.loads(done.stdout)
    assert record["kind"] == "check"
    assert record["floor_bps"] == 8e6
    assert record["passed"] is None
    assert record["failure"]["code"] == "connection_refused"


@pytest.mark.parametrize("command", [["speed"], ["check", "--floor", "8M"]])
def test_a_failure_says_once_what_to_do_next(command: list[str]) -> None:
    done = agent(*command, "--server", "ws://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stdout.count("is the server running, and the port right") == 1


def test_a_check_that_failed_says_so_in_a_sentence() -> None:
    done = agent("check", "--server", "ws://127.0.0.1:1", "--floor", "8M")
    assert done.returncode == 1
    assert "could not be found out: connect: connection refused" in done.stdout


def test_config_check_says_what_is_in_force_and_whence(configuration: Path) -> None:
    done = agent("config", "check", "--json", "--config", str(configuration), "--set", "report.interval_s=7")
    rows = {row["key"]: row for row in json.loads(done.stdout)}
    assert rows["ping.count"]["value"] == 2
    assert rows["ping.count"]["origin"] == str(configuration)
    assert rows["report.interval_s"]["origin"] == "flag --set"
    assert rows["speed.per_day"]["origin"] == "default"


def test_enrolling_nowhere_says_that_the_token_is_still_good(tmp_path: Path) -> None:
    done = agent(
        "enrol", "http://127.0.0.1:1", "--token", "-", "--state", str(tmp_path), given="lbj_0123456789abcdef\n"
    )
    assert done.returncode == 1
    assert "not used up" in done.stderr
    assert "lbj_" not in done.stderr


def _start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([*AGENT, "run", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_sigterm_ends_within_five_seconds_with_everything_kept(configuration: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    process = _start("--config", str(configuration), "--state", str(state), "--json", "--set", "speed.enabled=false")
    assert process.stdout is not None
    shown = [process.stdout.readline() for _ in range(2)]
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    rest, errors = process.communicate(timeout=10)
    assert time.monotonic() - began < 5
    assert process.returncode == 0
    assert "Traceback" not in errors
    printed = [RECORD_ADAPTER.validate_json(line) for line in [*shown, *rest.splitlines()] if line.strip()]
    spool = SpoolFile(state / "spool.db")
    kept = [RECORD_ADAPTER.validate_json(record.body) for record in spool.oldest(100)]
    spool.close()
    assert kept == printed
    assert isinstance(kept[0], EventRecord)
    assert kept[0].event is EventName.START
    assert isinstance(kept[-1], EventRecord)
    assert kept[-1].event is EventName.STOP


def test_two_agents_on_one_folder_are_one_too_many(configuration: Path, tmp_path: Path) -> None:
    arguments = ("--config", str(configuration), "--state", str(tmp_path), "--show", "--set", "speed.enabled=false")
    first = _start(*arguments)
    assert first.stdout is not None
    first.stdout.readline()
    second = agent("run", *arguments)
    first.terminate()
    first.communicate(timeout=10)
    assert second.returncode == 1
    assert "another agent is running" in second.stderr


def test_a_damaged_spool_is_reported_as_an_event_and_the_agent_runs(configuration: Path, tmp_path: Path) -> None:
    (tmp_path / "spool.db").write_bytes(b"not a database" * 500)
    process = _start("--config", str(configuration), "--state", str(tmp_path), "--show", "--set", "speed.enabled=false")
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    _, errors = process.communicate(timeout=10)
    spool = SpoolFile(tmp_path / "spool.db")
    events = [RECORD_ADAPTER.validate_json(record.body) for record in spool.oldest(100)]
    spool.close()
    assert EventName.SPOOL_SET_ASIDE in [event.event for event in events if isinstance(event, EventRecord)]
    assert "set aside" in errors


@pytest.mark.parametrize("place", ["/proc/linkbell", "a-file/state"])
def test_a_state_folder_that_cannot_be_written_is_one_clear_sentence(
    configuration: Path, tmp_path: Path, place: str
) -> None:
    (tmp_path / "a-file").write_text("")
    done = agent("run", "--config", str(configuration), "--state", str(tmp_path / place))
    assert done.returncode == 1
    assert "--state DIR" in done.stderr
    assert "Traceback" not in done.stderr


def test_whoever_stops_reading_the_results_stops_nothing_else(configuration: Path, tmp_path: Path) -> None:
    process = _start("--config", str(configuration), "--state", str(tmp_path), "--show", "--set", "speed.enabled=false")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    time.sleep(3)
    process.terminate()
    assert process.stderr is not None
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=10) == 0
    assert "Traceback" not in errors
    assert "no longer shown" in errors
    spool = SpoolFile(tmp_path / "spool.db")
    kept = spool.oldest(100)
    spool.close()
    assert len(kept) >= 3


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_full_disk_keeps_no_agent_from_measuring(configuration: Path, tmp_path: Path) -> None:
    script = (
        'mount -t tmpfs -o size=64k none "$1" && { head -c 200000 /dev/zero > "$1/filler" 2>/dev/null; '
        'exec timeout --signal=TERM 5 "$2" -m linkbell_agent run --state "$1" --config "$3" --show '
        "--set speed.enabled=false; }"
    )
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(disk), sys.executable, str(configuration)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "ping" in done.stdout
    assert "results stay in memory" in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_tells_the_whole_story_of_a_ping_and_leaves_the_record_alone_with_json(configuration: Path) -> None:
    told = agent("probe", "here", "--once", "--debug", "--config", str(configuration))
    assert told.returncode == 0
    for words in ("target here, layer gateway", "127.0.0.1 is 127.0.0.1", "ICMP socket: opened", "packet 0: sent"):
        assert words in told.stdout
    assert told.stdout.count("answered after") == 2
    record = next(line for line in told.stdout.splitlines() if line.startswith("{"))
    assert RECORD_ADAPTER.validate_json(record).kind == "ping"

    apart = agent("probe", "here", "--debug", "--json", "--config", str(configuration))
    assert RECORD_ADAPTER.validate_json(apart.stdout).kind == "ping"
    assert "packet 1: answered after" in apart.stderr


def test_debug_tells_of_packets_that_brought_nothing_and_of_names_that_are_none() -> None:
    silent = agent("probe", "--host", "127.0.0.1", "--method", "tcp", "--port", "9", "--count", "1", "--debug")
    assert "stream TCP socket: opened" in silent.stdout
    nobody = agent("probe", "--host", "no-such-name.invalid", "--debug")
    assert nobody.returncode == 1
    assert "no-such-name.invalid does not resolve: dns_" in nobody.stdout
    lost = agent("probe", "--host", "240.0.0.1", "--count", "1", "--debug")
    assert lost.returncode == 1
    assert "packet 0: " in lost.stdout.replace("packet 0: sent", "")

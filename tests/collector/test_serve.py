"""``serve`` as a process: starting, refusing to start, stopping."""

import json
import signal
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector.process import ServeProcess, run_command, run_json


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[ServeProcess]:
    """Run ``serve`` on a fresh folder, killed at the end if it still runs."""
    process = ServeProcess(tmp_path / "data")
    yield process
    process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_in_one_line_and_stops_cleanly_when_asked(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = ServeProcess(tmp_path)
    with urllib.request.urlopen(f"{process.url}/readyz", timeout=5) as answer:
        assert json.load(answer) == {"status": "ready"}
    status, out, err = process.stop(number)
    assert (status, out) == (0, "")
    assert "Traceback" not in err


def test_it_listens_on_ipv6(tmp_path: Path) -> None:
    process = ServeProcess(tmp_path, "[::1]:0")
    assert process.url.startswith("http://[::1]:")
    with urllib.request.urlopen(f"{process.url}/healthz", timeout=5) as answer:
        assert answer.status == 200
    process.stop()


def refused(*arguments: str | Path) -> str:
    """Run a command that must fail with status 1 and without a traceback; return what it said."""
    done = run_command(*arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "what to do:" in done.stderr
    return done.stderr


def test_a_port_in_use_is_said_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = refused("serve", "--data", tmp_path, "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert "already in use" in said
    assert "--listen" in said


def test_an_address_that_is_not_ours_is_said_with_what_to_do(tmp_path: Path) -> None:
    assert "cannot listen on 192.0.2.1:80" in refused("serve", "--data", tmp_path, "--listen", "192.0.2.1:80")


def test_a_data_folder_that_cannot_be_written_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file" / "data", Path("/proc/linkbell")):
        said = refused("serve", "--data", folder, "--listen", "127.0.0.1:0")
        assert f"the data folder {folder} cannot be written" in said
        assert "--data" in said
        assert str(folder) in refused("tokens", "create", "--school", "s-1", "--data", folder)


def test_a_damaged_database_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "collector.sqlite3").write_bytes(b"not a database at all, but long enough to look like one" * 99)
    assert "is damaged" in refused("serve", "--data", tmp_path, "--listen", "127.0.0.1:0")


def test_a_second_collector_on_the_same_folder_is_refused(serve: ServeProcess, tmp_path: Path) -> None:
    said = refused("serve", "--data", tmp_path / "data", "--listen", "127.0.0.1:0")
    assert "already serves the data folder" in said
    with urllib.request.urlopen(f"{serve.url}/healthz", timeout=5) as answer:
        assert answer.status == 200


def test_operators_commands_work_beside_it(serve: ServeProcess, tmp_path: Path) -> None:
    made = run_json("tokens", "create", "--school", "s-1", "--data", tmp_path / "data")
    body = json.dumps({"token": made["token"]}).encode()
    request = urllib.request.Request(
        f"{serve.url}/api/v1/enrol", body, {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert json.load(answer)["status"] == "active"


def test_after_a_kill_it_starts_again_by_itself(tmp_path: Path) -> None:
    ServeProcess(tmp_path).kill()
    assert ServeProcess(tmp_path).stop()[0] == 0

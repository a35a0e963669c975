"""``serve`` as a process: starting, refusing to start, stopping."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
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


def test_a_host_name_that_can_be_none_is_said(tmp_path: Path) -> None:
    done = run_command("serve", "--data", tmp_path, "--listen", "a..b:0")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "'a..b' cannot be one" in done.stderr


def source_of(name: str) -> Path:
    """Return the folder of a package, or the file of a module."""
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin is not None
    file = Path(found.origin)
    return file.parent if file.name == "__init__.py" else file


@pytest.mark.parametrize("arguments", [["--help"], ["serve"], ["tokens", "list"]], ids=" ".join)
def test_without_the_collectors_dependencies_it_says_how_to_install_them(tmp_path: Path, arguments: list[str]) -> None:
    for name in ("pydantic", "pydantic_core", "annotated_types", "typing_inspection", "typing_extensions"):
        source = source_of(name)
        (tmp_path / source.name).symlink_to(source)
    ours = [str(source_of(name).parent) for name in ("linkbell_wire", "linkbell_collector")]
    done = subprocess.run(
        [sys.executable, "-S", "-m", "linkbell_collector.cli", *arguments],
        env={"PYTHONPATH": os.pathsep.join([str(tmp_path), *ours])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert "pip install 'linkbell[collector]'" in done.stderr


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

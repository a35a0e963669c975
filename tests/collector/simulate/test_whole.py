"""A real simulation against a real collector: processes, HTTP, a database, and the sums at the end."""

import json
import os
import signal
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.collector.process import COMMAND, ServeProcess, run_command, run_json

SCENARIO = """
background = false
[fleet]
schools = 50
regions = 2
districts = 5
providers = 2
district_sizes = [12]
[[moment]]
at = "12m"
lasts = "4m"
what = "line_down"
where = { district = 1, backup = false }
label = "dark"
[[moment]]
at = "14m"
lasts = "3m"
what = "power_cut"
where = { village_of = 1 }
label = "village"
[[moment]]
at = "15m"
what = "collector_restart"
"""


def simulate(*arguments: str | Path) -> dict[str, Any]:
    """Run a simulation to its end and return its summary."""
    done = run_command("simulate", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def stored(folder: Path) -> tuple[int, int]:
    """Return how many records the database holds, and how many different ones."""
    database = sqlite3.connect(folder / "collector.sqlite3")
    (count,) = database.execute("SELECT count(*) FROM records").fetchone()
    (distinct,) = database.execute(
        "SELECT count(*) FROM (SELECT DISTINCT agent, streams.stream, seq FROM records JOIN streams "
        "ON streams.id = records.stream)"
    ).fetchone()
    database.close()
    return count, distinct


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def value(metrics: str, name: str) -> list[float]:
    return [float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if line.startswith(f"{name}{{")]


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    process = ServeProcess(folder)
    try:
        yield process.url
    finally:
        process.stop()


def test_fifty_schools_with_troubles_and_a_killed_collector_lose_nothing_and_store_everything_once(
    tmp_path: Path,
) -> None:
    folder, scenario = tmp_path / "data", tmp_path / "troubles.toml"
    scenario.write_text(SCENARIO, encoding="utf-8")
    summary = simulate(
        "--data", folder, "--serve", "127.0.0.1:0", "--scenario", scenario, "--speed", "40", "--lasts", "20m"
    )
    assert summary["schools"] == 50
    assert summary["unaccounted"] == 0
    assert summary["rejected"] == summary["dropped"] == 0
    assert summary["power_lost"] > 0
    assert summary["made"] > 50 * 12 * 5
    assert set(summary["outcomes"]) > {"settled"}  # the collector was away for a moment
    count, distinct = stored(folder)
    assert count == distinct == summary["made"] - summary["power_lost"] - summary["waiting"]
    truth = [json.loads(line) for line in (folder / "simulation" / "truth.jsonl").read_text().splitlines()]
    assert [item["what"] for item in truth] == ["line_down", "power_cut", "collector_restart"]
    assert len(truth[0]["schools"]) >= 9

    with serving(folder) as url:
        metrics, overview = page(f"{url}/metrics/schools"), page(url)
    info = [line for line in metrics.splitlines() if line.startswith("linkbell_school_info{")]
    assert len(info) == 50
    assert all('simulated="true"' in line for line in info)
    assert value(metrics, "linkbell_agent_records_lost") == [0.0] * 50
    assert overview.count('class="simulated"') == 50
    assert "<strong>All of these 50 schools are simulated.</strong>" in overview

    again = simulate(
        "--data", folder, "--serve", "127.0.0.1:0", "--scenario", "quiet", "--speed", "60", "--lasts", "3m"
    )
    assert again["schools"] == 50
    assert again["unaccounted"] == 0
    assert len(run_json("agents", "list", "--data", folder)) == 50
    assert run_command("simulate", "--data", folder, "--schools", "9").returncode == 2

    removed = run_command("simulate", "--data", folder, "--remove")
    assert removed.stdout.startswith("removed 50 simulated schools, 50 agents and ")
    assert stored(folder) == (0, 0)
    assert not (folder / "simulation").exists()


def test_a_week_of_history_arrives_with_its_own_times(tmp_path: Path) -> None:
    before_us = time.time_ns() // 1000
    summary = simulate(
        *("--data", tmp_path, "--serve", "127.0.0.1:0", "--schools", "8", "--regions", "1", "--districts", "2"),
        *("--days", "2", "--lasts", "8s", "--scenario", "quiet", "--processes", "2"),
    )
    assert summary["unaccounted"] == 0
    database = sqlite3.connect(tmp_path / "collector.sqlite3")
    oldest, newest, unsynced = database.execute("SELECT min(at_us), max(at_us), sum(clock = 2) FROM records").fetchone()
    days = database.execute("SELECT count(DISTINCT at_us / 86400000000) FROM records").fetchone()[0]
    database.close()
    assert abs(oldest - (before_us - 2 * 86_400_000_000)) < 120_000_000
    assert newest >= before_us
    assert unsynced == 0
    assert days >= 3
    assert summary["made"] > 8 * 2 * 96 * 5


def test_it_keeps_away_from_real_schools(tmp_path: Path) -> None:
    run_command("schools", "add", "s-1", "--data", tmp_path)
    fleet = ("--schools", "5", "--districts", "1", "--regions", "1")
    refused = run_command("simulate", "--data", tmp_path, *fleet, "--prepare")
    assert refused.returncode == 1
    assert "1 real schools, such as s-1" in refused.stderr
    assert "--beside-real-schools" in refused.stderr
    assert [row["id"] for row in run_json("schools", "list", "--data", tmp_path)] == ["s-1"]
    with serving(tmp_path) as url:
        far = run_command("simulate", "--url", url, "--token", "lbj_" + "x" * 40, "--state", tmp_path / "far")
        assert far.returncode == 1
        assert "has 1 real schools" in far.stderr


def test_through_a_collector_elsewhere_they_wait_for_approval_and_are_marked_there_too(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    made = run_json("tokens", "create", "--region", "Almaty", "--uses", "5", "--data", folder)
    with serving(folder) as url:
        fleet = ("--schools", "4", "--regions", "1", "--districts", "1", "--scenario", "quiet", "--speed", "60")
        summary = simulate("--url", url, "--token", made["token"], "--state", tmp_path / "far", *fleet, "--lasts", "5m")
        assert "linkbell_school_info{" not in page(f"{url}/metrics/schools")
    assert summary["unaccounted"] == summary["waiting"] == 0
    assert summary["stored"] == stored(folder)[0] > 4 * 3 * 5
    schools = run_json("schools", "list", "--data", folder)
    assert [(row["simulated"], row["approved"]) for row in schools] == [(True, False)] * 4
    assert {row["state"] for row in run_json("agents", "list", "--data", folder)} == {"pending"}


def test_a_fast_clock_is_of_the_folder_and_of_no_folder_with_real_schools(tmp_path: Path) -> None:
    folder = tmp_path / "fast"
    fleet = ("--schools", "6", "--regions", "1", "--districts", "2")
    made = run_command("simulate", "--data", folder, "--clock", "fast", "--speed", "120", *fleet, "--prepare")
    assert made.returncode == 0, made.stderr
    with serving(folder) as url:
        summary = simulate("--data", folder, "--url", url, "--scenario", "quiet", "--lasts", "12m")
        metrics = page(f"{url}/metrics/schools")
    assert summary["unaccounted"] == 0
    assert summary["made"] >= 6 * 9 * 5
    assert value(metrics, "linkbell_school_up") == [1.0] * 6
    reports = value(metrics, "linkbell_last_report_timestamp_seconds")
    assert min(reports) > time.time() + 300  # its present is our future
    offsets = value(metrics, "linkbell_agent_clock_offset_seconds")
    assert max(map(abs, offsets)) < 30
    run_command("schools", "add", "s-1", "--data", folder)
    refused = run_command("serve", "--data", folder, "--listen", "127.0.0.1:0")
    assert refused.returncode == 1
    assert "clock is that of a simulation" in refused.stderr


def test_ctrl_c_ends_it_in_good_order(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            *(*COMMAND, "simulate", "--data", str(tmp_path), "--serve", "127.0.0.1:0", "--schools", "5", "--json"),
            *("--districts", "2", "--regions", "1", "--speed", "60", "--scenario", "quiet"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "records/s accepted" in line:
            break
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert summary["waiting"] == summary["unaccounted"] == 0
    assert stored(tmp_path)[0] == summary["made"]
    assert "Traceback" not in err


def test_a_run_that_is_killed_is_followed_by_one_that_goes_on_and_one_that_never_began_leaves_no_truth(
    tmp_path: Path,
) -> None:
    fleet = ("--schools", "5", "--districts", "2", "--regions", "1")
    scenario = tmp_path / "s.toml"
    scenario.write_text('background = false\n[[moment]]\nwhat = "lossy"\nloss_ratio = 0.2\n', encoding="utf-8")
    arguments = ("simulate", "--data", tmp_path, *fleet, "--scenario", scenario)
    nobody = run_command(*arguments, "--url", "ftp://nowhere")
    assert nobody.returncode == 2
    assert "--url" in nobody.stderr
    nobody = run_command(*arguments, "--url", "http://127.0.0.1:1")
    assert nobody.returncode == 1
    assert "no collector answers at http://127.0.0.1:1 (connection_refused)" in nobody.stderr
    shown = tmp_path / "shown"
    with shown.open("w") as file:
        command = [*COMMAND, *map(str, arguments), "--serve", "127.0.0.1:0", "--speed", "60"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file)
        for _ in range(300):
            if "records/s accepted" in shown.read_text(encoding="utf-8"):
                break
            time.sleep(0.1)
        process.kill()
        process.wait(timeout=30)
    time.sleep(3)  # its processes notice; its collector goes on, for nobody has ended it
    _stop_the_collector(tmp_path)
    again = simulate(*arguments[1:], "--serve", "127.0.0.1:0", "--speed", "60", "--lasts", "2m")
    assert again["unaccounted"] == 0
    assert "Traceback" not in shown.read_text(encoding="utf-8")
    truth = [json.loads(line) for line in (tmp_path / "simulation" / "truth.jsonl").read_text().splitlines()]
    assert [item["what"] for item in truth] == ["lossy", "lossy"]
    assert truth[0]["end_us"] is not None
    assert truth[0]["end_us"] <= truth[1]["start_us"]
    assert len(run_json("agents", "list", "--data", tmp_path)) == 5


def _stop_the_collector(folder: Path) -> None:
    """End the collector that a killed simulation left behind."""
    number = int((folder / "serve.lock").read_text())
    os.kill(number, signal.SIGTERM)
    for _ in range(100):
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)

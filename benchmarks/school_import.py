"""How long do a hundred thousand schools take? ``python -m benchmarks.school_import [--short]``.

The command itself in a process of its own, on a file as a ministry's spreadsheet writes it (Windows-1251, semicolons,
decimal commas, no time zones): preview, import, and the same import again. Mark: 30 s for each. Beside it, in the same
run, what nobody can do without: reading the same file with the csv module and writing the rows with sqlite3.
"""

import argparse
import csv
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MARK_S = 30.0
ROWS, SHORT_ROWS = 100_000, 5_000
TITLES = (
    *("school_id_govt", "school_id_giga", "school_name", "admin1", "admin2", "latitude", "longitude"),
    *("isp", "download_speed_contracted", "connectivity_type", "num_students", "hours"),
)
REGIONS = ("Алматы", "Астана", "Абай", "Костанай", "Актау")


def write_file(file: Path, rows: int, seed: int) -> None:
    """Write a list of schools all over Kazakhstan."""
    chance = random.Random(seed)
    with file.open("w", encoding="windows-1251", newline="") as out:
        table = csv.writer(out, delimiter=";")
        table.writerow(TITLES)
        for number in range(rows):
            place = (f"{chance.uniform(42, 52):.5f}", f"{chance.uniform(52, 82):.5f}")
            table.writerow(
                (
                    f"KZ-{number:06d}",
                    f"{chance.getrandbits(128):032x}",
                    f"Школа-гимназия №{number}",
                    REGIONS[number % len(REGIONS)],
                    f"Район {number % 200}",
                    *(degrees.replace(".", ",") for degrees in place),
                    "Казахтелеком",
                    chance.choice((10, 20, 100)),
                    "fiber",
                    chance.randrange(50, 2000),
                    f"08:00-1{number % 9}:00",
                )
            )


def bare_s(file: Path, folder: Path) -> float:
    """Return how long reading and writing take without understanding anything."""
    began_s = time.perf_counter()
    with file.open(encoding="windows-1251", newline="") as content:
        rows = list(csv.reader(content, delimiter=";"))
    connection = sqlite3.connect(folder / "bare.sqlite3")
    connection.execute(
        f"CREATE TABLE schools ({', '.join(TITLES)}, PRIMARY KEY (school_id_govt)) STRICT".replace(",", " TEXT,")
    )
    connection.executemany(f"INSERT INTO schools VALUES ({', '.join('?' * len(TITLES))})", rows[1:])
    connection.commit()
    connection.close()
    return time.perf_counter() - began_s


def command_s(file: Path, data: Path, *flags: str) -> tuple[float, float, str]:
    """Return how long the command takes, by the clock and of the processor, and the last line it prints."""
    command = [sys.executable, "-m", "linkbell_collector.cli", "schools", "import", str(file), "--data", str(data)]
    began_s, used_s = time.perf_counter(), _children_s()
    done = subprocess.run([*command, *flags], capture_output=True, text=True, check=True)
    return time.perf_counter() - began_s, _children_s() - used_s, done.stdout.splitlines()[-1]


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Run it and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help=f"{SHORT_ROWS} rows: only to see that it works")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parsed = parser.parse_args()
    rows = parsed.rows or (SHORT_ROWS if parsed.short else ROWS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "schools.csv"
        write_file(file, rows, parsed.seed)
        print(
            f"{rows} schools, {file.stat().st_size / 1e6:.1f} MB, seed {parsed.seed}; mark {MARK_S:g} s each",
            flush=True,
        )
        print(f"read and written without a look   {bare_s(file, folder):6.1f} s")
        for what, flags in (("preview", ()), ("import", ("--apply",)), ("the same again", ("--apply",))):
            took_s, used_s, said = command_s(file, folder / "data", *flags)
            ratio = f"mark / measured {MARK_S / took_s:5.1f}"
            print(f"{what:32}  {took_s:6.1f} s   {ratio}   processor {used_s:5.1f} s   {said}", flush=True)


if __name__ == "__main__":
    main()

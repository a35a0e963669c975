"""The folder in which a simulation is kept, so that the next run goes on with the same schools."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from linkbell_collector.errors import RefusedError
from linkbell_collector.simulate.fleet import FleetSpec, Site
from linkbell_collector.simulate.run_file import spec_from

FLEET_FILE = "fleet.json"
TRUTH_FILE = "truth.jsonl"


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of the fleet: what it is made from, its collector, and the simulated time it had come to."""

    spec: FleetSpec
    url: str
    simulated_us: int | None = None


class StateFolder:
    """One fleet's folder. Credentials are in it: only its owner may read it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def truth_file(self) -> Path:
        """Where the truth is written."""
        return self.folder / TRUTH_FILE

    def read(self) -> Kept | None:
        """Return the fleet that is kept here, if there is one. Raises :class:`RefusedError` if it is damaged."""
        try:
            document = json.loads((self.folder / FLEET_FILE).read_bytes())
            return Kept(spec_from(document["spec"]), document["url"], document["simulated_us"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RefusedError(
                f"the simulation kept in {self.folder} cannot be read",
                "remove it with simulate --remove, and start anew",
            ) from error

    def write(self, kept: Kept) -> None:
        """Keep the fleet."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self.folder / (FLEET_FILE + ".part")
        part.write_text(json.dumps(asdict(kept)) + "\n", encoding="utf-8")
        part.replace(self.folder / FLEET_FILE)

    def agents(self) -> dict[str, dict[str, Any]]:
        """Return what is kept of each agent, by its school."""
        found = {}
        for file in sorted(self.folder.glob("agents-*.jsonl")):
            for line in file.read_text(encoding="utf-8").splitlines():
                item = json.loads(line)
                found[item["school"]] = item
        return found

    def share_out(self, fleet: Sequence[Site], processes: int) -> list[tuple[Path, list[int]]]:
        """Give each process a file with its agents, new ones with their number of installation only."""
        known = self.agents()
        shares = []
        for old in self.folder.glob("agents-*.jsonl"):
            old.rename(old.with_suffix(".before"))
        for number in range(processes):
            mine = [site for site in fleet if site.index % processes == number]
            file = self.folder / f"agents-{number}.jsonl"
            file.touch(mode=0o600)
            items = [known.get(site.id) or {"school": site.id, "installation": str(uuid4())} for site in mine]
            file.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
            shares.append((file, [site.index for site in mine]))
        for old in self.folder.glob("agents-*.before"):
            old.unlink()
        return shares

    def add_truth(self, lines: Iterable[str]) -> None:
        """Write down what is done."""
        with self.truth_file.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)

    def truth(self) -> str:
        """Return all that was written down."""
        return self.truth_file.read_text(encoding="utf-8") if self.truth_file.exists() else ""

    def end_truth(self, end_us: int) -> None:
        """Set the end of what had none: the run before has ended."""
        lines = []
        for line in self.truth().splitlines():
            item: Mapping[str, Any] = json.loads(line)
            if item.get("end_us", 0) is None:
                item = {**item, "end_us": max(end_us, item["start_us"])}
            lines.append(json.dumps(item, ensure_ascii=False))
        self.truth_file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def forget_truth(self) -> None:
        """Forget what was to be done and never was."""
        self.truth_file.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove what is kept here, and nothing else."""
        for pattern in (FLEET_FILE + "*", TRUTH_FILE, "agents-*"):
            for file in self.folder.glob(pattern):
                file.unlink()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

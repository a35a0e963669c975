"""The clock of a data folder that belongs to a simulation in fast motion.

``linkbell-collector simulate --clock fast`` leaves a file in a folder without real schools; ``serve`` on that folder
then lives in simulated time, and so does everything it dates. No other folder can get such a clock.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from linkbell_collector.clock import Clock
from linkbell_collector.domain import Directory
from linkbell_collector.errors import RefusedError

FILE_NAME = "simulated-clock.json"


@dataclass(frozen=True, slots=True)
class Epoch:
    """At ``real_us`` of this machine it is ``simulated_us`` in the folder, and ``speed`` times as much time passes."""

    real_us: int
    simulated_us: int
    speed: float


class FolderClock:
    """A clock in fast motion. Durations (:meth:`monotonic_s`) stay this machine's: they are of the collector's work."""

    def __init__(self, base: Clock, epoch: Epoch) -> None:
        self._base = base
        self._epoch = epoch

    def now_us(self) -> int:
        """Return simulated time, in microseconds since 1970."""
        epoch = self._epoch
        return epoch.simulated_us + round((self._base.now_us() - epoch.real_us) * epoch.speed)

    def monotonic_s(self) -> float:
        """Return seconds of this machine's clock that never steps."""
        return self._base.monotonic_s()


def read(folder: Path) -> Epoch | None:
    """Return the clock of a folder, ``None`` for every ordinary one. Raises :class:`RefusedError` if it is damaged."""
    try:
        document = json.loads((folder / FILE_NAME).read_bytes())
        return Epoch(int(document["real_us"]), int(document["simulated_us"]), float(document["speed"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RefusedError(
            f"the clock of the simulation in {folder / FILE_NAME} cannot be read",
            "remove the folder: it holds nothing but a simulation",
        ) from error


def write(folder: Path, epoch: Epoch) -> None:
    """Give a folder its clock."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = json.dumps({"real_us": epoch.real_us, "simulated_us": epoch.simulated_us, "speed": epoch.speed})
    (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def clock_of(folder: Path, base: Clock) -> Clock:
    """Return the clock that holds in a folder."""
    epoch = read(folder)
    return base if epoch is None else FolderClock(base, epoch)


def refuse_real_schools(clock: Clock, directory: Directory) -> None:
    """Raise :class:`RefusedError` if a real school would be measured by a simulated clock."""
    if isinstance(clock, FolderClock) and any(not school.simulated for school in directory.schools.values()):
        raise RefusedError(
            "this folder's clock is that of a simulation, and there are real schools in it",
            f"serve real schools from another folder; {FILE_NAME} belongs to the simulation",
        )

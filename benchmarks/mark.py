"""A number, the limit it is held to, and how they are shown."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Mark:
    """``value`` is None where it could not be measured. Less is better."""

    what: str
    value: float | None
    limit: float
    unit: str

    def line(self, width: int) -> str:
        """Return it in words."""
        name, limit = f"{self.what:<{width}}", f"mark {self.limit:g} {self.unit}"
        if self.value is None:
            return f"{name}  not measured     {limit}"
        ratio = self.value / self.limit
        verdict = "met" if ratio <= 1 else "MISSED"
        return f"{name}  {self.value:8.3f} {self.unit:<3}  {limit:<12}  ratio {ratio:5.2f}  {verdict}"


def table(marks: Sequence[Mark]) -> str:
    """Return all of them, one a line."""
    width = max((len(mark.what) for mark in marks), default=0)
    return "\n".join(mark.line(width) for mark in marks)

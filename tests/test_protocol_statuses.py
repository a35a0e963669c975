"""The collector answers each refusal with the HTTP status that PROTOCOL.md promises."""

import re
from pathlib import Path

from linkbell_collector.http.errors import STATUS

PROTOCOL = Path(__file__).parents[1] / "wire" / "PROTOCOL.md"


def test_every_refusal_has_the_status_the_protocol_promises() -> None:
    section = PROTOCOL.read_text(encoding="utf-8").split("\n## Refusals\n")[1].split("\n## ")[0]
    promised = {code: int(status) for code, status in re.findall(r"(?m)^\| `(\w+)` \| (\d{3}) \|", section)}
    assert promised == {code.value: status for code, status in STATUS.items()}

"""An agent killed at random moments, a real collector behind a bad line: nothing kept is lost, nothing comes twice.

The short form of ``make bench-survival``, which kills two hundred times; ``LINKBELL_KILLS`` sets another number.
"""

import os
from pathlib import Path

import pytest
from benchmarks.survival import survive

KILLS = int(os.environ.get("LINKBELL_KILLS", "10"))


@pytest.mark.timeout(60 + 12 * KILLS)
async def test_what_was_kept_comes_once_and_what_was_lost_is_counted(tmp_path: Path) -> None:
    findings = await survive(tmp_path, KILLS, seed=20260302)
    assert findings.faults() == []
    # What this is about did happen: lives that were told of, and records on their way.
    assert findings.kills >= KILLS / 2
    assert findings.kept >= 20 * KILLS / 2

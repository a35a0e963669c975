"""The agent as it is put together: what must reach what."""

import os
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from linkbell_agent import app
from linkbell_agent.identity import Identity, write_identity
from linkbell_agent.settings import load


async def test_the_collectors_time_reaches_the_budget(tmp_path: Path) -> None:
    identity = Identity(
        collector="http://192.0.2.7", agent="agent-1", school="s-1", credential=SecretStr("lbc_0123456789abcdef")
    )
    write_identity(tmp_path, identity)
    told = [f"state={tmp_path}", "budget.bytes_per_month=1000000000", "page.enabled=false"]
    agent = app.build(load(Path(os.devnull), told, {}).settings)
    try:
        door = agent.runner._uplinks[0]._tests.door()
        assert door is not None
        assert agent.link.present is not None
        hear = agent.link.present.sender._heard
        assert hear is not None
        hear(datetime(2031, 5, 6, tzinfo=UTC))
        assert (await door.usage("main")).month.startswith("2031-05")
    finally:
        agent.link.close()
        os.close(agent.lock)

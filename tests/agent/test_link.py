"""The tie to the collector follows the identity on disk, and lets go of what it replaces."""

import asyncio
import random
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from linkbell_agent.configuration import ConfigurationKeeper
from linkbell_agent.identity import IDENTITY_FILE, Identity, write_identity
from linkbell_agent.link import CollectorLink, Connected, report
from linkbell_agent.retry import Backoff
from linkbell_agent.sender import Sender
from linkbell_agent.spool import Limits, Spool
from linkbell_agent.spool_file import SpoolFile
from tests.agent.fakes import BOOT, ToldClock, ToldCollector, event_record, ping_record, reply


class Connection:
    """Knows whether it was closed."""

    is_closed = False

    def close(self) -> None:
        self.is_closed = True


def enrol(folder: Path, credential: str) -> None:
    secret = SecretStr(f"lbc_{credential}_0123456789")
    write_identity(folder, Identity(collector="http://192.0.2.7", agent="a-1", school="s-1", credential=secret))


@pytest.fixture
async def link(tmp_path: Path) -> CollectorLink:
    spool = Spool(lambda: SpoolFile(tmp_path / "spool.db"), UUID(BOOT), ToldClock(), Limits())

    def connect(identity: Identity) -> Connected:
        collector = ToldCollector()
        secret = identity.credential.get_secret_value()
        sender = Sender(spool, collector, secret, ToldClock(), Backoff(random.Random(1)), batch_records=60)
        return Connected(identity, sender, ConfigurationKeeper(collector, secret, tmp_path), [Connection()])

    return CollectorLink(tmp_path, connect)


async def test_there_is_nothing_before_enrolment_and_something_after(link: CollectorLink, tmp_path: Path) -> None:
    assert link.refresh() is None
    enrol(tmp_path, "first")
    assert link.refresh() is not None


async def test_a_new_credential_is_taken_up_and_the_old_connections_closed(link: CollectorLink, tmp_path: Path) -> None:
    enrol(tmp_path, "first")
    first = link.refresh()
    enrol(tmp_path, "second")
    second = link.refresh()
    assert first is not None
    assert second is not None
    assert second.identity.credential.get_secret_value().startswith("lbc_second")
    assert [getattr(connection, "is_closed", None) for connection in (*first.connections, *second.connections)] == [
        True,
        False,
    ]


async def test_an_unchanged_identity_keeps_what_there_is(link: CollectorLink, tmp_path: Path) -> None:
    enrol(tmp_path, "first")
    first = link.refresh()
    assert link.refresh() is first
    enrol(tmp_path, "first")
    assert link.refresh() is first


@pytest.mark.parametrize("damage", ["{broken", None])
async def test_a_damaged_or_vanished_identity_leaves_what_works(
    link: CollectorLink, tmp_path: Path, damage: str | None
) -> None:
    enrol(tmp_path, "first")
    first = link.refresh()
    if damage is None:
        (tmp_path / IDENTITY_FILE).unlink()
    else:
        (tmp_path / IDENTITY_FILE).write_text(damage)
    assert link.refresh() is first


class Late(random.Random):
    """Draws the longest wait there is."""

    def uniform(self, a: float, b: float) -> float:
        return b


async def test_the_first_report_waits_a_random_while_and_a_wait_asked_for_holds_for_every_stream(
    tmp_path: Path,
) -> None:
    before = Spool(lambda: SpoolFile(tmp_path / "spool.db"), uuid4(), ToldClock(), Limits())
    before.append(ping_record())
    await before.close()
    spool = Spool(lambda: SpoolFile(tmp_path / "spool.db"), uuid4(), ToldClock(), Limits())
    await spool.open()
    spool.append(ping_record())
    collector = ToldCollector(reply(503, retry_after="3600"))

    def connect(identity: Identity) -> Connected:
        sender = Sender(spool, collector, "lbc_x", ToldClock(), Backoff(random.Random(1)), batch_records=60)
        return Connected(identity, sender, ConfigurationKeeper(collector, "lbc_x", tmp_path), [])

    enrol(tmp_path, "first")
    reporting = asyncio.create_task(report(CollectorLink(tmp_path, connect), spool, 1.5, Late()))
    await asyncio.sleep(0.25)
    assert collector.requests == [], "boxes that got their power back together do not report together"
    await asyncio.sleep(0.75)
    assert len(collector.requests) == 1
    spool.append(event_record())
    await asyncio.sleep(0.5)
    assert (len(collector.requests), spool.waiting) == (1, 3), "neither history nor an event is sent meanwhile"
    reporting.cancel()
    await spool.close()

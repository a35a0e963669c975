"""What is simulated is marked as such, keeps apart from what is real, and can be removed."""

import sqlite3
from pathlib import Path

import pytest

from linkbell_collector.domain import AgentState, Removed, School, Token
from linkbell_collector.enrolment import Before, Grant, decide
from linkbell_collector.errors import CollectorError
from linkbell_wire import EnrolRequest, ErrorCode
from tests.collector.process import ServeProcess, run_command, run_json
from tests.collector.support import NOON_US, FakeClock, Site, TestAgent, ping, running

SECRET = "lbj_" + "x" * 43
REGION = Token("t", school=None, region="Almaty", uses=9, used=0, expires_us=NOON_US + 1, created_us=0)
REAL = School("s-1", region="Almaty")
UNREAL = School("sim-1", region="Almaty", simulated=True)


@pytest.mark.parametrize(("school", "simulated"), [(REAL, True), (UNREAL, False), (UNREAL, None)])
def test_neither_a_simulated_agent_joins_a_real_school_nor_the_other_way_round(
    school: School, *, simulated: bool | None
) -> None:
    asked = EnrolRequest(token=SECRET, school=school.id, simulated=simulated)
    with pytest.raises(CollectorError) as refused:
        decide(asked, REGION, school, Before(), NOON_US)
    assert refused.value.code is ErrorCode.SCHOOL_MISMATCH
    assert "simulated" in refused.value.message


@pytest.mark.parametrize(("school", "simulated"), [(REAL, None), (REAL, False), (UNREAL, True)])
def test_those_of_a_kind_are_let_in(school: School, *, simulated: bool | None) -> None:
    asked = EnrolRequest(token=SECRET, school=school.id, simulated=simulated)
    assert decide(asked, REGION, school, Before(), NOON_US) == Grant(school.id, AgentState.ACTIVE)


async def _agent(site: Site, school: School) -> TestAgent:
    async with site.changed():
        await site.store.add_schools([school], NOON_US)
    token = await site.token(None, region="Almaty")
    reply = await site.enrol(token, school=school.id, simulated=school.simulated)
    assert reply.status == 201, reply.text
    return TestAgent(site, reply.json["agent"], reply.json["credential"])


async def test_a_simulated_school_says_so_on_the_page_and_in_the_metrics_and_a_real_one_does_not(site: Site) -> None:
    await (await _agent(site, REAL)).send([ping(0)])
    before = (await site.get("/", headers={"Accept": "text/html"})).text
    assert "simulated" not in before
    await (await _agent(site, UNREAL)).send([ping(0)])
    text = (await site.get("/", headers={"Accept": "text/html"})).text
    assert text.count('class="simulated"') == 1
    assert "1 of these 2 schools are simulated" in " ".join(text.replace("<strong>", "").split())
    info = [line for line in (await site.metrics()).splitlines() if line.startswith("linkbell_school_info{")]
    assert [('school="sim-1"' in line) for line in info] == [('simulated="true"' in line) for line in info]
    assert len(info) == 2


async def test_a_simulated_agent_of_an_unknown_school_makes_one_that_is_marked_and_waits(site: Site) -> None:
    reply = await site.enrol(await site.token(None, region="Almaty"), school="sim-7", simulated=True)
    assert reply.json["status"] == "pending"
    school = (await site.store.directory()).schools["sim-7"]
    assert school.simulated
    assert not school.approved


async def test_all_that_is_simulated_goes_and_all_that_is_real_stays(tmp_path: Path, clock: FakeClock) -> None:
    folder = tmp_path / "data"
    async with running(folder, clock) as site:
        real, unreal = await _agent(site, REAL), await _agent(site, UNREAL)
        await real.send([ping(0), ping(1)])
        await unreal.send([ping(0), ping(1, received=11), ping(2)])
        async with site.changed():
            assert await site.store.revoke_simulated() == 1
        assert (await unreal.send([ping(3)])).status == 403
        async with site.changed():
            assert await site.store.remove_simulated() == Removed(schools=1, agents=1, records=2)
        assert "sim-1" not in await site.metrics()
        assert (await real.send([ping(2)])).json["stored"] == 1
        # The next agent may get the number of the one removed, and must not get its counts with it.
        newcomer = await _agent(site, School("sim-2", region="Almaty", simulated=True))
        assert (await newcomer.send([ping(0)])).json["stored"] == 1
        metrics = await site.metrics()
        assert f'linkbell_agent_records_lost{{school="sim-2",agent="{newcomer.id}"}} 0' in metrics
        assert set((await site.store.directory()).schools) == {"s-1", "sim-2"}
    database = sqlite3.connect(folder / "collector.sqlite3")
    assert database.execute("SELECT count(*) FROM records").fetchone() == (4,)
    assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    assert database.execute("SELECT count(*) FROM refusals").fetchone() == (0,)
    database.close()


async def test_they_are_listed_as_simulated_and_removed_by_one_command(tmp_path: Path, clock: FakeClock) -> None:
    async with running(tmp_path, clock) as site:
        await site.store.add_schools([REAL, UNREAL], NOON_US)
    listed = {row["id"]: row["simulated"] for row in run_json("schools", "list", "--data", tmp_path)}
    assert listed == {"s-1": False, "sim-1": True}
    assert run_command("schools", "remove", "--data", tmp_path).returncode == 2
    serving = ServeProcess(tmp_path)
    try:
        done = run_command("schools", "remove", "--simulated", "--data", tmp_path)
    finally:
        serving.stop()
    assert done.stdout == "removed 1 simulated schools, 0 agents and 0 records\n"
    assert [row["id"] for row in run_json("schools", "list", "--data", tmp_path)] == ["s-1"]

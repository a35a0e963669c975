"""The fault matrix in real networks: each fault is made with real routes and servers, and found, and its end too."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.agent.layers.faults import FAULTS, Fault, dead_gateway, gateway_ignores_pings, line_cut
from tests.agent.layers.world import (
    GATEWAY,
    GATEWAY6,
    HOP,
    Driver,
    World,
    why_not,
)
from tests.agent.layers.world import world as make_world

WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with make_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture(scope="module")
def driver(world: World) -> Iterator[Driver]:
    with world.driver() as made:
        first = made.round()
        assert first["verdict"] == "ok", first
        made.round()
        yield made


def of(done: dict[str, Any], **wanted: str) -> list[dict[str, Any]]:
    return [one for one in done["records"] if all(one.get(key) == value for key, value in wanted.items())]


@pytest.mark.parametrize(("fault", "verdict"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_a_fault_is_found_in_the_second_round_and_its_end_too(
    world: World, driver: Driver, fault: Fault, verdict: str
) -> None:
    driver.rounds_until("ok", most=2)
    started_s = time.monotonic()
    fault(world, on=True)
    try:
        found = driver.rounds_until(verdict)
    finally:
        fault(world, on=False)
    assert [one["verdict"] for one in found] == ["ok", verdict], found[0]["records"]
    assert found[0]["looks_wrong"]
    (record,) = of(found[-1], kind="verdict")
    assert (record["verdict"], record["previous"]) == (verdict, "ok")
    assert any(not one["up"] for one in record["evidence"])
    over = driver.rounds_until("ok", most=4)
    assert {one["verdict"] for one in over} == {verdict, "ok"}
    assert time.monotonic() - started_s < 15


def test_a_gateway_that_ignores_pings_and_answers_arp_is_up(world: World, driver: Driver) -> None:
    gateway_ignores_pings(world, on=True)
    try:
        for _ in range(3):
            done = driver.round()
            (ping,) = of(done, kind="ping", target="gateway")
            assert (ping["received"], ping["sent"], ping["neighbour"]) == (0, 3, "answers")
            assert done["verdict"] == "ok"
    finally:
        gateway_ignores_pings(world, on=False)


def test_a_cut_line_behind_a_gateway_that_ignores_pings_is_the_providers(world: World, driver: Driver) -> None:
    gateway_ignores_pings(world, on=True)
    line_cut(world, on=True)
    try:
        driver.rounds_until("isp_down")
    finally:
        line_cut(world, on=False)
        gateway_ignores_pings(world, on=False)
    driver.rounds_until("ok")


def test_the_providers_first_hop_is_found_though_its_address_is_shared(driver: Driver) -> None:
    done = driver.rounds_until("ok")[-1]
    if not of(done, kind="ping", layer="isp"):
        done = driver.round()
    (ping,) = of(done, kind="ping", layer="isp")
    assert (ping["address"], ping["received"]) == (HOP, 3)


def test_one_round_asks_each_layer(driver: Driver) -> None:
    done = driver.round()
    seen = {(one["kind"], one["target"], one["layer"]) for one in done["records"]}
    assert seen >= {
        ("ping", "gateway", "gateway"),
        ("ping", "isp", "isp"),
        ("ping", "exchange", "domestic"),
        ("ping", "international", "international"),
        ("dns", "resolver.1", "dns"),
        ("dns", "system", "dns"),
        ("http", "platform", "platform"),
        ("http", "collector", "collector"),
        ("http", "portal-check", "international"),
    }
    assert not done["looks_wrong"]


def test_a_name_server_that_invents_names_is_noted_and_no_fault(world: World) -> None:
    world.behave(dns="invent")
    try:
        with world.driver() as fresh:
            done = fresh.round()
    finally:
        world.behave()
    (lie,) = of(done, target="resolver.1-lie")
    assert lie["failure"]["code"] == "dns_false_answer"
    assert done["verdict"] == "ok"


def test_a_collector_cannot_have_the_school_probe_private_addresses(driver: Driver) -> None:
    """The provider's router in the same range as ours answers pings, and is not asked."""
    targets = [
        {"name": "lan", "layer": "domestic", "host": GATEWAY},
        {"name": "beyond", "layer": "domestic", "host": "100.64.8.2"},
        {"name": "itself", "layer": "domestic", "host": "127.0.0.1"},
    ]
    platforms = [{"name": "metadata", "url": "http://169.254.169.254/latest"}]
    configuration = {"targets": targets, "platforms": platforms, "dns": {"resolvers": ["127.0.0.53"]}}
    done = driver.tell(do="round", configuration=configuration)
    prohibited = {"operation": "connect", "code": "prohibited"}
    for target in ("beyond", "itself", "metadata", "given.1"):
        assert all(one["failure"] == prohibited for one in of(done, target=target)), target
        assert of(done, target=target)
    (lan,) = of(done, target="lan")
    assert lan["received"] == 3
    driver.rounds_until("ok")


# --- without the right to raw packets


@pytest.fixture
def quick_neighbours(world: World) -> None:
    """The kernel forgets neighbours, and asks again, faster than it usually does."""
    for family in ("ipv4", "ipv6"):
        prefix = f"net.{family}.neigh.eth0"
        world.box.run(
            *("sysctl", "-qw", f"{prefix}.base_reachable_time_ms=500", f"{prefix}.delay_first_probe_time=1"),
            f"{prefix}.retrans_time_ms=200",
        )


@pytest.mark.usefixtures("quick_neighbours")
def test_an_agent_without_privilege_sees_arp_through_the_kernels_eyes(world: World) -> None:
    with world.driver(privileged=False) as driver:
        driver.rounds_until("ok")
        gateway_ignores_pings(world, on=True)
        try:
            time.sleep(1)
            (ping,) = of(driver.round(), kind="ping", target="gateway")
            assert (ping["received"], ping["neighbour"]) == (0, "answers")
        finally:
            gateway_ignores_pings(world, on=False)
        dead_gateway(world, on=True)
        try:
            time.sleep(1)
            found = driver.rounds_until("lan_down")
        finally:
            dead_gateway(world, on=False)
        assert [one["verdict"] for one in found] == ["ok", "lan_down"]


@pytest.mark.usefixtures("quick_neighbours")
@pytest.mark.parametrize("privileged", [True, False])
def test_neighbours_answer_or_are_silent_over_ipv4_and_ipv6(world: World, privileged: bool) -> None:
    with world.driver(privileged=privileged) as driver:
        for host, state in (
            (GATEWAY, "answers"),
            (GATEWAY6, "answers"),
            ("192.168.77.9", "silent"),
            ("fd77::9", "silent"),
        ):
            for pause_s in (1.0, 0.7, 0.5, 0.9, 0.6, 0.8):  # what the kernel knew just before is no news
                time.sleep(pause_s)
                found = driver.tell(do="neighbour", host=host)["neighbour"]
                if found is not None:
                    break
            assert found == state, host

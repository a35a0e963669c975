"""The fault matrix in real networks: each fault is made with real routes and servers, and found, and its end too."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.agent.layers.world import (
    ABROAD,
    BOX6,
    CHECK,
    COLLECTOR,
    GATEWAY,
    GATEWAY6,
    HOP,
    PLATFORM,
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


# --- the faults: each is made, and taken back


def dead_gateway(world: World, *, on: bool) -> None:
    """Switched off behind a switch: the cable stays up, and nobody answers."""
    if on:
        world.router.run("ip", "address", "del", f"{GATEWAY}/24", "dev", "lan0")
        world.router.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    else:
        world.router.run("ip", "address", "add", f"{GATEWAY}/24", "dev", "lan0")
        world.router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")


def unplugged_box(world: World, *, on: bool) -> None:
    world.box.run("ip", "link", "set", "eth0", "down" if on else "up")
    if not on:
        world.box.run("ip", "route", "replace", "default", "via", GATEWAY)
        world.box.run("ip", "address", "replace", f"{BOX6}/64", "dev", "eth0", "nodad")


def line_cut(world: World, *, on: bool) -> None:
    world.provider.run("ip", "link", "set", "school0", "down" if on else "up")
    if not on:
        world.router.run("ip", "route", "replace", "default", "via", HOP)
        world.provider.run("ip", "route", "replace", "192.168.77.0/24", "via", "100.64.9.2")


def provider_cut_beyond_the_first_hop(world: World, *, on: bool) -> None:
    action = ("add", "blackhole") if on else ("del", "blackhole")
    for half in ("0.0.0.0/1", "128.0.0.0/1"):
        world.provider.run("ip", "route", *action, half)
    if on:
        world.provider.run("ip", "route", "add", "192.168.77.0/24", "via", "100.64.9.2", "metric", "5")
    else:
        world.provider.run("ip", "route", "del", "192.168.77.0/24", "via", "100.64.9.2", "metric", "5")


def resolver(manner: str) -> Callable[..., None]:
    def fault(world: World, *, on: bool) -> None:
        world.behave(**({"dns": manner} if on else {}))

    fault.__name__ = f"resolver_{manner}"
    return fault


def resolver_gone(world: World, *, on: bool) -> None:
    world.world.run("ip", "address", "del" if on else "add", "82.200.2.2/32", "dev", "lo")


def abroad_cut(world: World, *, on: bool) -> None:
    for address in ABROAD:
        world.provider.run("ip", "route", "add" if on else "del", "blackhole", f"{address}/32")


def captive_portal(world: World, *, on: bool) -> None:
    """The router answers in the name of every page; pings and names get through, as they often do."""
    for address in (CHECK, COLLECTOR, PLATFORM):
        world.router.run("ip", "address", "add" if on else "del", f"{address}/32", "dev", "lo")


def server_gone(address: str) -> Callable[..., None]:
    def fault(world: World, *, on: bool) -> None:
        world.provider.run("ip", "route", "add" if on else "del", "blackhole", f"{address}/32")

    return fault


def server_fails(name: str) -> Callable[..., None]:
    def fault(world: World, *, on: bool) -> None:
        world.behave(**({name: "503"} if on else {}))

    return fault


FAULTS = [
    ("dead gateway", dead_gateway, "lan_down"),
    ("box unplugged", unplugged_box, "lan_down"),
    ("line cut", line_cut, "isp_down"),
    ("provider cut beyond its first hop", provider_cut_beyond_the_first_hop, "isp_down"),
    ("name server gone", resolver_gone, "dns_fault"),
    ("name server silent", resolver("silent"), "dns_fault"),
    ("name server refuses", resolver("refuse"), "dns_fault"),
    ("name server lies", resolver("lie"), "dns_fault"),
    ("login page", captive_portal, "captive_portal"),
    ("abroad cut", abroad_cut, "international_down"),
    ("platform gone", server_gone(PLATFORM), "platform_down"),
    ("platform fails", server_fails("platform"), "platform_down"),
    ("collector gone", server_gone(COLLECTOR), "collector_unreachable"),
    ("collector fails", server_fails("collector"), "collector_unreachable"),
]


@pytest.mark.parametrize(("fault", "verdict"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_a_fault_is_found_in_the_second_round_and_its_end_too(
    world: World, driver: Driver, fault: Callable[..., None], verdict: str
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
    world.router.run("sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")
    try:
        for _ in range(3):
            done = driver.round()
            (ping,) = of(done, kind="ping", target="gateway")
            assert (ping["received"], ping["sent"], ping["neighbour"]) == (0, 3, "answers")
            assert done["verdict"] == "ok"
    finally:
        world.router.run("sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=0")


def test_a_cut_line_behind_a_gateway_that_ignores_pings_is_the_providers(world: World, driver: Driver) -> None:
    world.router.run("sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")
    line_cut(world, on=True)
    try:
        driver.rounds_until("isp_down")
    finally:
        line_cut(world, on=False)
        world.router.run("sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=0")
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
        world.router.run("sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")
        try:
            time.sleep(1)
            (ping,) = of(driver.round(), kind="ping", target="gateway")
            assert (ping["received"], ping["neighbour"]) == (0, "answers")
        finally:
            world.router.run("sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=0")
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

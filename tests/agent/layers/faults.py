"""The faults a line can have, made with real routes and servers, and taken back. Each is a function of a world."""

from typing import Protocol

from tests.agent.layers.world import ABROAD, BOX6, CHECK, COLLECTOR, NAME_SERVER, PLATFORM, World


class Fault(Protocol):
    """Makes itself, or takes itself back."""

    __name__: str

    def __call__(self, world: World, *, on: bool) -> None: ...


def dead_gateway(world: World, *, on: bool) -> None:
    """Switched off behind a switch: the cable stays up, and nobody answers."""
    if on:
        world.router.run("ip", "address", "del", f"{world.place.gateway}/24", "dev", "lan0")
        world.router.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    else:
        world.router.run("ip", "address", "add", f"{world.place.gateway}/24", "dev", "lan0")
        world.router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")


def unplugged_box(world: World, *, on: bool) -> None:
    world.box.run("ip", "link", "set", "eth0", "down" if on else "up")
    if not on:
        world.box.run("ip", "route", "replace", "default", "via", world.place.gateway)
        world.box.run("ip", "address", "replace", f"{BOX6}/64", "dev", "eth0", "nodad")


def gateway_ignores_pings(world: World, *, on: bool) -> None:
    """No fault: many routers do, and answer ARP."""
    world.router.run("sysctl", "-qw", f"net.ipv4.icmp_echo_ignore_all={on:d}")


def line_cut(world: World, *, on: bool) -> None:
    world.provider.run("ip", "link", "set", "school0", "down" if on else "up")
    if not on:
        world.router.run("ip", "route", "replace", "default", "via", world.place.hop)
        world.provider.run("ip", "route", "replace", world.place.network, "via", world.place.router_outside)


def provider_cut_beyond_the_first_hop(world: World, *, on: bool) -> None:
    action = ("add", "blackhole") if on else ("del", "blackhole")
    for half in ("0.0.0.0/1", "128.0.0.0/1"):
        world.provider.run("ip", "route", *action, half)
    if on:
        world.provider.run("ip", "route", "add", world.place.network, "via", world.place.router_outside, "metric", "5")
    else:
        world.provider.run("ip", "route", "del", world.place.network, "via", world.place.router_outside, "metric", "5")


def resolver(manner: str) -> Fault:
    def fault(world: World, *, on: bool) -> None:
        world.behave(**({"dns": manner} if on else {}))

    fault.__name__ = f"resolver_{manner}"
    return fault


def resolver_gone(world: World, *, on: bool) -> None:
    world.names.run("ip", "address", "del" if on else "add", f"{NAME_SERVER}/32", "dev", "lo")


def abroad_cut(world: World, *, on: bool) -> None:
    for address in ABROAD:
        world.provider.run("ip", "route", "add" if on else "del", "blackhole", f"{address}/32")


def captive_portal(world: World, *, on: bool) -> None:
    """The router answers in the name of every page; pings and names get through, as they often do."""
    for address in (CHECK, COLLECTOR, PLATFORM):
        world.router.run("ip", "address", "add" if on else "del", f"{address}/32", "dev", "lo")


def server_gone(address: str) -> Fault:
    def fault(world: World, *, on: bool) -> None:
        world.provider.run("ip", "route", "add" if on else "del", "blackhole", f"{address}/32")

    return fault


def server_fails(name: str) -> Fault:
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
    ("name server fails", resolver("fail"), "dns_fault"),
    ("name server lies", resolver("lie"), "dns_fault"),
    ("login page", captive_portal, "captive_portal"),
    ("abroad cut", abroad_cut, "international_down"),
    ("platform gone", server_gone(PLATFORM), "platform_down"),
    ("platform fails", server_fails("platform"), "platform_down"),
    ("collector gone", server_gone(COLLECTOR), "collector_unreachable"),
    ("collector fails", server_fails("collector"), "collector_unreachable"),
]

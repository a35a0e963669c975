"""Two real ways out: what is measured on one passes that one alone, and a fault on one is no fault of the other."""

import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from linkbell_wire.failures import FailureCode, Operation
from linkbell_wire.records import PingRecord, SpeedRecord
from tests.agent.uplinks.school import DEVICES, MOBILE, SOURCES, Driver, School, why_not
from tests.agent.uplinks.school import school as make_school

WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

BOTH = ("fibre", "mobile")


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    with make_school(tmp_path_factory.mktemp("school")) as made:
        yield made


@pytest.fixture(scope="module")
def driver(school: School) -> Iterator[Driver]:
    with school.driver() as made:
        for uplink in BOTH:
            made.until(uplink, "ok")
        yield made


def other(uplink: str) -> str:
    return "mobile" if uplink == "fibre" else "fibre"


def of(done: dict[str, Any], **wanted: str) -> list[dict[str, Any]]:
    return [one for one in done["records"] if all(one.get(key) == value for key, value in wanted.items())]


@pytest.mark.parametrize("uplink", BOTH)
def test_a_round_on_one_uplink_asks_every_layer_and_sends_nothing_by_the_other(
    school: School, driver: Driver, uplink: str
) -> None:
    before = {name: school.passed(name) for name in BOTH}
    done = driver.round(uplink)
    passed = {name: school.passed(name) - before[name] for name in BOTH}
    assert passed[uplink] > 20
    assert passed[other(uplink)] == 0
    assert done["verdict"] == "ok"
    assert {one["uplink"] for one in done["records"]} == {uplink}
    assert {(one["kind"], one["target"]) for one in done["records"]} >= {
        ("ping", "gateway"),
        ("ping", "exchange"),
        ("ping", "international"),
        ("dns", "resolver.1"),
        ("http", "platform"),
        ("http", "collector"),
        ("http", "portal-check"),
    }
    (gateway,) = of(done, kind="ping", target="gateway")
    assert gateway["address"].rpartition(".")[0] == SOURCES[uplink].rpartition(".")[0]
    assert not of(done, target="system")


@pytest.mark.parametrize("uplink", BOTH)
@pytest.mark.parametrize("words", [("speed", "--max-duration", "4"), ("check", "--floor", "2M")])
def test_a_test_on_one_uplink_sends_nothing_by_the_other(school: School, uplink: str, words: tuple[str, ...]) -> None:
    before = {name: school.passed(name) for name in BOTH}
    carried = school.carried(uplink)
    record = school.once(*words, "--uplink", uplink)
    assert record.uplink == uplink
    assert school.carried(uplink) - carried > 30_000
    assert school.passed(other(uplink)) - before[other(uplink)] == 0


def test_speedtest_cli_goes_by_the_uplink_as_well(school: School) -> None:
    """Connections that it cuts off are the kernel's after that: it answers late data with a bare reset, as routed."""
    before = {name: (school.passed(name), school.carried(name)) for name in BOTH}
    record = school.once("speed", "--engine", "ookla", "--max-duration", "1", "--uplink", "mobile", expect=(0, 1))
    assert record.uplink == "mobile"
    packets, size_bytes = school.passed("fibre") - before["fibre"][0], school.carried("fibre") - before["fibre"][1]
    assert size_bytes == 40 * packets
    assert school.carried("mobile") - before["mobile"][1] > 100 * max(1, size_bytes)


def test_names_of_servers_are_asked_on_the_uplink(school: School) -> None:
    before = {name: school.passed(name) for name in BOTH}
    record = school.once("probe", "--host", "collector.example.kz", "--count", "2", "--uplink", "mobile")
    assert isinstance(record, PingRecord)
    assert record.received == 2
    assert school.passed("fibre") - before["fibre"] == 0
    assert school.passed("mobile") - before["mobile"] > 2


def test_a_dead_fibre_is_found_and_the_mobile_line_stays_well(school: School, driver: Driver) -> None:
    assert driver.carrier() == "fibre"
    school.cut("fibre")
    try:
        assert driver.trouble("fibre") == "no_carrier"
        driver.until("fibre", "lan_down")
        assert driver.round("mobile")["verdict"] == "ok"
    finally:
        school.mend("fibre")
    driver.until("fibre", "ok")
    assert driver.trouble("fibre") is None


def test_a_line_cut_behind_its_router_is_the_providers_on_that_uplink_alone(school: School, driver: Driver) -> None:
    school.world.run("ip", "link", "set", "core1", "down")
    try:
        driver.until("fibre", "isp_down")
        assert driver.round("mobile")["verdict"] == "ok"
    finally:
        school.world.run("ip", "link", "set", "core1", "up")
        school.world.run("ip", "route", "replace", "192.168.77.0/24", "via", "100.64.1.2")
    driver.until("fibre", "ok")


def test_the_uplink_that_carries_is_the_one_the_kernel_prefers(school: School, driver: Driver) -> None:
    assert driver.carrier() == "fibre"
    school.route("fibre", "del")
    try:
        assert driver.carrier() == "mobile"
    finally:
        school.route("fibre", "add")
    assert driver.carrier() == "fibre"
    school.route("mobile", "add", "50")
    try:
        assert driver.carrier() == "mobile"
    finally:
        school.route("mobile", "del", "50")


def test_an_idle_backup_whose_route_is_in_a_table_of_its_own_is_measured(school: School, driver: Driver) -> None:
    school.route("mobile", "del")
    school.box.run("ip", "route", "add", "default", "via", f"{MOBILE}.1", "dev", "wwan0", "table", "100")
    school.box.run("ip", "rule", "add", "oif", "wwan0", "table", "100")
    try:
        driver.until("mobile", "ok")
        assert driver.trouble("mobile") is None
        assert driver.carrier() == "fibre"
    finally:
        school.box.run("ip", "rule", "del", "oif", "wwan0", "table", "100")
        school.box.run("ip", "route", "del", "default", "table", "100")
        school.route("mobile", "add")


def test_an_idle_backup_without_any_route_is_said_to_lead_nowhere(school: School, driver: Driver) -> None:
    school.route("mobile", "del")
    before = school.passed("fibre")
    try:
        assert driver.trouble("mobile") == "no_route"
        driver.round("mobile")
        assert school.passed("fibre") - before == 0
    finally:
        school.route("mobile", "add")
    driver.until("mobile", "ok")


# --- uplinks that cannot be bound

GONE = """
[[uplinks]]
name = "fibre"
device = "eth0"

[[uplinks]]
name = "mobile"
device = "wwan7"
"""


def test_a_device_that_is_not_there_is_a_failure_and_nothing_goes_another_way(school: School) -> None:
    before = {name: school.passed(name) for name in BOTH}
    ping = school.once("probe", "international", "--uplink", "mobile", uplinks=GONE, expect=(1,))
    speed = school.once("speed", "--max-duration", "1", "--uplink", "mobile", uplinks=GONE, expect=(1,))
    with school.driver(GONE) as driver:
        done = driver.until("mobile", "lan_down")[-1]
        assert driver.trouble("mobile") == "device_missing"
        assert {one["failure"]["code"] for one in of(done, kind="http")} == {"uplink_unavailable"}
    assert {name: school.passed(name) - before[name] for name in BOTH} == {"fibre": 0, "mobile": 0}
    assert isinstance(ping, PingRecord)
    assert isinstance(speed, SpeedRecord)
    assert speed.download is not None
    for failure in (ping.failure, speed.failure or speed.download.failure):
        assert failure is not None
        assert (failure.operation, failure.code) == (Operation.BIND, FailureCode.UPLINK_UNAVAILABLE)


def test_a_device_that_appears_is_measured_from_then_on(school: School) -> None:
    with school.driver(GONE) as driver:
        driver.until("mobile", "lan_down")
        school.box.run("ip", "link", "set", "wwan0", "down")
        school.box.run("ip", "link", "set", "wwan0", "name", "wwan7")
        school.box.run("ip", "link", "set", "wwan7", "up")
        try:
            school.box.run("ip", "route", "add", "default", "via", f"{MOBILE}.1", "dev", "wwan7", "metric", "600")
            driver.until("mobile", "ok", most=6)
        finally:
            school.box.run("ip", "link", "set", "wwan7", "down")
            school.box.run("ip", "link", "set", "wwan7", "name", "wwan0")
            school.box.run("ip", "link", "set", "wwan0", "up")
            school.route("mobile", "add")


BY_SOURCE = f"""
[[uplinks]]
name = "fibre"
source = "{SOURCES["fibre"]}"

[[uplinks]]
name = "mobile"
source = "{SOURCES["mobile"]}"
"""


def test_an_uplink_known_by_its_address_alone_does_not_leave_by_the_default_route(school: School) -> None:
    before = school.passed("fibre")
    with school.driver(BY_SOURCE) as driver:
        done = driver.until("mobile", "ok")[-1]
        assert driver.carrier() == "fibre"
    assert school.passed("fibre") - before == 0
    (gateway,) = of(done, kind="ping", target="gateway")
    assert gateway["address"] == f"{MOBILE}.1"


def test_a_source_address_that_is_not_on_the_box_is_a_failure(school: School) -> None:
    elsewhere = BY_SOURCE.replace(SOURCES["mobile"], "10.99.0.2")
    before = {name: school.passed(name) for name in BOTH}
    record = school.once("probe", "international", "--uplink", "mobile", uplinks=elsewhere, expect=(1,))
    assert isinstance(record, PingRecord)
    assert record.failure is not None
    assert (record.failure.operation, record.failure.code) == (Operation.BIND, FailureCode.ADDRESS_UNAVAILABLE)
    assert {name: school.passed(name) - before[name] for name in BOTH} == {"fibre": 0, "mobile": 0}


def test_binding_that_is_refused_is_a_failure_and_no_unbound_measurement(school: School) -> None:
    """A socket that is bound already may not be moved to another device without CAP_NET_RAW."""
    code = (
        "import socket, sys\n"
        "from linkbell_agent.classify import NetworkFailure\n"
        "from linkbell_agent.net import Uplink, bind_to_uplink\n"
        "sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "bind_to_uplink(sock, Uplink(device='eth0'))\n"
        "try:\n    bind_to_uplink(sock, Uplink(device='wwan0'))\n"
        "except NetworkFailure as failure:\n    print(failure)\n"
    )
    said = school.box.run("setpriv", "--inh-caps=-all", "--bounding-set=-all", sys.executable, "-c", code)
    assert said.strip() == "bind: permission_denied"


def test_a_round_takes_no_longer_for_a_dead_uplink_than_for_a_slow_one(school: School, driver: Driver) -> None:
    school.box.run("ip", "link", "set", DEVICES["mobile"], "down")
    try:
        started_s = time.monotonic()
        driver.round("mobile")
        assert time.monotonic() - started_s < 15
        assert driver.trouble("mobile") == "device_down"
    finally:
        school.box.run("ip", "link", "set", DEVICES["mobile"], "up")
        school.route("mobile", "add")
    driver.until("mobile", "ok")

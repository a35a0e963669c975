"""Ookla's public servers, as far as they can be had on one machine: in a namespace where www.speedtest.net is ours."""

import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import SpeedRecord
from tests.agent.ookla.support import failure, failures
from tests.linkbed import namespaces

REASON = namespaces.why_not("unshare")
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

CONFIG = """<?xml version="1.0"?><settings><client ip="192.0.2.7" lat="51.1" lon="71.4" isp="Test"/>
<server-config threadcount="4" ignoreids="" /><download testlength="10" threadsperurl="4"/>
<upload testlength="10" ratio="5" maxchunkcount="50" threads="2"/></settings>"""
SERVER = '<server url="http://127.0.0.1:8471/speedtest/upload.php" lat="51" lon="71" id="{id}" host="x" name="n"/>'
LIST = f"<settings><servers>{SERVER.format(id=1)}</servers></settings>"

WORLD = """
set -e
mount --bind "$1/hosts" /etc/hosts
ip link set lo up
"$2" -m tests.agent.ookla.www "$1" & www=$!
"$2" -m linkbell_collector.cli measure --listen 127.0.0.1:8471 > "$1/measure" & measure=$!
trap 'kill $www $measure' EXIT
while ! { [ -s "$1/measure" ] && [ -e "$1/ready" ]; }; do sleep 0.05; done
SSL_CERT_FILE="$1/ca.pem" "$2" -m linkbell_agent speed --engine ookla --server https://www.speedtest.net \
    --max-bytes 500000 --max-duration 2 --json || true
"""


def measured(folder: Path, config: str | None, servers: str | None) -> SpeedRecord:
    """Measure in a world where www.speedtest.net says these two things, or 403 for ``None``."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("www.speedtest.net").private_key_and_cert_chain_pem.write_to_path(folder / "www.pem")
    (folder / "hosts").write_text("127.0.0.1 localhost www.speedtest.net c.speedtest.net\n")
    for name, said in (("config", config), ("servers", servers)):
        if said is not None:
            (folder / name).write_text(said)
    command = ["unshare", "--mount", "--net", "sh", "-c", WORLD, "sh", str(folder), sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=namespaces.REPOSITORY)
    return SpeedRecord.model_validate_json(done.stdout.splitlines()[-1]) if done.stdout else pytest.fail(done.stderr)


def test_the_nearest_server_is_found_and_used_and_named(tmp_path: Path) -> None:
    record = measured(tmp_path, CONFIG, LIST)
    assert failures(record) == [None, None]
    assert record.server == "http://127.0.0.1:8471"
    assert record.rtt_idle_s is not None


@pytest.mark.parametrize(
    ("config", "servers", "expected"),
    [
        (None, None, failure(Operation.HTTP_REQUEST, FailureCode.HTTP_STATUS)),
        (CONFIG, None, failure(Operation.HTTP_REQUEST, FailureCode.HTTP_STATUS)),
        (CONFIG, "<settings><servers/></settings>", failure(Operation.HTTP_REQUEST, FailureCode.NO_SERVER)),
        ("<settings/>", LIST, failure(Operation.HTTP_REQUEST, FailureCode.PROTOCOL_ERROR)),
        ("Please log in", LIST, failure(Operation.HTTP_REQUEST, FailureCode.PROTOCOL_ERROR)),
        (CONFIG, "Please log in", failure(Operation.HTTP_REQUEST, FailureCode.PROTOCOL_ERROR)),
        (CONFIG, LIST.replace("8471", "9"), failure(Operation.CONNECT, FailureCode.CONNECTION_REFUSED)),
    ],
    ids=["403", "403 for the list", "no servers", "no configuration", "login page", "list of nothing", "dead server"],
)
def test_what_goes_wrong_there_is_a_code(
    tmp_path: Path, config: str | None, servers: str | None, expected: Failure
) -> None:
    record = measured(tmp_path, config, servers)
    assert failures(record) == [expected] * 2
    assert record.server == "https://www.speedtest.net"

"""The measurement message: M-Lab's names and units, absent parts left out, strangers' numbers bounded."""

import json

import pytest
from pydantic import ValidationError

from linkbell_wire.ndt7.measurement import ConnectionInfo, Measurement, TcpInfoMessage


def test_a_message_has_m_labs_names_and_leaves_out_what_is_not_known() -> None:
    message = Measurement(
        connection=ConnectionInfo(client="1.2.3.4:5", server="[::1]:6", uuid="abc"),
        tcp=TcpInfoMessage(elapsed_us=250_000, bytes_received=7, min_rtt_us=1000),
        origin="server",
        test="upload",
    )
    assert json.loads(message.to_json()) == {
        "ConnectionInfo": {"Client": "1.2.3.4:5", "Server": "[::1]:6", "UUID": "abc"},
        "TCPInfo": {"ElapsedTime": 250_000, "BytesReceived": 7, "MinRTT": 1000},
        "Origin": "server",
        "Test": "upload",
    }


def test_what_m_labs_server_sends_is_read_and_what_is_not_known_is_passed_over() -> None:
    text = (
        '{"ConnectionInfo":{"Client":"10.0.0.2:40718","Server":"10.0.0.1:443","UUID":"box_1_0001"},'
        '"BBRInfo":{"BW":1,"MinRTT":2,"ElapsedTime":3},"Origin":"server","Test":"download",'
        '"TCPInfo":{"State":1,"RTT":4242,"RTTVar":7,"MinRTT":4000,"BytesAcked":9,"ElapsedTime":251000}}'
    )
    tcp = Measurement.model_validate_json(text).tcp
    assert tcp is not None
    assert (tcp.rtt_us, tcp.min_rtt_us, tcp.bytes_acked, tcp.bytes_received) == (4242, 4000, 9, None)


@pytest.mark.parametrize(
    "text",
    [
        '{"TCPInfo":{"BytesReceived":-1}}',
        '{"TCPInfo":{"BytesReceived":9223372036854775808}}',
        '{"TCPInfo":{"ElapsedTime":NaN}}',
        '{"Origin":"somebody"}',
        '{"ConnectionInfo":{"Client":"x","Server":"y","UUID":"' + "u" * 300 + '"}}',
        "[]",
        "not json",
        "",
    ],
)
def test_a_message_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Measurement.model_validate_json(text)

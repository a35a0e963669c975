"""Packets built and errors read, by the tables of the standards."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.icmp import checksum, echo_request, icmp_error_code, strip_ip_header
from linkbell_wire.failures import FailureCode

ICMP, ICMP6 = 2, 3


@given(data=st.binary(max_size=200).filter(lambda data: len(data) % 2 == 0))
def test_a_message_with_its_checksum_sums_to_zero(data: bytes) -> None:
    assert checksum(data + checksum(data).to_bytes(2, "big")) == 0


def test_the_checksum_is_that_of_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D  # ~0xddf2, the example of section 3
    assert checksum(b"\x01") == 0xFEFF


@given(identifier=st.integers(0, 0xFFFF), sequence=st.integers(0, 0xFFFF), payload=st.binary(max_size=64))
def test_an_ipv4_echo_request_carries_a_right_checksum(identifier: int, sequence: int, payload: bytes) -> None:
    packet = echo_request(socket.AF_INET, identifier, sequence, payload)
    assert checksum(packet) == 0
    assert packet[:2] == b"\x08\x00"
    assert packet[4:] == struct.pack("!HH", identifier, sequence) + payload


def test_an_ipv6_echo_request_leaves_the_checksum_to_the_kernel() -> None:
    assert echo_request(socket.AF_INET6, 1, 2, b"x") == bytes.fromhex("8000000000010002") + b"x"


@pytest.mark.parametrize(
    ("datagram", "rest"), [(b"", b""), (b"\x45" + bytes(19) + b"x", b"x"), (b"\x46" + bytes(23) + b"x", b"x")]
)
def test_the_ip_header_is_taken_off_whatever_its_length(datagram: bytes, rest: bytes) -> None:
    assert strip_ip_header(datagram) == rest


@pytest.mark.parametrize(
    ("origin", "kind", "code", "expected"),
    [
        (ICMP, 3, 0, FailureCode.NETWORK_UNREACHABLE),
        (ICMP, 3, 1, FailureCode.HOST_UNREACHABLE),
        (ICMP, 3, 3, FailureCode.CONNECTION_REFUSED),
        (ICMP, 3, 4, FailureCode.MESSAGE_TOO_LARGE),
        (ICMP, 3, 9, FailureCode.PROHIBITED),
        (ICMP, 3, 10, FailureCode.PROHIBITED),
        (ICMP, 3, 13, FailureCode.PROHIBITED),
        (ICMP, 3, 99, FailureCode.HOST_UNREACHABLE),
        (ICMP, 11, 0, FailureCode.TTL_EXCEEDED),
        (ICMP, 11, 1, FailureCode.TTL_EXCEEDED),
        (ICMP, 12, 0, FailureCode.PROTOCOL_ERROR),
        (ICMP, 4, 0, None),  # source quench and redirect: the reply may still come
        (ICMP, 5, 1, None),
        (ICMP6, 1, 0, FailureCode.NETWORK_UNREACHABLE),
        (ICMP6, 1, 1, FailureCode.PROHIBITED),
        (ICMP6, 1, 3, FailureCode.HOST_UNREACHABLE),
        (ICMP6, 1, 4, FailureCode.CONNECTION_REFUSED),
        (ICMP6, 1, 5, FailureCode.PROHIBITED),
        (ICMP6, 1, 6, FailureCode.PROHIBITED),
        (ICMP6, 2, 0, FailureCode.MESSAGE_TOO_LARGE),
        (ICMP6, 3, 0, FailureCode.TTL_EXCEEDED),
        (ICMP6, 4, 1, FailureCode.PROTOCOL_ERROR),
        (ICMP6, 137, 0, None),
    ],
)
def test_icmp_errors_have_their_codes(origin: int, kind: int, code: int, expected: FailureCode | None) -> None:
    assert icmp_error_code(origin, kind, code) is expected

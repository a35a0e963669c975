"""DNS messages: known bytes, and that no bytes whatever raise anything but the one error."""

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.probes.dns_message import MessageError, encode_name, is_answer_to, question, read
from tests.agent.probes.name_server import answer

QUESTION = question(0x1234, "Example.kz", "A")


def test_a_question_is_what_rfc_1035_says() -> None:
    assert (
        bytes.fromhex(
            "1234 0100 0001 0000 0000 0001  07 4578616d706c65 02 6b7a 00  0001 0001  00 0029 04d0 00000000 0000"
        )
        == QUESTION
    )
    assert question(1, "a.", "AAAA")[12:].startswith(b"\x01a\0\0\x1c\0\x01")


def test_names_of_other_scripts_are_encoded() -> None:
    assert (
        encode_name("мектеп.қаз") == b"\x0exn--e1ajicmo6a\x0cxn--80ao21a\0" or encode_name("мектеп.қаз")[1:5] == b"xn--"
    )


@pytest.mark.parametrize("name", ["", ".", "a..b", "x" * 64, ".".join(["abcdefgh"] * 29), "\udc80", "é" * 200])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(MessageError):
        encode_name(name)


@pytest.mark.parametrize("alias", [False, True])
def test_the_addresses_of_the_kind_asked_for_are_read(alias: bool) -> None:
    message = answer(QUESTION, "192.0.2.1", "2001:db8::1", "192.0.2.2", alias=alias)
    assert read(message, "A").addresses == ("192.0.2.1", "192.0.2.2")
    assert read(message, "AAAA").addresses == ("2001:db8::1",)
    assert (read(message, "A").rcode, read(message, "A").truncated) == (0, False)


def test_only_the_answer_to_this_question_is_one() -> None:
    good = answer(QUESTION, "192.0.2.1")
    assert is_answer_to(good, 0x1234, "example.KZ", "A")
    for message, number, name, kind in (
        (good, 0x1235, "example.kz", "A"),
        (good, 0x1234, "example.com", "A"),
        (good, 0x1234, "example.kz", "AAAA"),
        (QUESTION, 0x1234, "example.kz", "A"),
        (good[:11], 0x1234, "example.kz", "A"),
        (b"", 0x1234, "example.kz", "A"),
    ):
        assert not is_answer_to(message, number, name, kind)  # type: ignore[arg-type]


def test_a_refusal_may_leave_the_question_out_and_nothing_else_may() -> None:
    bare = bytes.fromhex("1234 8185 0000 0000 0000 0000")
    assert is_answer_to(bare, 0x1234, "example.kz", "A")
    assert not is_answer_to(bare[:3] + b"\x80" + bare[4:], 0x1234, "example.kz", "A")


@pytest.mark.parametrize(
    "message",
    [
        answer(QUESTION, "192.0.2.1")[:-1],
        answer(QUESTION, "192.0.2.1")[:30],
        bytes.fromhex("1234 8180 0000 ffff 0000 0000"),
        bytes.fromhex("1234 8180 0000 0001 0000 0000 80 00"),
        bytes.fromhex("1234 8180 0000 0001 0000 0000 00 0001 0001 00000000 0003 010203"),
        b"",
    ],
)
def test_a_message_that_makes_no_sense_is_the_one_error(message: bytes) -> None:
    with pytest.raises(MessageError):
        read(message, "A")


@given(st.binary(max_size=600))
def test_no_bytes_raise_anything_else(message: bytes) -> None:
    is_answer_to(message, 0x1234, "example.kz", "A")
    with contextlib.suppress(MessageError):
        for address in read(message, "A").addresses:
            ipaddress.IPv4Address(address)


@given(st.data(), st.lists(st.ip_addresses().map(str), max_size=5))
def test_nor_does_an_answer_that_was_damaged_on_the_way(data: st.DataObject, addresses: list[str]) -> None:
    message = bytearray(answer(QUESTION, *addresses, alias=data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MessageError):
        read(bytes(message[: data.draw(st.integers(0, len(message)))]), "A")


@given(st.text())
def test_no_text_raises_anything_else_either(name: str) -> None:
    with contextlib.suppress(MessageError):
        assert len(encode_name(name)) <= 255

"""What is compressed in little memory is read by everybody."""

import gzip
import zlib

import pytest

from linkbell_agent.squeeze import squeeze


@pytest.mark.parametrize("content", [b"", b"x", b"record " * 5000, bytes(range(256)) * 300])
def test_any_reader_reads_it(content: bytes) -> None:
    assert zlib.decompress(squeeze(content)) == content
    assert gzip.decompress(squeeze(content, gzip=True)) == content


def test_what_repeats_is_small() -> None:
    content = b"".join(b'{"seq":%d,"kind":"ping","uplink":"main","target":"gateway"}' % number for number in range(60))
    assert len(squeeze(content, gzip=True)) < len(content) / 8

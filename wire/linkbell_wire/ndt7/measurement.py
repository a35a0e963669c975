"""The text message of ndt7: what one side knows of the test so far. Times in microseconds, as M-Lab defines it.

Field names are M-Lab's, hence the aliases. A peer's numbers are claims: bounded here, checked where they are used.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_Counter = Annotated[int, Field(ge=0, le=2**63 - 1)]
_Label = Annotated[str, Field(max_length=256)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, populate_by_name=True, defer_build=True)


class AppInfo(_Message):
    """Payload bytes as the application counted them."""

    elapsed_us: _Counter = Field(alias="ElapsedTime")
    bytes: _Counter = Field(alias="NumBytes")


class ConnectionInfo(_Message):
    """Both ends as ``address:port``, and the id of the test; sent by servers only."""

    client: _Label = Field(alias="Client")
    server: _Label = Field(alias="Server")
    uuid: _Label = Field(alias="UUID")
    start_time: _Label | None = Field(default=None, alias="StartTime")


class TcpInfoMessage(_Message):
    """The kernel's view of the connection, times in microseconds, counters in bytes."""

    elapsed_us: _Counter | None = Field(default=None, alias="ElapsedTime")
    busy_us: _Counter | None = Field(default=None, alias="BusyTime")
    bytes_acked: _Counter | None = Field(default=None, alias="BytesAcked")
    bytes_received: _Counter | None = Field(default=None, alias="BytesReceived")
    bytes_sent: _Counter | None = Field(default=None, alias="BytesSent")
    bytes_retransmitted: _Counter | None = Field(default=None, alias="BytesRetrans")
    min_rtt_us: _Counter | None = Field(default=None, alias="MinRTT")
    rtt_us: _Counter | None = Field(default=None, alias="RTT")
    rtt_variation_us: _Counter | None = Field(default=None, alias="RTTVar")
    rwnd_limited_us: _Counter | None = Field(default=None, alias="RWndLimited")
    sndbuf_limited_us: _Counter | None = Field(default=None, alias="SndBufLimited")


class GroupInfo(_Message):
    """Our own: what all streams of a test received together, sent on the first of them. ``bytes`` are TCP's."""

    streams: Annotated[int, Field(ge=1, le=64)] = Field(alias="Streams")
    elapsed_us: _Counter = Field(alias="ElapsedTime")
    bytes_received: _Counter = Field(alias="BytesReceived")


class Measurement(_Message):
    """One text message."""

    app: AppInfo | None = Field(default=None, alias="AppInfo")
    connection: ConnectionInfo | None = Field(default=None, alias="ConnectionInfo")
    tcp: TcpInfoMessage | None = Field(default=None, alias="TCPInfo")
    group: GroupInfo | None = Field(default=None, alias="LinkbellGroup")
    origin: Literal["client", "server"] | None = Field(default=None, alias="Origin")
    test: Literal["download", "upload"] | None = Field(default=None, alias="Test")

    def to_json(self) -> bytes:
        """Return the message as M-Lab's peers expect it, absent parts left out."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()

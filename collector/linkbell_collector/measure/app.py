"""Wires the measurement server. Tests and the command line call the same :func:`build`."""

import asyncio
import errno
import logging
import os
import ssl
import time

from aiohttp import web
from prometheus_client import CollectorRegistry

from linkbell_collector.measure.admission import RateBudget, Slots
from linkbell_collector.measure.door import Doors
from linkbell_collector.measure.kernel import bbr_is_available
from linkbell_collector.measure.metrics import Metrics
from linkbell_collector.measure.settings import MeasureSettings
from linkbell_collector.measure.web import Line, Web
from linkbell_wire.ndt7 import MAX_SENT_MESSAGE_BYTES

_log = logging.getLogger(__name__)


class CannotStartError(Exception):
    """The server could not start; the text is a sentence for whoever started it."""


class MeasurementServer:
    """A measurement server that can be started once and stopped once."""

    def __init__(self, settings: MeasureSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._web: Web | None = None
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """The port listened on; known once started, also if 0 was asked for."""
        return self._port

    @property
    def url(self) -> str:
        """Where clients reach it, as it was told to listen."""
        host = self._settings.host
        return f"{self._settings.scheme}://{f'[{host}]' if ':' in host else host}:{self._port}"

    async def start(self) -> None:
        """Listen. Raises :class:`CannotStartError`."""
        context = _tls(self._settings)
        self._web = Web(self._settings, self._line())
        runner = web.AppRunner(
            self._web.application(),
            access_log=None,
            keepalive_timeout=self._settings.timings.idle_s,
            shutdown_timeout=1.0,
            lingering_time=1.0,  # how long the rest of a refused upload is read, so that the client sees the answer
        )
        await runner.setup()
        self._runner = runner
        try:
            self._listener = await self._listen(runner, context)
        except OSError as error:
            await runner.cleanup()
            raise CannotStartError(_cannot_listen(self._settings, error)) from error
        self._port = int(self._listener.sockets[0].getsockname()[1])

    async def _listen(self, runner: web.AppRunner, context: ssl.SSLContext | None) -> asyncio.Server:
        assert runner.server is not None
        limit, refused = self._settings.connections_per_address, self._metrics.connections_refused
        return await asyncio.get_running_loop().create_server(
            Doors(limit, runner.server, refused.inc),
            self._settings.host,
            self._settings.port,
            ssl=context,
            ssl_handshake_timeout=None if context is None else self._settings.timings.idle_s,
        )

    async def stop(self, drain_s: float | None = None) -> None:
        """Stop accepting, let tests finish for at most ``drain_s`` (default: the setting's), close the rest."""
        if self._runner is None or self._web is None:
            return
        if self._listener is not None:
            self._listener.close()
        await self._web.stop(self._settings.drain_s if drain_s is None else drain_s)
        await self._runner.cleanup()

    def _line(self) -> Line:
        bbr = bbr_is_available()
        self._metrics.bbr_available.set(bbr)
        self._metrics.max_tests.set(self._settings.max_tests)
        if not bbr:
            _log.warning(
                "BBR congestion control is not available: downloads over long or lossy lines will read low. "
                "Load the module tcp_bbr and allow it (sysctl net.ipv4.tcp_allowed_congestion_control)."
            )
        per_address = self._settings.tests_per_address
        self._metrics.max_tests_per_address.set(per_address)
        slots = Slots(
            self._settings.max_tests, self._settings.timings.hard_stop_s, time.monotonic, per_address=per_address
        )
        self._metrics.max_check_bps.set(self._settings.max_check_bps / 8)
        check_budget = RateBudget(
            self._settings.max_check_bps,
            self._settings.timings.check_hard_stop_s,
            time.monotonic,
            share=self._settings.check_share,
        )
        return Line(slots, check_budget, self._metrics, memoryview(os.urandom(MAX_SENT_MESSAGE_BYTES)), bbr)


def build(settings: MeasureSettings) -> MeasurementServer:
    """Return a measurement server that is not started yet."""
    return MeasurementServer(settings, Metrics(CollectorRegistry()))


def _tls(settings: MeasureSettings) -> ssl.SSLContext | None:
    if settings.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.certificate, settings.key)
    except (OSError, ssl.SSLError) as error:
        what = "not a matching pair in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
        raise CannotStartError(
            f"The certificate {settings.certificate} and its key cannot be used: {what}. "
            "Give PEM files this user may read, the certificate with its chain."
        ) from error
    return context


def _cannot_listen(settings: MeasureSettings, error: OSError) -> str:
    where = f"{settings.host}:{settings.port}"
    if error.errno == errno.EADDRINUSE:
        return f"Port {settings.port} is in use: another program listens on {where}. Stop it or give --listen another."
    if error.errno == errno.EACCES:
        return f"This user may not listen on {where}: ports below 1024 are the administrator's. Give --listen another."
    return f"Cannot listen on {where}: {os.strerror(error.errno or 0)}. Give --listen an address of this machine."

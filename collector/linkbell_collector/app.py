"""The one place that names concrete classes and puts the collector together."""

import asyncio
import gc
import logging
import signal
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry

from linkbell_collector import folder_clock
from linkbell_collector.clock import Clock, SystemClock
from linkbell_collector.errors import RefusedError
from linkbell_collector.folder_lock import FolderLock
from linkbell_collector.http import security
from linkbell_collector.http.api import AgentApi, Services
from linkbell_collector.http.errors import error_middleware
from linkbell_collector.http.operations import Observed, Operations, Trouble
from linkbell_collector.http.site import Site
from linkbell_collector.ingest.service import Ingest
from linkbell_collector.keeping import Keeper
from linkbell_collector.live import LiveState
from linkbell_collector.pages.render import Pages
from linkbell_collector.registry import Registry
from linkbell_collector.settings import Settings
from linkbell_collector.store import copies
from linkbell_collector.store.copies import Copied, Tell
from linkbell_collector.store.groups import Group, WriterLimits
from linkbell_collector.store.sqlite import SqliteStore
from linkbell_collector.store.sqlite_connection import DATABASE_NAME, Database
from linkbell_collector.telemetry import Telemetry
from linkbell_collector.values import DatabaseUrl, bracketed

log = logging.getLogger(__name__)
BACKLOG = 1024


def database_of(settings: Settings) -> Database:
    """Return where the database is."""
    return Database(settings.data / DATABASE_NAME, settings.database_max_bytes)


if TYPE_CHECKING:
    from linkbell_collector.store.postgresql import PostgresStore

    StoreOfAnyKind = SqliteStore | PostgresStore


async def open_store(settings: Settings, clock: Clock) -> "StoreOfAnyKind":
    """Open the store, made and migrated if need be. Raises ``RefusedError`` with what to do."""
    limits = WriterLimits(settings.max_waiting_records, settings.max_commit_records)
    if settings.database is not None:
        # Late: most collectors run on SQLite and need not load asyncpg.
        from linkbell_collector.store.postgresql import PostgresStore

        return await PostgresStore.open(settings.database, limits, clock, settings.retention)
    return await SqliteStore.open(database_of(settings), limits, clock, settings.retention)


async def backup(settings: Settings, file: Path, tell: Tell, *, replace: bool) -> Copied:
    """Copy the database into ``file``. Raises ``CollectorError``."""
    if settings.database is None:
        return await asyncio.to_thread(copies.backup_sqlite, database_of(settings), file, tell, replace=replace)
    from linkbell_collector.store import postgresql_copies  # late, as above

    return await postgresql_copies.backup(settings.database, file, tell, replace=replace)


async def restore(settings: Settings, file: Path, tell: Tell, *, replace: bool) -> Copied:
    """Put a backup in place of the database. Raises ``CollectorError``; then nothing has changed."""
    if settings.database is None:
        return await asyncio.to_thread(copies.restore_sqlite, file, database_of(settings), tell, replace=replace)
    from linkbell_collector.store import postgresql_copies  # late, as above

    with copies.readable(file) as source:
        return await postgresql_copies.fill(source, settings.database, tell, replace=replace)


async def move(settings: Settings, url: DatabaseUrl, tell: Tell, *, replace: bool) -> Copied:
    """Copy everything from SQLite to PostgreSQL while no collector serves. Raises ``CollectorError``."""
    from linkbell_collector.store import postgresql_copies  # late, as above

    with FolderLock(settings.data), copies.readable(database_of(settings).path) as source:
        return await postgresql_copies.fill(source, url, tell, replace=replace)


def build(settings: Settings, *, clock: Clock | None = None) -> "Application":
    """Return the collector, not yet started."""
    return Application(settings, clock or folder_clock.clock_of(settings.data, SystemClock()))


class Application:
    """The whole collector: :meth:`start`, use :attr:`port`, :meth:`stop`."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._stack = AsyncExitStack()
        self.host = settings.listen.host
        self.port = settings.listen.port
        self.data_folder = settings.data
        self._registry: Registry | None = None

    @property
    def registry(self) -> Registry:
        """Schools and agents, once started."""
        assert self._registry is not None
        return self._registry

    @property
    def url(self) -> str:
        """Where it listens, once started."""
        return f"http://{bracketed(self.host)}:{self.port}"

    async def start(self) -> None:
        """Check the database, rebuild live state, listen. Raises ``RefusedError``; then nothing is left running."""
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def stop(self) -> None:
        """Stop listening, answer open requests, commit what is queued. Takes ``shutdown_s`` at most, and a commit."""
        await self._stack.aclose()

    async def _start(self) -> None:
        settings, clock = self._settings, self._clock
        self._stack.enter_context(FolderLock(settings.data))
        store = await open_store(settings, clock)
        self._stack.push_async_callback(store.close)
        await store.claim()
        live = LiveState()
        keep_s = max(settings.lifetimes.reading_ttl_s, settings.speed_ttl_s)
        registry = Registry(store, live, clock, settings.defaults, keep_s)
        await registry.load()
        folder_clock.refuse_real_schools(clock, registry.directory)
        self._registry = registry
        watcher = asyncio.create_task(registry.watch(), name="registry-watch")
        self._stack.push_async_callback(_cancel, watcher)
        keeper = asyncio.create_task(Keeper(store, clock).watch(), name="keeper")
        self._stack.push_async_callback(_cancel, keeper)
        web_application = self._web_application(store, registry, live)
        await self._listen(web_application)

    def _web_application(self, store: "StoreOfAnyKind", registry: Registry, live: LiveState) -> web.Application:
        settings, clock = self._settings, self._clock
        telemetry, trouble, pages = Telemetry(CollectorRegistry()), Trouble(clock), Pages()

        def committed(group: Group) -> None:
            telemetry.commit(group.records, group.duration_s, failed=group.error is not None)
            trouble.commit(group.error)

        store.observe(committed)
        _watch_gauges(telemetry, settings, store, registry, live)
        services = Services(settings, clock, store, registry, Ingest(store, registry, live), telemetry)
        observed = Observed(clock, store, registry, live, settings.lifetimes, telemetry)
        application = web.Application(
            middlewares=[error_middleware(pages, telemetry)], client_max_size=settings.max_body_bytes
        )
        application.on_response_prepare.append(security.add_headers)
        application.add_routes(AgentApi(services).routes())
        application.add_routes(Operations(observed, trouble).routes())
        application.add_routes(Site(observed, pages).routes())
        return application

    async def _listen(self, application: web.Application) -> None:
        runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=self._settings.shutdown_s,
            auto_decompress=False,  # see http/compression.py
        )
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        listener = _bind(self.host, self.port)
        self.port = listener.getsockname()[1]
        await web.SockSite(runner, listener, backlog=BACKLOG).start()


async def run(settings: Settings) -> None:
    """Run the collector until SIGTERM or SIGINT. Raises ``RefusedError`` if it cannot start."""
    application = build(settings)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await application.start()
    _calm_garbage_collector()
    print(f"listening on {application.url}", flush=True)
    await stopped.wait()
    log.info("stopping: open requests are answered and what is queued is written")
    await application.stop()


def _calm_garbage_collector() -> None:
    """Leave what was made at start out of every collection, and collect less often: a tenth of the time (measured).

    Requests leave hardly any cycles; what there is to free is freed by reference count.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _watch_gauges(
    telemetry: Telemetry, settings: Settings, store: "StoreOfAnyKind", registry: Registry, live: LiveState
) -> None:
    telemetry.watch("linkbell_collector_queue_records", "Records waiting for a commit.", lambda: store.waiting)
    telemetry.watch(
        "linkbell_collector_queue_limit_records",
        "Records that may wait for a commit; more are answered 503.",
        lambda: settings.max_waiting_records,
    )
    telemetry.watch("linkbell_collector_live_schools", "Approved schools.", lambda: live.school_count)
    telemetry.watch("linkbell_collector_live_series", "Series held in live state.", lambda: live.series_count)
    telemetry.watch(
        "linkbell_collector_live_series_refused",
        "Records left out of live state since the start, because their school has too many series.",
        lambda: live.refused_series,
    )
    telemetry.watch(
        "linkbell_collector_unreadable_records",
        "Stored records left out of live state since the start, because they cannot be read.",
        lambda: store.unreadable,
    )
    telemetry.watch(
        "linkbell_collector_pending_agents", "Agents that wait for approval.", lambda: registry.pending_agents
    )


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from error
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> RefusedError:
    return RefusedError(
        f"cannot listen on {bracketed(host)}:{port}: {error.strerror or error}",
        "if another program uses the port (ss -ltnp shows which), stop it or choose another with --listen HOST:PORT",
    )


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])

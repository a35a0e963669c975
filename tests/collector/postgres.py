"""A real PostgreSQL server of the tests' own: a fresh cluster in a temporary folder, on a free port."""

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
from tools.test_needs import PLACES

from linkbell_collector.values import DatabaseUrl

PASSWORD = "a secret%/of the tests"
_QUOTED = "a%20secret%25%2Fof%20the%20tests"
START_S = 30.0


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *PLACES]))
    assert found is not None, f"{name} is not installed: apt-get install postgresql (make test does)"
    return found


class PostgresServer:
    """One server. Run by root, it runs as ``nobody``: PostgreSQL refuses to be root."""

    def __init__(self, settings: tuple[str, ...] = ()) -> None:
        self._settings = settings
        self._folder = Path(tempfile.mkdtemp(prefix="linkbell-postgres-"))
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
            self._as_user = [
                program("setpriv"), f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"
            ]  # fmt: skip
        password = self._folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        initdb = [program("initdb"), "-D", str(self._data), "-U", "linkbell", "-A", "scram-sha-256", "--no-sync"]
        command = [*self._as_user, *initdb, "-E", "UTF8", "--locale=C", f"--pwfile={password}"]
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = ["listen_addresses=127.0.0.1", f"port={self.port}", f"unix_socket_directories={self._folder}"]
        flags = [word for option in (*options, "timezone=UTC", *self._settings) for word in ("-c", option)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as_user, program("postgres"), "-D", str(self._data), *flags],
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        until = time.monotonic() + START_S
        while subprocess.run(
            [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False
        ).returncode:
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < until, self.log()
            time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT closes all connections, SIGQUIT is as sudden as a server of PostgreSQL's gets."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(timeout=30)

    def log(self) -> str:
        """Return what it logged."""
        return (self._folder / "log").read_text(errors="replace")

    def remove(self) -> None:
        """Stop it and remove its folder."""
        if self._process is not None and self._process.poll() is None:
            self.stop()
        shutil.rmtree(self._folder)

    def url(self, database: str) -> DatabaseUrl:
        """Return the address of a database."""
        return DatabaseUrl(f"postgresql://linkbell:{_QUOTED}@127.0.0.1:{self.port}/{database}")

    def new_database(self) -> DatabaseUrl:
        """Make an empty database."""
        name = f"t{uuid4().hex}"
        self.run("postgres", f"CREATE DATABASE {name}")
        return self.url(name)

    def run(self, database: str, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        return fetch(self.url(database), statement)


def fetch(url: DatabaseUrl, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement on a database and return its rows."""

    async def session() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(url.secret)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    # In a thread, so that it also works inside a test that has a loop.
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, session()).result()

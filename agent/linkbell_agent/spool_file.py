"""The spool's part on disk: a bounded SQLite file that holds records from before the last start, or from an outage.

Synchronous, and used from one thread at a time. A file that cannot be read is set aside, never deleted and never a
reason not to start.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    seq INTEGER NOT NULL,
    worth INTEGER NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (stream, seq)
);
CREATE INDEX IF NOT EXISTS records_by_worth ON records (worth, id);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_FORMAT = 1


class SpoolFileError(Exception):
    """The file could not be written: disk full, read-only, gone. What was in it before is still there."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """One record as it waits. ``worth`` is higher for what must be kept longer; ``body`` is its JSON."""

    stream: str
    seq: int
    worth: int
    body: str


class SpoolFile:
    """Records that survive a power cut. ``set_aside`` names a damaged predecessor, if one was found at opening."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.set_aside: Path | None = None
        try:
            self._database = self._open()
        except sqlite3.DatabaseError as error:
            if _is_about_space(error):
                raise SpoolFileError(str(error)) from error
            self.set_aside = self._move_away()
            self._database = self._open()
        self._length = int(self._database.execute("SELECT count(*) FROM records").fetchone()[0])

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            verdict = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise sqlite3.DatabaseError(f"quick_check: {verdict}")
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _FORMAT):
                raise sqlite3.DatabaseError(f"format {version} is not {_FORMAT}")
            database.executescript(_SCHEMA)
            database.execute(f"PRAGMA user_version = {_FORMAT}")
        except BaseException:
            database.close()
            raise
        self._path.chmod(0o600)
        return database

    def _move_away(self) -> Path:
        """Rename the damaged file and its companions, so that someone may still look at them."""
        number = 1
        while (target := self._path.with_name(f"{self._path.name}.damaged-{number}")).exists():
            number += 1
        for suffix in ("-wal", "-shm"):
            companion = self._path.with_name(self._path.name + suffix)
            if companion.exists():
                companion.rename(target.with_name(target.name + suffix))
        return self._path.rename(target)

    def insert(self, records: Iterable[StoredRecord]) -> None:
        """Store ``records``, on disk when this returns, or none of them. Raises :class:`SpoolFileError`."""
        with self._transaction() as database:
            added = database.executemany(
                "INSERT OR IGNORE INTO records (stream, seq, worth, body) VALUES (?, ?, ?, ?)",
                [(record.stream, record.seq, record.worth, record.body) for record in records],
            ).rowcount
        self._length += added

    def oldest(self, limit: int) -> list[StoredRecord]:
        """Return the first waiting records, all of one stream, in order. Raises :class:`SpoolFileError`."""
        try:
            rows = self._database.execute(
                "SELECT stream, seq, worth, body FROM records"
                " WHERE stream = (SELECT stream FROM records ORDER BY id LIMIT 1) ORDER BY id LIMIT ?",
                (limit,),
            )
            return [StoredRecord(*row) for row in rows]
        except sqlite3.Error as error:
            raise SpoolFileError(str(error)) from error

    def delete(self, stream: str, seqs: Sequence[int]) -> None:
        """Forget settled records. Raises :class:`SpoolFileError`."""
        with self._transaction() as database:
            gone = database.executemany(
                "DELETE FROM records WHERE stream = ? AND seq = ?", [(stream, seq) for seq in seqs]
            ).rowcount
        self._length -= gone

    def drop_least(self, count: int) -> int:
        """Give up ``count`` records, least worth first, oldest first; count them. Return how many went."""
        with self._transaction() as database:
            gone = database.execute(
                "DELETE FROM records WHERE id IN (SELECT id FROM records ORDER BY worth, id LIMIT ?)", (count,)
            ).rowcount
            self._add(database, "dropped", gone)
        self._length -= gone
        return gone

    def add_to_counter(self, name: str, amount: int) -> None:
        """Add to a counter that lives as long as the installation. Raises :class:`SpoolFileError`."""
        with self._transaction() as database:
            self._add(database, name, amount)

    def counter(self, name: str) -> int:
        """Return the value of a counter, 0 if it was never added to."""
        row = self._database.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
        return 0 if row is None else int(row[0])

    def __len__(self) -> int:
        return self._length

    def close(self) -> None:
        """Close the file; everything stored stays."""
        self._database.close()

    @staticmethod
    def _add(database: sqlite3.Connection, name: str, amount: int) -> None:
        database.execute(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, amount),
        )

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._database)


class _Transaction:
    """BEGIN IMMEDIATE … COMMIT, with SQLite's errors translated."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._database.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise SpoolFileError(str(error)) from error
        return self._database

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                self._database.execute("COMMIT")
        except sqlite3.Error as failure:
            error = failure
        if error is not None:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise SpoolFileError(str(error)) from error


def _is_about_space(error: sqlite3.DatabaseError) -> bool:
    """Full disk, no permission, read-only: the file is not damaged and must not be moved."""
    name = getattr(error, "sqlite_errorname", "")
    return name.startswith(
        ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_IOERR", "SQLITE_BUSY")
    )

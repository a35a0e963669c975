"""The spool's part on disk: a bounded SQLite file that holds records from before the last start, or from an outage.

Synchronous, and used from one thread. A file that cannot be read is set aside, never deleted and never a reason not
to start.
"""

import contextlib
import logging
import os
import sqlite3
import zlib
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from linkbell_agent.slim import dataclass

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    seq INTEGER NOT NULL,
    worth INTEGER NOT NULL,
    body TEXT NOT NULL,
    checksum INTEGER,
    UNIQUE (stream, seq)
);
CREATE INDEX IF NOT EXISTS records_by_worth ON records (worth, id);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS owner (agent TEXT NOT NULL);
"""
_FROM_FORMAT_1 = """
BEGIN;
ALTER TABLE records ADD COLUMN checksum INTEGER;
CREATE TABLE owner (agent TEXT NOT NULL);
PRAGMA user_version = 2;
COMMIT;
"""
_FORMAT = 2
_WAL_BYTES = 1 << 20


class SpoolFileError(Exception):
    """The file cannot be used now: disk full, read-only, gone. What was in it before is still there."""


class SpoolDamagedError(SpoolFileError):
    """The file turned out to be damaged while in use: opened anew, it is looked through and set aside."""


class _DamagedError(Exception):
    """The file is no spool, or not one this version can read. ``suffix`` is for the name it is set aside under."""

    def __init__(self, suffix: str = "damaged") -> None:
        super().__init__(suffix)
        self.suffix = suffix


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """One record as it waits. ``worth`` is higher for what must be kept longer; ``body`` is its JSON.

    ``id`` orders what is on disk; it is 0 for a record that is not.
    """

    stream: str
    seq: int
    worth: int
    body: str
    id: int = 0


class SpoolFile:
    """Records that survive a power cut. ``set_aside`` names an unreadable predecessor, if one was found at opening.

    ``counters`` live as long as the installation. Opening raises :class:`SpoolFileError`.

    What was settled in order of ``id`` is at first only passed over, and deleted by the thousand: row by row it would
    cost the flash ten times as much. After a kill it is sent again, which is harmless.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.set_aside: Path | None = None
        self.set_aside_records: int | None = None
        """How many records lie in it, None if that cannot be read either."""
        self._passed_id = 0
        self.passed = 0
        """How many records are settled and still in the file."""
        try:
            try:
                self._database = self._open()
            except _DamagedError as damage:
                self.set_aside = self._move_away(damage.suffix)
                self.set_aside_records = _count(self.set_aside)
                self._database = self._open()
            self._look()
        except (sqlite3.Error, OSError, _DamagedError) as error:
            raise SpoolFileError(str(error)) from error

    def _look(self) -> None:
        self._length = int(self._database.execute("SELECT count(*) FROM records").fetchone()[0])
        self.counters: dict[str, int] = dict(self._database.execute("SELECT name, value FROM counters"))
        row = self._database.execute("SELECT agent FROM owner").fetchone()
        self.owner: str | None = None if row is None else str(row[0])
        """The agent whose records these are; None before it has enrolled."""

    def hand_over(self, agent: str) -> Path | None:
        """Belong to ``agent`` from now on. What waits for another one is set aside; returns where, None if nothing is.

        Records of before the first enrolment are the first agent's. Raises :class:`SpoolFileError`.
        """
        if self.owner == agent:
            return None
        moved = None
        self.forget_passed()
        try:
            if self.owner is not None and self._length:
                self._database.close()
                moved = self._move_away(f"of-{self.owner}")
                self._database = self._open()
            with self._transaction() as database:
                if self.owner is not None:
                    database.execute("DELETE FROM counters")  # another agent's
                database.execute("DELETE FROM owner")
                database.execute("INSERT INTO owner VALUES (?)", (agent,))
            self._look()
        except (sqlite3.Error, OSError, _DamagedError) as error:
            raise SpoolFileError(str(error)) from error
        return moved

    def _open(self) -> sqlite3.Connection:
        # Made by us and not by SQLite: its companions take over the mode, and records are nobody else's business.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._path.chmod(0o600)
        database = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
        try:
            _prepare(database)
        except sqlite3.DatabaseError as error:
            database.close()
            if _is_damage(error):
                raise _DamagedError from error
            raise
        except BaseException:
            database.close()
            raise
        return database

    def _move_away(self, suffix: str) -> Path:
        """Rename the unreadable file and its companions, so that someone may still look at them."""
        number = 1
        while (target := self._path.with_name(f"{self._path.name}.{suffix}-{number}")).exists():
            number += 1
        for companion in ("-wal", "-shm"):
            beside = self._path.with_name(self._path.name + companion)
            if beside.exists():
                beside.rename(target.with_name(target.name + companion))
        return self._path.rename(target)

    def insert(self, records: Sequence[StoredRecord], *, keep_at_most: int) -> int:
        """Store ``records``, on disk when this returns, or none of them.

        Past ``keep_at_most`` in all, the least worth go, oldest first, and are counted as ``dropped``. Returns how
        many went. Raises :class:`SpoolFileError`.
        """
        self.forget_passed()  # what is settled is not to be counted as dropped
        with self._transaction() as database:
            added = database.executemany(
                "INSERT OR IGNORE INTO records (stream, seq, worth, body, checksum) VALUES (?, ?, ?, ?, ?)",
                [(record.stream, record.seq, record.worth, record.body, _checksum(record)) for record in records],
            ).rowcount
            excess = max(0, self._length + added - keep_at_most)
            if excess:
                database.execute(
                    "DELETE FROM records WHERE id IN (SELECT id FROM records ORDER BY worth, id LIMIT ?)", (excess,)
                )
                _add(database, "dropped", excess)
        self._length += added - excess
        if excess:
            self.counters["dropped"] = self.counters.get("dropped", 0) + excess
        return excess

    def oldest(self, limit: int) -> list[StoredRecord]:
        """Return the first records not passed yet, all of one stream. Raises :class:`SpoolFileError`."""
        return self._of_one_stream("id > ? ORDER BY id LIMIT ?", self._passed_id, limit)

    def newest(self, limit: int) -> list[StoredRecord]:
        """Return the last records, all of one stream. Raises :class:`SpoolFileError`."""
        return self._of_one_stream("id > ? ORDER BY id DESC LIMIT ?", self._passed_id, limit)[::-1]

    def newest_of_worth(self, limit: int) -> list[StoredRecord]:
        """Return the records worth most, of those the newest, all of one stream. Raises :class:`SpoolFileError`."""
        newest = self._of_one_stream(
            "worth > 0 AND id > ? ORDER BY worth DESC, id DESC LIMIT ?", self._passed_id, limit
        )
        return newest[::-1]

    def _of_one_stream(self, condition: str, *values: int) -> list[StoredRecord]:
        """Return the rows up to where the stream changes: to filter by stream might read all of a long table."""
        try:
            rows = self._database.execute(
                "SELECT CAST(stream AS BLOB), seq, worth, CAST(body AS BLOB), id, checksum"  # noqa: S608 - constants
                f" FROM records WHERE {condition}",
                values,
            ).fetchall()
        except sqlite3.Error as error:
            raise _translated(error) from error
        read = [(row[4], _whole(*row)) for row in rows]
        self._give_up([row_id for row_id, record in read if record is None])
        whole = [record for _, record in read if record is not None]
        return list(takewhile(lambda record: record.stream == whole[0].stream, whole))

    def _give_up(self, broken: Sequence[int]) -> None:
        """Delete rows whose content a bad card has changed, and count them: one would spoil every batch it is in."""
        if not broken:
            return
        log.error("%d results in the spool are no longer what was written there: they are given up", len(broken))
        try:
            with self._transaction() as database:
                database.executemany("DELETE FROM records WHERE id = ?", [(row_id,) for row_id in broken])
                _add(database, "dropped", len(broken))
        except SpoolFileError:
            return  # not now; they are left out every time they are read
        self._length -= len(broken)
        self.counters["dropped"] = self.counters.get("dropped", 0) + len(broken)

    def pass_over(self, through_id: int, count: int) -> None:
        """Forget in memory what :meth:`oldest` gave: ``count`` records, the last of them ``through_id``."""
        self._passed_id = max(self._passed_id, through_id)
        self.passed += count

    def forget_passed(self) -> None:
        """Delete what was passed over. Raises :class:`SpoolFileError`; it stays passed over then."""
        if not self.passed:
            return
        with self._transaction() as database:
            gone = database.execute("DELETE FROM records WHERE id <= ?", (self._passed_id,)).rowcount
        self._length -= gone
        self._passed_id = self.passed = 0

    def delete(self, stream: str, seqs: Sequence[int]) -> None:
        """Forget settled records. Raises :class:`SpoolFileError`."""
        with self._transaction() as database:
            gone = database.executemany(
                "DELETE FROM records WHERE stream = ? AND seq = ?", [(stream, seq) for seq in seqs]
            ).rowcount
        self._length -= gone

    def add_to_counter(self, name: str, amount: int) -> None:
        """Add on disk to a counter that lives as long as the installation. Raises :class:`SpoolFileError`.

        Whoever calls adds to ``counters`` as well, at the moment from which it is to be seen.
        """
        with self._transaction() as database:
            _add(database, name, amount)

    def __len__(self) -> int:
        return max(0, self._length - self.passed)

    def close(self) -> None:
        """Close the file; everything stored stays."""
        self._database.close()

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
            raise _translated(error) from error
        return self._database

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                self._database.execute("COMMIT")
        except sqlite3.Error as failure:
            error = failure
        if error is not None:
            if self._database.in_transaction:
                with contextlib.suppress(sqlite3.Error):  # a damaged file may refuse even that
                    self._database.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise _translated(error) from error


def _prepare(database: sqlite3.Connection) -> None:
    """Set the connection up, see that the file is whole, and make the tables of a new one."""
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    if database.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
        raise _DamagedError
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version == 1:
        database.executescript(_FROM_FORMAT_1)
        version = 2
    if version not in (0, _FORMAT):
        # A newer version's, after a step back: it may take up again what is in it.
        raise _DamagedError(f"format-{version}")
    if version == 0:
        database.executescript(_SCHEMA)
        database.execute(f"PRAGMA user_version = {_FORMAT}")


def _count(damaged: Path) -> int | None:
    """Return how many records a file holds that is not to be relied on."""
    try:
        with contextlib.closing(sqlite3.connect(f"{damaged.absolute().as_uri()}?mode=ro", uri=True)) as database:
            return int(database.execute("SELECT count(*) FROM records").fetchone()[0])
    except sqlite3.Error:
        return None


def _checksum(record: StoredRecord) -> int:
    return zlib.crc32(f"{record.stream}/{record.seq}/{record.body}".encode())


def _whole(
    stream: object, seq: object, worth: object, body: object, row_id: int, checksum: object
) -> StoredRecord | None:
    """Return a row as a record, None if it is not what was written. One of format 1 has no checksum."""
    if not (isinstance(stream, bytes) and isinstance(seq, int) and isinstance(worth, int) and isinstance(body, bytes)):
        return None
    try:
        record = StoredRecord(stream.decode(), seq, worth, body.decode(), row_id)
    except UnicodeDecodeError:
        return None
    return record if checksum is None or checksum == _checksum(record) else None


def _add(database: sqlite3.Connection, name: str, amount: int) -> None:
    database.execute(
        "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        (name, amount),
    )


_TROUBLE = (
    "SQLITE_FULL",
    "SQLITE_NOMEM",
    "SQLITE_LOCKED",
    "SQLITE_READONLY",
    "SQLITE_CANTOPEN",
    "SQLITE_PERM",
    "SQLITE_BUSY",
    "SQLITE_IOERR",
)
_BAD_SECTOR = ("SQLITE_IOERR_READ", "SQLITE_IOERR_SHORT_READ", "SQLITE_IOERR_CORRUPTFS")


def _translated(error: sqlite3.Error) -> SpoolFileError:
    damaged = isinstance(error, sqlite3.DatabaseError) and _is_damage(error)
    return SpoolDamagedError(str(error)) if damaged else SpoolFileError(str(error))


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Tell a damaged file, which is set aside, from one that cannot be used at this moment."""
    name = getattr(error, "sqlite_errorname", "")
    return name.startswith(_BAD_SECTOR) or not name.startswith(_TROUBLE)

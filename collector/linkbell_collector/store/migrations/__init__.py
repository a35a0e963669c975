"""Brings a database to the newest schema, once, in order, in one transaction."""

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from linkbell_collector.errors import RefusedError
from linkbell_collector.store import schema

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

_FOLDER = Path(__file__).parent


def migrate(connection: sa.Connection) -> None:
    """Apply what is missing, inside the transaction the caller has begun (and holds the write lock with).

    Raises :class:`RefusedError` for a database made by a newer version: nothing is changed then.
    """
    current = _current(connection)
    if current == schema.HEAD:
        return
    # Alembic takes long to import, and most starts have nothing to do.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    configuration = Config()
    configuration.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    if current is not None and current not in _known(ScriptDirectory.from_config(configuration)):
        raise RefusedError(
            f"the database is of a newer version of the collector (its schema is {current!r}; this one knows up to "
            f"{schema.HEAD!r})",
            "update linkbell-collector, or restore the backup that was made before the update",
        )
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, "head")


def _current(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return version


def _known(scripts: "ScriptDirectory") -> set[str]:
    return {script.revision for script in scripts.walk_revisions()}

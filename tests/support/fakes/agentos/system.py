"""An AgentOS without its server: its version, its databases, and its agents, teams and workflows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from .parameters import Refused
from .store import Database, Table

Version = Literal["3.1.10", "2.5.6"]
ONE_TABLE: Mapping[str, Sequence[str]] = {"main": ("agno_sessions",)}
TWO_TABLES: Mapping[str, Sequence[str]] = {"main": ("agno_sessions", "other_sessions")}
"""The databases. The second one is that of the agent `archivist`."""


class System:
    """An AgentOS. `databases` are the session tables of each; a request without a database uses the only one."""

    def __init__(
        self,
        version: Version,
        databases: Mapping[str, Sequence[str]],
        security_key: str,
        now: Callable[[], float],
        *,
        shuffles_ties: bool,
        database: Database,
    ) -> None:
        self.version = version
        self.newer = version == "3.1.10"
        self.security_key = security_key
        self.database: Database = database
        self.now = now
        self._databases = {
            db_id: [
                Table(name, newer=self.newer, now=now, shuffles_ties=shuffles_ties, database=database) for name in names
            ]
            for db_id, names in databases.items()
        }
        others = [table for table in self.tables if table.name == "other_sessions"]
        self._others = dict(zip(["archivist"], others, strict=False))
        self.components = {"agent": ("planner", *self._others), "team": ("crew",), "workflow": ("pipeline",)}

    @property
    def tables(self) -> list[Table]:
        return [table for tables in self._databases.values() for table in tables]

    def component_table(self, type: str, component_id: str) -> Table | None:
        """Return the table in which a registered component keeps its sessions."""
        registered = component_id in self.components[type]
        return self._others.get(component_id, self.tables[0]) if registered else None

    def table(self, db_id: str | None, name: str | None, *, heeds_table: bool = True) -> Table:
        if not heeds_table:
            name = None
        if name and not db_id:
            raise Refused(400, "The db_id query parameter is required when passing a table")
        if not db_id:
            if len(self._databases) > 1:
                raise Refused(400, "The db_id query parameter is required when using multiple databases")
            return self.tables[0]
        if db_id not in self._databases:
            raise Refused(404, f"No database found with id '{db_id}'")
        for table in self._databases[db_id]:
            if not name or table.name == name:
                return table
        raise Refused(404, f"No database with id '{db_id}' has table '{name}'")

    def close(self) -> None:
        for table in self.tables:
            table.connection.close()

"""`sqlite3` on files of the workspace: the database is in memory, read when it is connected to and
written at a commit, a close and the end of the call."""

import os
import sqlite3
import weakref

from . import workspace

real_connect = sqlite3.connect
connections = weakref.WeakSet()


class Connection(sqlite3.Connection):
    """A connection to a file of the workspace."""

    def __init__(self, database, *arguments, **options):
        self.path = None
        name = os.fspath(database)
        name = name.decode() if isinstance(name, bytes) else name
        if options.get("uri") and name.startswith("file:"):
            name = name.removeprefix("file:").partition("?")[0]
        super().__init__(":memory:", *arguments, **options)
        if name in ("", ":memory:"):
            return
        self.path = f"/{workspace.resolve(name)}"
        try:
            data = workspace.read(self.path)
        except FileNotFoundError:
            data = b""
        if data:
            self.deserialize(data)
        self.saved = self.state()
        connections.add(self)

    def commit(self):
        super().commit()
        self.save()

    def __exit__(self, *raised):
        try:
            return super().__exit__(*raised)
        finally:
            self.save()

    def close(self):
        if self.path is not None:
            self.save()
            self.path = None
        super().close()

    def state(self):
        """Differs where something has changed."""
        cursor = sqlite3.Cursor(self)
        cursor.row_factory = None
        return self.total_changes, cursor.execute("PRAGMA schema_version").fetchone()[0]

    def save(self):
        """Writes what is committed, where anything has changed."""
        if self.path is None or self.in_transaction:
            return
        state = self.state()
        if state != self.saved:
            workspace.write(self.path, self.serialize())
            self.saved = state


def connect(database, *arguments, **options):
    options.setdefault("factory", Connection)
    return real_connect(database, *arguments, **options)


def install() -> None:
    sqlite3.connect = sqlite3.dbapi2.connect = connect


def end() -> None:
    for connection in list(connections):
        try:
            connection.save()
        except sqlite3.ProgrammingError:
            pass

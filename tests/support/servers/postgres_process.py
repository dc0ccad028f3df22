"""A real PostgreSQL in processes of its own, from the programs that MCP_SESSIONS_POSTGRES leads to."""

import atexit
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from signal import SIGINT, SIGQUIT, Signals
from tempfile import mkdtemp
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import pytest

VARIABLE = "MCP_SESSIONS_POSTGRES"
"""The folder with the programs `initdb` and `postgres`, as `.ci/postgres` finds it."""

_START_SECONDS = 60
_OWNERS = ("postgres", "nobody")
_numbers = count(1)


def is_installed() -> bool:
    return bool(os.environ.get(VARIABLE))


def _program(name: str) -> str:
    return str(Path(os.environ[VARIABLE]).expanduser() / name)


def _owner() -> str | None:
    """Return the user to run PostgreSQL as, since it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _OWNERS if name in names)


@dataclass
class Postgres:
    """A server on a free port of this machine. Its superuser is `postgres`, with the password `secret`."""

    folder: Path
    port: int
    options: Sequence[str] = ()
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def url(self, database: str = "postgres", user: str = "postgres", password: str = "secret", **query: str) -> str:
        who = f"{quote(user, safe='')}:{quote(password, safe='')}"
        asked = f"?{urlencode(query)}" if query else ""
        return f"postgresql://{who}@127.0.0.1:{self.port}/{quote(database)}{asked}"

    def connect(self, database: str = "postgres") -> "psycopg.Connection[tuple[Any, ...]]":
        """Return a connection of another program in autocommit mode, which the caller closes."""
        return psycopg.connect(self.url(database), autocommit=True)

    def sql(self, statement: str, *parameters: object, database: str = "postgres") -> list[tuple[Any, ...]]:
        with closing(self.connect(database)) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def database(self) -> str:
        """Create an empty database, and return its name."""
        name = f"test{next(_numbers)}_{os.getpid()}"
        self.sql(f"CREATE DATABASE {name}")
        return name

    def start(self) -> None:
        """Start the server, and wait until it accepts connections. If it doesn't, the test run ends."""
        with (self.folder / "log").open("ab") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                [_program("postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *self.options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                user=_owner(),
            )
        self._process = process
        ready = [_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "1"]
        for _ in range(_START_SECONDS * 20):
            if subprocess.run(ready).returncode == 0:
                return
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            break
        pytest.exit(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()}", returncode=1)

    def send(self, number: Signals) -> None:
        """Send a signal to the process that accepts connections, and starts a process for each."""
        assert self._process is not None
        self._process.send_signal(number)

    def send_to(self, pid: int, number: Signals) -> None:
        """Send a signal to the process that serves one connection."""
        os.kill(pid, number)

    def stop(self, how: Signals = SIGINT) -> None:
        """Stop the server. SIGINT ends connections and shuts down; SIGQUIT and SIGKILL end it like a crash."""
        self.send(how)
        assert self._process is not None
        self._process.wait(_START_SECONDS)

    def remove(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop(SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)


def started(*options: str) -> Postgres:
    """Return a new server, which the caller removes. `options` are those of `postgres`."""
    folder = Path(mkdtemp(prefix="postgres-"))
    password = folder / "password"
    password.write_text("secret")
    owner = _owner()
    if owner:
        for path in (folder, password):
            shutil.chown(path, owner)
    command = [
        *(_program("initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "scram-sha-256", "--no-sync"),
        *("--pwfile", str(password), "-E", "UTF8", "--locale", "C.UTF-8"),
    ]
    try:
        made = subprocess.run(command, capture_output=True, text=True, cwd=folder, user=owner)
    except OSError as error:
        pytest.exit(f"PostgreSQL can't be started: {error}", returncode=1)
    if made.returncode:
        pytest.exit(f"PostgreSQL's initdb failed:\n{made.stdout}{made.stderr}", returncode=1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    where = ("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=")
    server = Postgres(folder, port, (*where, *options))
    server.start()
    return server


@cache
def running() -> Postgres:
    """Return the server of the whole test process, which no test may stop. A crash of the machine may lose its data."""
    server = started("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=300")
    atexit.register(server.remove)
    return server

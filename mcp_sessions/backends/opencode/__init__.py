"""Backends for opencode: the REST API of a running server (`opencode serve`), and its database on this machine."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from platformdirs import user_data_dir

from ...errors import Invalid
from ..backend_type import BackendType, OpenContext
from ..environment import CERTIFICATES, DATA_FOLDER, PROXIES, find_program, program_on_path
from ..options import KEEP_DELETED, BackendOptions, HttpOptions, Option, refuse_other_options

if TYPE_CHECKING:  # so that the command line can read the options without loading pydantic
    from ..base import SessionBackend
    from .backend import OpencodeBackend
    from .server_process import ServerProcess

_DATABASE = ("opencode", "opencode.db")
_CONCURRENCY = 16
"""Each change that gets no answer holds a connection. More than there are tools that change leave some for reads."""


COMMAND = Option("", "PROGRAM", "the opencode that makes changes; by default the one on the PATH", find_program)
DIRECTORY = Option("", "PATH", "the folder that new sessions work in, if not the one that the server runs in", str)
USERNAME = Option("opencode", "NAME", "the user name of the server, if OPENCODE_SERVER_USERNAME is set there", str)


@dataclass(frozen=True, kw_only=True)
class OpencodeOptions(HttpOptions):
    """The options of opencode."""

    keep_deleted: int = KEEP_DELETED.field()
    directory: str = DIRECTORY.field()
    username: str = USERNAME.field()


@dataclass(frozen=True, kw_only=True)
class OpencodeDatabaseOptions(BackendOptions):
    """The options of opencode's database."""

    keep_deleted: int = KEEP_DELETED.field()
    command: str = COMMAND.field()
    directory: str = DIRECTORY.field()


def open_opencode(url: str, options: OpencodeOptions, context: OpenContext) -> "SessionBackend":
    """Return the backend at `opencode+http://HOST:PORT` or `opencode+https:`. Raise `Invalid` for any other URL."""
    return _open_server(url, options, context, system="")


def _open_server(url: str, options: OpencodeOptions, context: OpenContext, *, system: str) -> "OpencodeBackend":
    """Return the backend for a server. `system` names the place of its deleted sessions, "" for its address."""
    from ..file_locks import FileLocks
    from ..http.client import HttpClient
    from ..http.credentials import configured_credential
    from ..http.urls import basic
    from ..session_locks import SessionLocks
    from .backend import OpencodeBackend
    from .deletion import trash_in

    if ":" in options.username or not (options.username.isascii() and options.username.isprintable()):
        raise Invalid("the option username in the backend's URL accepts visible ASCII characters, and no colon")
    address = url.removeprefix("opencode+")
    authorization = basic(options.username or USERNAME.default)
    http = HttpClient.for_options(
        address, options, context, system="opencode", authorization=authorization, concurrency=_CONCURRENCY
    )
    refuse_other_options(url, OpencodeOptions)
    folder = Path(context.data_folder or user_data_dir("mcp-sessions", appauthor=False))
    trash = trash_in(folder, system or http.address.replace("//localhost", "//127.0.0.1"), options.keep_deleted)
    # Several servers may share a database, so the locks are those of all of them. Ids of sessions are random.
    locks = SessionLocks(FileLocks(folder / "locks"), "opencode")
    credential = configured_credential(context)
    return OpencodeBackend(http, credential, options, locks, trash, folder, read_only=context.read_only)


def open_opencode_database(url: str, options: OpencodeDatabaseOptions, context: OpenContext) -> "SessionBackend":
    """Return the backend at `opencode:`, the user's own database, or `opencode:///PATH`, another file or folder.

    Raise `Invalid` for any other URL.
    """
    from .local_backend import LocalOpencodeBackend, LocalOpencodeReader

    path = os.fsdecode(unquote_to_bytes(url.removeprefix("opencode:").partition("?")[0]))
    if (path and not path.startswith("///")) or path == "///" or "\0" in path:
        raise Invalid("the URL of opencode's database must be opencode: or opencode:///PATH")
    refuse_other_options(url, OpencodeDatabaseOptions)
    database = _database_file(path.removeprefix("//"))
    command = options.command or program_on_path("opencode")
    # A server finds its database by the name. On Windows, we can't end the processes that it leaves running.
    if not command or context.read_only or database.parts[-2:] != _DATABASE or sys.platform == "win32":
        return LocalOpencodeReader(database, options)

    try:
        directory = options.directory or str(Path.cwd())
    except OSError as error:
        raise Invalid("the working folder does not exist any more. Name another one in the option directory") from error

    def connect(server: "ServerProcess") -> "OpencodeBackend":
        own = OpencodeOptions(timeout=options.timeout, directory=directory, keep_deleted=options.keep_deleted)
        given = OpenContext(token=server.password, data_folder=context.data_folder)
        return _open_server(f"opencode+{server.origin}", own, given, system=os.fspath(database))

    return LocalOpencodeBackend(database, options, command, connect)


def _database_file(path: str) -> Path:
    """Return the file at a path that begins with a slash, or in the folder there; the user's own for ""."""
    if path[2:3] == ":":  # /C:/Users/…
        path = path[1:]
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"  # opencode uses these on all systems
    try:
        found = Path(path or f"{data}/opencode").expanduser().absolute()
    except RuntimeError as error:
        raise Invalid("the user's home folder is not known. Name the database: opencode:///PATH") from error
    return found if found.suffix == ".db" else found / _DATABASE[1]


OPENCODE = BackendType(OpencodeOptions, open_opencode, (*DATA_FOLDER, *PROXIES))
OPENCODE_TLS = BackendType(OpencodeOptions, open_opencode, (*DATA_FOLDER, *CERTIFICATES, *PROXIES))
OPENCODE_DATABASE = BackendType(
    OpencodeDatabaseOptions, open_opencode_database, DATA_FOLDER, own_path=lambda: _database_file("")
)

"""What a backend's package declares: its options, and the function that opens it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from .environment import Variable
from .options import BackendOptions

if TYPE_CHECKING:
    from .base import SessionBackend

OptionsT = TypeVar("OptionsT", bound=BackendOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenContext:
    """What a backend is opened with besides its URL and options.

    `token`: the credential for the system, from the environment variable `token_variable`, which error messages name.
    `callers_have_credentials`: requests use each caller's own credential (`Caller.credential`), and never `token`.
    `read_only`: nothing will be changed, so entering the backend creates nothing.
    `data_folder`: the folder for the backend's own files; "" means the user's data folder.
    """

    token: str = field(default="", repr=False)
    token_variable: str = "MCP_SESSIONS_TOKEN"
    callers_have_credentials: bool = False
    read_only: bool = False
    data_folder: str = ""


@dataclass(frozen=True)
class BackendType(Generic[OptionsT]):
    """A kind of backend: its options, and the function that opens a backend for a URL without these options.

    `environment`: the environment variables that the backend reads in addition to the settings. `install_hint`: how to
    install its dependencies. `default_address`: the URL that a URL with nothing but a scheme stands for. `own_path`:
    returns the file or folder of this user that such a URL means, or raises `Invalid`.
    """

    options: type[OptionsT]
    open: "Callable[[str, OptionsT, OpenContext], SessionBackend]"
    environment: Sequence[Variable] = ()
    install_hint: str = ""
    default_address: str = ""
    own_path: Callable[[], Path] | None = None

"""The filter by project: it selects the sessions whose folder is the project's folder, or in it.

Folders are compared as text, since they may be folders of another machine. Links are not followed.
"""

import re
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from ..errors import Invalid, quoted
from ..models import SearchPage, SessionPage
from ..text.sanitize import clean
from ..text.validate import check_text

NO_PROJECTS = "The sessions of this backend have no project."
NO_SESSIONS = SessionPage(sessions=(), total=0, note=NO_PROJECTS)
"""The list of the sessions in a project, for a backend whose sessions have none."""
NO_HITS = SearchPage(hits=(), complete=True, note=NO_PROJECTS)
"""The hits of a search in a project, for a backend whose sessions have none."""

_LENGTH = 4096
_DEPTH = 64
_HOME = re.compile(r"^~(?=[\\/]|$)")
_WINDOWS = re.compile(r"[A-Za-z]:(?=[\\/]|$)|\\\\")
_LONG_PATH = "\\\\?\\"


def in_project(project: str) -> Callable[[str], bool]:
    """Return a function that tells whether a session's folder is in a project.

    If `project` is "", it returns True for every folder, and for a session without one (""). Raise `Invalid` if
    `project` is not the full path of a folder. `~` is the home folder of the user who runs this server.
    """
    parts = project_parts(project)

    @cache
    def is_in_project(folder: str) -> bool:
        return folder_parts(folder)[: len(parts)] == parts

    return is_in_project


def project_parts(project: str) -> tuple[str, ...]:
    """Return the parts of a filter's folder, () if it is "". Raise `Invalid` if it is not the full path of a folder."""
    if not check_text(project, "project", _LENGTH):
        return ()
    path = project
    with suppress(RuntimeError):  # the home folder is unknown
        path = _HOME.sub(lambda _: str(Path.home()), project)
    parts = folder_parts(path)
    if not parts or ".." in parts:
        raise Invalid(
            f'"project" must be the full path of a folder, such as "/home/ann/app" or "~/app", not {quoted(project)}.'
        )
    return parts


def folder_parts(folder: str) -> tuple[str, ...]:
    r"""Return `/` or `\` and then the names in the full path of a folder. Return () for any other text.

    Windows' paths, which begin with a drive or `\\`, are in lower case. At most 64 names are returned, since a path may
    be anything that somebody wrote into a session.
    """
    if not folder or len(folder) > _LENGTH:
        return ()
    path = unicodedata.normalize("NFC", clean(folder)).removeprefix(_LONG_PATH)
    if _WINDOWS.match(path):
        root, names = "\\", path.casefold().replace("\\", "/").split("/")
    elif path.startswith("/"):
        root, names = "/", path.split("/")
    else:
        return ()
    return (root, *[name for name in names if name not in ("", ".")][:_DEPTH])

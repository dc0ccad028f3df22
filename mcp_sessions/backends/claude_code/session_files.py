"""All files of a session."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ...errors import Unsupported
from .catalogue import Catalogue
from .subagents import agent_files


def session_files(catalogue: Catalogue, session_id: str) -> list[Path]:
    """Return the files of a session, each once: its transcripts, subagents, and outputs in files of their own.

    The transcript that is shown comes first. Our own copies are not among the files. Raise `NotFound` if there is no
    transcript, and `Unsupported` for links to folders.
    """
    catalogue = replace(catalogue, folder=replace(catalogue.folder, kept=None))
    found = [Path(catalogue.find(session_id).path), *map(Path, catalogue.folder.copies(session_id))]
    for project in catalogue.folder.project_folders():
        found += _files_in(Path(project) / session_id)
    found += [Path(file.path) for file in agent_files(catalogue, session_id)]
    # The folder of a project may be found twice, by a link to it. The file itself may be a link, which is not followed.
    by_place: dict[str, Path] = {}
    for path in found:
        by_place.setdefault(str(path.parent.resolve() / path.name), path)
    return list(by_place.values())


def _files_in(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and the folders in it. Raise `Unsupported` if one of these is a link."""
    if os.path.islink(folder):  # noqa: PTH114 - `Path.is_symlink` raises in a folder that can't be entered
        raise Unsupported("the folder of this session is a link, which is not followed. Move its files yourself.")
    for parent, folders, files in os.walk(folder):
        if any(os.path.islink(Path(parent, name)) for name in folders):  # noqa: PTH114 - as above
            raise Unsupported("the folder of this session has a link in it. Remove the link, then try again.")
        for name in files:
            yield Path(parent, name)

"""Fixtures: a system without facts of its own, and the file of an overlay."""

from pathlib import Path

import pytest

from .listed_backend import ListedBackend


@pytest.fixture
def overlay_path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "overlay.db"


@pytest.fixture
def listed() -> ListedBackend:
    backend = ListedBackend()
    for number, session_id in enumerate(("a", "b", "c")):
        backend.add(session_id, second=number, user_id="ann")
    return backend

"""Paths with non-ASCII characters in an ASCII locale."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def doctor(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mcp_sessions", "doctor", *arguments]
    return subprocess.run(command, env={**os.environ, **ASCII, **variables}, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
def test_a_path_in_a_url_is_the_same_in_every_locale(tmp_path: Path) -> None:
    folder = tmp_path / "café"
    folder.mkdir()
    ended = doctor("--backend", f"sqlite:///{quote(str(folder / 'Sitzungen für dich.db'))}")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "the first start creates it" in ended.stdout


@pytest.mark.slow
def test_a_default_path_is_found_in_every_locale(tmp_path: Path) -> None:
    ended = doctor(XDG_DATA_HOME=str(tmp_path / "données"))
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_path_that_the_locale_cannot_decode_is_refused_and_named() -> None:
    ended = doctor(MCP_SESSIONS_BACKEND="sqlite:///café.db")
    assert ended.returncode == 2
    assert "MCP_SESSIONS_BACKEND can't be" in ended.stderr
    assert "caf" in ended.stderr
    assert "but the locale's encoding is ascii. Set LC_ALL=C.UTF-8 or PYTHONUTF8=1" in ended.stderr

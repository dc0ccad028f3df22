"""A stand-in for `codex app-server`: a program that speaks its lines of JSON and changes a home as Codex 0.171 does."""

import shlex
import sys
from pathlib import Path

_PROGRAM = Path(__file__).with_name("app_server.py")


def fake_codex(folder: Path, *, version: str = "0.171.0", fault: str = "") -> Path:
    """Write a program that stands for codex, and return its path. `fault` is `KIND:METHOD`, see `app_server.py`."""
    path = folder / f"codex-{version}{fault and '-' + fault.replace('/', '-').replace(':', '-')}"
    command = shlex.join([sys.executable, "-S", str(_PROGRAM), version, fault])
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    path.chmod(0o755)
    return path

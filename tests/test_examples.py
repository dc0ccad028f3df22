"""Every example runs as it stands."""

import json
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    return done.stdout


def test_the_server_is_embedded_in_a_program(tmp_path: Path) -> None:
    found = json.loads(run("embedded.py", str(tmp_path / "sessions.db")))
    assert [hit["snippet"] for hit in found["hits"]] == ["Two fixes and a faster search."]
    assert json.loads(run("embedded.py"))["complete"] is True


def test_every_example_is_run_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{path.name}"' in source for path in EXAMPLES.glob("*.py"))

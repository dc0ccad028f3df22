"""`mcp-sessions doctor` as tests run it: its exit status, and its lines."""

from collections.abc import Callable

import pytest

from mcp_sessions.cli.main import main

Told = list[tuple[str, str]]
Examine = Callable[..., tuple[int, Told]]
TOKEN = "hunter2-the-token"
"""What no line may hold."""


def examining(capsys: pytest.CaptureFixture[str]) -> Examine:
    """Return a function that runs doctor, and returns the exit status and each line's status and text."""

    def examine(*arguments: str, **environ: str) -> tuple[int, Told]:
        status = main(["doctor", *arguments], {f"MCP_SESSIONS_{name}": value for name, value in environ.items()})
        said = capsys.readouterr()
        assert "hunter2" not in said.out + said.err
        heading, *lines = said.out.splitlines()
        assert heading.startswith("mcp-sessions ")
        return status, [(line[:7].strip(), line[9:]) for line in lines]

    return examine


def names(told: Told, status: str) -> list[str]:
    return [text.partition(":")[0] for said, text in told if said == status]


def text_of(told: Told, name: str, status: str) -> str:
    return next(text for said, text in told if (said, text.partition(":")[0]) == (status, name))

"""The bundle for desktop clients, unpacked and started."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import anyio
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from mcp_sessions import __version__
from mcp_sessions.config.settings import SETTINGS

from ..cli.test_commands import environment

ROOT = Path(__file__).parents[2]


def unpacked(folder: Path) -> dict[str, Any]:
    """Unpack the bundle into the folder, and return its manifest."""
    subprocess.run([sys.executable, ROOT / ".ci/bundle", folder / "out.mcpb"], cwd=folder, check=True, timeout=60)
    with ZipFile(folder / "out.mcpb") as bundle:
        bundle.extractall(folder)
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_questions_of_a_bundle_are_those_of_the_settings(tmp_path: Path) -> None:
    manifest = unpacked(tmp_path)
    assert (manifest["version"], manifest["server"]["type"]) == (__version__, "uv")
    for name, field in manifest["user_config"].items():
        option = SETTINGS[name]
        assert manifest["server"]["mcp_config"]["env"][option.variable] == f"${{user_config.{name}}}"
        assert field["description"].startswith(option.help)
        assert field["sensitive"] == (not option.flag)
        assert field.get("default") == "" or field["required"]  # else a client would pass `${user_config.…}` on


@pytest.mark.slow
async def test_an_unpacked_bundle_starts_with_only_the_user_filled_in(tmp_path: Path) -> None:
    manifest = unpacked(tmp_path)
    filled = {"user": "ada"}
    variables = {SETTINGS[name].variable: filled.get(name, "") for name in manifest["user_config"]}
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "mcp_sessions"],
        cwd=tmp_path,  # whose sources come before those that are installed
        env=environment(tmp_path) | variables,
    )
    with anyio.fail_after(60):
        async with Client(stdio_client(command)) as client:
            listed = [tool.name for tool in (await client.list_tools()).tools]
    assert listed == [tool["name"] for tool in manifest["tools"]]
    assert (tmp_path / manifest["server"]["entry_point"]).is_file()
    assert (tmp_path / "pyproject.toml").read_bytes() == (ROOT / "pyproject.toml").read_bytes()  # what uv installs by

"""The manifest for the MCP registry."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate

from mcp_sessions import __version__
from mcp_sessions.config.settings import SETTINGS, Settings

from ..support.http_server import COMMAND, running

ROOT = Path(__file__).parents[2]
SERVER: dict[str, Any] = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
STDIO, HTTP = SERVER["packages"]
FIELDS = {option.variable: name for name, option in SETTINGS.items()}


def test_the_manifest_follows_the_registrys_schema() -> None:
    schema = json.loads((ROOT / "tests/repository/schemas/server.schema.2025-12-11.json").read_text(encoding="utf-8"))
    assert SERVER["$schema"] == schema["$id"]
    validate(SERVER, schema)


def test_the_manifest_describes_this_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    readme = (ROOT / project["readme"]).read_text(encoding="utf-8")
    assert f"mcp-name: {SERVER['name']} " in readme  # by which the registry knows that the package is ours
    assert SERVER["description"] == project["description"]
    assert {package["identifier"] for package in SERVER["packages"]} == {project["name"]}
    assert {SERVER["version"], *(package["version"] for package in SERVER["packages"])} == {__version__}


@pytest.mark.parametrize(
    "variable",
    [variable for package in SERVER["packages"] for variable in package["environmentVariables"]],
    ids=lambda variable: variable["name"],
)
def test_each_variable_is_a_setting(variable: dict[str, Any]) -> None:
    name = FIELDS[variable["name"]]
    option, default = SETTINGS[name], getattr(Settings(), name)
    assert variable["description"] == option.help
    assert variable.get("isSecret", False) == (not option.flag)
    if "default" in variable:
        assert option.parse(variable["default"]) == default
    else:
        assert not default or variable["placeholder"] == option.shown_default


@pytest.mark.slow
async def test_the_commands_in_the_manifest_start_a_server_at_its_url(tmp_path: Path) -> None:
    arguments: list[str] = []
    for argument in HTTP["packageArguments"]:
        arguments += [argument["name"]] if argument["type"] == "named" else []
        arguments.append(argument["value"])
    async with running(tmp_path, *arguments, command=COMMAND[:3], variables={"MCP_SESSIONS_PORT": "0"}) as server:
        port = server.root.rpartition(":")[2]
        assert server.url == HTTP["transport"]["url"].format(MCP_SESSIONS_PORT=port)
    assert (STDIO["transport"]["type"], "packageArguments" in STDIO) == ("stdio", False)

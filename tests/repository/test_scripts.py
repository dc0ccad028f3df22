"""The scripts, the workflow of the hosted CI, and the versions that CI installs."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from .documents import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
CONSTRAINTS = (ROOT / ".ci" / "constraints.txt").read_text(encoding="ascii").splitlines()


PROGRAMS = ("bash", "pyright", "python", "ruff")


@pytest.mark.parametrize(
    ("script", "called"),
    [
        ("test", ["python -m pytest -n 4 ARGUMENT"]),
        ("lint", ["ruff format --check .", "ruff check .", "pyright"]),
        ("demo", ["python -m mcp_sessions demo ARGUMENT"]),
        ("bench", ["python -m tests.benchmarks ARGUMENT"]),
        ("ci", ["bash .ci/run"]),
    ],
)
def test_a_script_runs_in_the_checkout_from_any_folder(script: str, called: list[str], tmp_path: Path) -> None:
    for program in PROGRAMS:  # in place of the real ones: each prints how it was called
        path = tmp_path / program
        path.write_text(f'#!/bin/sh\npwd\necho "{program}" "$@"\n', encoding="utf-8")
        path.chmod(0o755)
    done = subprocess.run(
        [ROOT / "scripts" / script, "ARGUMENT"],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == [line for call in called for line in (str(ROOT), call.strip())]


def test_every_script_begins_with_its_purpose() -> None:
    for script in (ROOT / "scripts").iterdir():
        assert script.read_text(encoding="utf-8").startswith("#!/bin/sh -e\n# ")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_calls_only_scripts_of_the_project(workflow: Path) -> None:
    text = workflow.read_text(encoding="utf-8")
    commands = re.findall(r"- run: (.+)", text)
    assert commands
    assert text.count("run:") == len(commands)
    for command in commands:
        assert command.startswith(".ci/")
        assert os.access(ROOT / command, os.X_OK)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_names_a_major_version_of_each_action(workflow: Path) -> None:
    actions = re.findall(r"uses: (.+)", workflow.read_text(encoding="utf-8"))
    assert actions
    assert [action for action in actions if not re.fullmatch(r"[\w-]+/[\w-]+@v\d+", action)] == []


def test_constraints_are_names_and_versions_in_order() -> None:
    assert [line for line in CONSTRAINTS if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9a-z.]+", line)] == []
    assert sorted(CONSTRAINTS, key=str.lower) == CONSTRAINTS


def test_every_dependency_has_a_version_in_the_constraints() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = {name.lower(): version for name, _, version in (line.partition("==") for line in CONSTRAINTS)}
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(versions[requirement.name.lower()]), text


def test_only_the_installation_from_the_readme_is_constrained() -> None:
    named = {path.name for path in (ROOT / ".ci").iterdir() if "constraint" in path.read_text(encoding="utf-8").lower()}
    assert named == {"coverage", "run"}  # others need other versions

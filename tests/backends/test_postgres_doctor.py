"""`mcp-sessions doctor` on a real PostgreSQL: what it says of it, and that it changes nothing."""

from collections.abc import Sequence

import pytest
from anyio.to_thread import run_sync

from mcp_sessions.cli import main

from .databases import Place


def examined(capsys: pytest.CaptureFixture[str], url: str) -> tuple[int, Sequence[str]]:
    status = main(["doctor", "--backend", url], {})
    said = capsys.readouterr()
    assert ":secret@" not in said.out + said.err
    return status, said.out.splitlines()[1:]


def test_a_database_without_a_store_is_left_without(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = examined(capsys, place.url)
    assert status == 0
    assert lines[0].startswith("ok       server: PostgreSQL ")
    assert "ok       store: no tables yet; the first start makes them in the schema mcp_sessions." in lines
    assert "ok       operations: all 15." in lines
    assert place.sql("SELECT 1 FROM pg_namespace WHERE nspname = 'mcp_sessions'") == []
    assert place.backends() == []


async def test_a_store_tells_its_version_and_what_its_role_may_not(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    async with place.opened():
        pass
    _, lines = await run_sync(examined, capsys, place.url)
    assert "ok       store: in the schema mcp_sessions: version 1 of its shape." in lines
    place.sql(f"CREATE ROLE {place.name}_reader LOGIN PASSWORD 'secret'")
    place.sql(f"GRANT USAGE ON SCHEMA mcp_sessions TO {place.name}_reader")
    place.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA mcp_sessions TO {place.name}_reader")
    as_reader = place.url.replace("//postgres:", f"//{place.name}_reader:")
    status, lines = await run_sync(examined, capsys, as_reader)
    assert status == 0
    assert any(line.startswith("warning  permissions: this role can't change sessions.") for line in lines)


def test_a_store_that_is_newer_fails(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.sql("CREATE SCHEMA mcp_sessions")
    place.sql("CREATE TABLE mcp_sessions.mcp_sessions_version AS SELECT 99 AS version")
    status, lines = examined(capsys, place.url)
    assert status == 1
    assert any(line.startswith("failed   backend: the store was made by a newer mcp-sessions") for line in lines)


def test_what_a_power_loss_would_take_is_warned_of(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.sql(f"ALTER DATABASE {place.name} SET synchronous_commit = off")
    _, lines = examined(capsys, place.url)
    assert any(line.startswith("warning  durability: ") and "synchronous_commit is off" in line for line in lines)

"""No change is made if the audit log can't be opened; a line that can't be written goes to stderr."""

from contextlib import closing
from pathlib import Path

import anyio
import pytest
from mcp.client import Client

from mcp_sessions import create_server, open_backend
from mcp_sessions.server.audit_log import AuditLog
from tests.support.clients import ALL, text_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "audit").mkdir()
    return tmp_path / "audit"


async def refuses_changes_without(folder: Path, client: Client) -> None:
    made = (await client.call_tool("create_session", {"name": "before"})).structured_content
    assert made is not None
    await anyio.Path(folder).rename(folder.parent / "elsewhere")
    refused = await client.call_tool("rename_session", {"session_id": made["id"], "name": "after"})
    assert text_of(refused) == (
        "unavailable: the audit log can't be written, so nothing was changed. Ask the operator to repair it."
    )
    shown = (await client.call_tool("get_session", {"session_id": made["id"]})).structured_content
    assert shown is not None
    assert shown["name"] == "before"
    await anyio.Path(folder.parent / "elsewhere").rename(folder)
    assert not (await client.call_tool("rename_session", {"session_id": made["id"], "name": "after"})).is_error
    assert (folder / "lines").read_text(encoding="utf-8").count('"outcome": "ok"') == 2


async def test_nothing_is_changed_while_the_file_cannot_be_opened(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    audit = AuditLog(str(folder / "lines"))
    with closing(audit):
        async with Client(create_server(open_backend(), toolsets=ALL, audit=audit)) as client:
            await refuses_changes_without(folder, client)
    assert "the file of --audit can't be opened: No such file or directory" in caplog.text


async def test_a_line_that_cannot_be_written_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with closing(AuditLog("/dev/full")) as audit:
        async with Client(create_server(open_backend(), audit=audit)) as client:
            assert not (await client.call_tool("create_session")).is_error
    assert '"tool": "create_session"' in capsys.readouterr().err


async def test_a_bulk_action_is_logged_completely_even_if_its_result_is_cut(folder: Path) -> None:
    with closing(AuditLog(str(folder / "lines"))) as audit:
        async with Client(create_server(open_backend(), toolsets=ALL, max_chars=2_000, audit=audit)) as client:
            ids = [(await client.call_tool("create_session")).structured_content for _ in range(60)]
            named = [made["id"] for made in ids if made] + [f"absent-{number}-{'x' * 40}" for number in range(40)]
            arguments = {"action": "archive", "session_ids": named, "dry_run": False}
            assert len(text_of(await client.call_tool("apply_to_sessions", arguments))) <= 2_000
    line = (folder / "lines").read_text(encoding="utf-8").splitlines()[-1]
    assert all(f'"{name}"' in line for name in named)
    assert '"outcome": "partial"' in line

"""Which session "current" is. A hint gives no access to a session."""

from mcp_sessions.server.context import HEADER, META_KEY
from tests.support.clients import both_eras, serving, text_of


@both_eras
async def test_the_request_overrides_the_setting(era: str) -> None:
    async with serving(era, session="unused") as peer:
        asked = await peer.session(name="asked for")
        result = await peer.client.call_tool("get_session", {"session_id": "current"}, meta={META_KEY: asked.id})
        assert result.structured_content is not None
        assert (result.structured_content["name"], result.structured_content["resolved_from"]) == ("asked for", "meta")
        assert result.structured_content["is_current"] is True


@both_eras
async def test_the_setting_is_used_if_the_request_names_no_session(era: str, tmp_path: object) -> None:
    url = f"sqlite:///{tmp_path}/sessions.db"
    async with serving(era, url) as peer:
        session = await peer.session("hello", name="mine")
        await peer.session(name="another")
    async with serving(era, url, session=session.id) as peer:
        for tool in ("get_session", "get_session_history", "get_session_runs"):
            assert (await peer.call(tool, session_id="current"))["resolved_from"] == "setting"
        assert (await peer.call("rename_session", session_id="current", name="ours"))["resolved_from"] == "setting"
        rows = (await peer.call("list_sessions"))["sessions"]
        assert [row.get("is_current") for row in rows] == [True, None]
        bulk = await peer.call("apply_to_sessions", action="archive", session_ids=["current"], dry_run=False)
        assert (bulk["succeeded"], bulk["resolved_from"]) == ([session.id], "setting")
        assert "resolved_from" not in await peer.call("get_session", session_id=session.id)


@both_eras
async def test_without_a_current_session_the_error_says_how_to_set_one(era: str) -> None:
    async with serving(era) as peer:
        error = await peer.error("get_session", session_id="current")
        assert error.startswith("invalid: there is no current session.")
        for way in (META_KEY, "X-Session-Id", "--session"):
            assert way in error
    assert HEADER == "x-session-id"


@both_eras
async def test_a_hint_at_somebody_elses_session_finds_nothing(era: str) -> None:
    async with serving(era, user="ada") as peer:
        other = await peer.session(name="secret", user="grace")
        for arguments in ({"session_id": "current"}, {"session_id": other.id}):
            result = await peer.client.call_tool("get_session", arguments, meta={META_KEY: other.id})
            assert text_of(result) == f'not_found: no session "{other.id}". Call list_sessions for valid ids.'


@both_eras
async def test_a_hint_that_is_not_a_string_is_ignored(era: str) -> None:
    async with serving(era) as peer:
        for strange in (5, {"id": "x"}, ["x"], "", True):
            result = await peer.client.call_tool("get_session", {"session_id": "current"}, meta={META_KEY: strange})
            assert text_of(result).startswith("invalid: there is no current session")


@both_eras
async def test_current_works_in_a_list_that_is_sent_as_a_string(era: str) -> None:
    async with serving(era) as peer:
        session = await peer.session(name="mine")
        given = {"action": "archive", "session_ids": '["current"]', "dry_run": False}
        result = await peer.client.call_tool("apply_to_sessions", given, meta={META_KEY: session.id})
        assert result.structured_content is not None
        assert result.structured_content["succeeded"] == [session.id]
        assert result.structured_content["resolved_from"] == "meta"
        assert (await peer.error("apply_to_sessions", action="archive", session_ids='[""]')).startswith("invalid: ")

"""Expected errors are returned with their code; unexpected ones are hidden from the model and logged."""

import logging

import pytest
from mcp.client import Client

from mcp_sessions import SessionBackend, create_server, errors
from mcp_sessions.caller import Caller, Scope
from mcp_sessions.errors import SessionsError
from mcp_sessions.models import SessionDetail
from tests.support.clients import both_eras, serving, text_of


class Failing(SessionBackend):
    """A backend that fails in a given way."""

    title = "a failing backend"

    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    async def get_session(self, session_id: str) -> SessionDetail:
        raise self.failure


def kinds() -> list[type[SessionsError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SessionsError)][1:]


@both_eras
@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.code)
async def test_an_expected_error_is_returned_with_its_code(era: str, kind: type[SessionsError]) -> None:
    async with Client(create_server(Failing(kind("it broke. Mend it."))), mode=era) as client:
        result = await client.call_tool("get_session", {"session_id": "x"})
        assert result.is_error
        assert text_of(result) == f"{kind.code}: it broke. Mend it."


@both_eras
async def test_an_unexpected_error_is_hidden_from_the_model_and_logged_without_its_message(
    era: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with Client(create_server(Failing(KeyError("a secret"))), mode=era) as client:
            result = await client.call_tool("get_session", {"session_id": "x"})
    assert text_of(result).startswith("internal: the server failed unexpectedly; the error was logged as request ")
    (record,) = [record for record in caplog.records if record.name == "mcp_sessions.server.call"]
    assert "get_session failed: KeyError" in record.getMessage()
    assert "in get_session" in record.getMessage()
    assert "a secret" not in text_of(result) + caplog.text


def test_a_call_without_the_required_scope_is_refused_with_the_scopes_name() -> None:
    reader = Caller(scopes=frozenset({Scope.READ}))
    reader.require(Scope.READ)
    with pytest.raises(errors.Forbidden, match="lacks the scope sessions:delete"):
        reader.require(Scope.DELETE)


def test_a_value_quoted_in_an_error_is_printable_and_short() -> None:
    assert errors.quoted('a"b\n\x1b[2J') == '"a\'b��[2J"'
    assert errors.quoted("x" * 81) == '"' + "x" * 80 + '…"'


@both_eras
async def test_the_note_says_if_previous_values_cannot_undo_a_change(era: str) -> None:
    async with serving(era) as peer:
        session = await peer.session(name="key ghp_" + "a1B2" * 9)
        change = await peer.call("rename_session", session_id=session.id, name="clean")
        assert "ghp_" not in str(change)
        assert change["note"].endswith("so sending it back doesn't undo all of it.")
        assert "note" not in await peer.call("rename_session", session_id=session.id, name="cleaner")

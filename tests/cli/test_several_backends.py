"""Several backends by `--backend`, each with a name, in every command."""

import json
import os
from pathlib import Path

import anyio
import pytest
from mcp.client import Client

from mcp_sessions.backends.layers.many import Many
from mcp_sessions.backends.layers.read_only_backend import ReadOnlyBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.cli.main import main
from mcp_sessions.config.backend_addresses import split_backends
from mcp_sessions.config.build import build_backend, build_backends, build_server
from mcp_sessions.config.settings import BadSetting, Settings
from mcp_sessions.config.unknown_variables import unknown_variables
from mcp_sessions.models import SessionFilter
from mcp_sessions.server.sessions_server import SessionsServer
from mcp_sessions.transports.auth.access import access_of
from mcp_sessions.transports.auth.credentials import SubjectCredentials

from ..support.doctor import Examine, examining, names, text_of
from ..support.fakes.agentos import FakeAgentOs
from ..support.snippets import read

TWO = ["sqlite:///:memory:", "work=sqlite:///:memory:"]


def settings_of(*backends: str, **environ: str) -> Settings:
    return Settings.read({"backend": list(backends)}, {f"MCP_SESSIONS_{name}": text for name, text in environ.items()})


@pytest.fixture
def examine(capsys: pytest.CaptureFixture[str]) -> Examine:
    return examining(capsys)


@pytest.mark.parametrize(
    ("text", "backends"),
    [
        ("sqlite:///a.db", ("sqlite:///a.db",)),
        ("sqlite:///My Notes/a b.db", ("sqlite:///My Notes/a b.db",)),
        (" sqlite:///a.db\n\twork=guayaba: ", ("sqlite:///a.db", "work=guayaba:")),
        ("sqlite:///a b.db work:ro=agentos+http://h", ("sqlite:///a b.db", "work:ro=agentos+http://h")),
        ("sqlite:///a.db?x=1 other://host", ("sqlite:///a.db?x=1", "other://host")),
        ("sqlite:///a.db Work=sqlite:///b.db", ("sqlite:///a.db", "Work=sqlite:///b.db")),
        ("sqlite:///a.db work=", ("sqlite:///a.db", "work=")),
        ("sqlite:///a.db work:ro=/b.db", ("sqlite:///a.db", "work:ro=/b.db")),
        ("sqlite:///a.db work =sqlite:///b.db", ("sqlite:///a.db work =sqlite:///b.db",)),
    ],
)
def test_white_space_in_the_variable_separates_backends(text: str, backends: tuple[str, ...]) -> None:
    assert split_backends(text) == backends


@pytest.mark.parametrize(
    ("backends", "reason"),
    [
        (["Work=sqlite:///:memory:"], "--backend can't have the name 'Work'"),
        (["=sqlite:///:memory:"], "--backend can't have the name ''"),
        (["work =sqlite:///:memory:"], "--backend can't have the name 'work '"),
        (["work:rw=sqlite:///:memory:"], "--backend work can't have 'rw' after its name: only work:ro is possible"),
        ([*TWO, "home="], "--backend home has no URL: write home=URL"),
        ([*TWO, "home:ro"], "--backend home:ro has no URL: write home:ro=URL"),
        (["", TWO[1]], "--backend can't be '' if it is repeated"),
        (
            [*TWO, "home=agentos+http://a?token=hunter2"],
            "--backend home: the backend's URL contains a credential. Put it into MCP_SESSIONS_TOKEN_HOME",
        ),
        ([*TWO, "work=guayaba:"], "--backend is given twice with the name 'work'"),
        (["sqlite:///:memory:", "guayaba:"], "--backend is given twice with no name"),
        ([*TWO, "home=nothing:"], "--backend home: no backend has this URL's scheme"),
        ([*TWO, "home=guayaba:"], "--backend home: Guayaba needs a key. Set MCP_SESSIONS_TOKEN_HOME to"),
        ([*TWO, "home=https://ada:hunter2@host/"], "--backend home: the URL must name the system"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "doctor", "config"])
def test_the_error_about_a_wrong_name_or_url_is_one_line(
    command: str, backends: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [word for backend in backends for word in ("--backend", backend)]
    assert main([command, *(["cursor"] if command == "config" else []), *arguments], {}) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"mcp-sessions: {reason}")
    assert said.count("\n") == 1
    assert "hunter2" not in said


def test_one_backend_is_used_as_it_is_with_or_without_a_name() -> None:
    for backend in ("sqlite:///:memory:", "work=sqlite:///:memory:"):
        assert type(build_backend(settings_of(backend))) is type(open_backend())
    assert isinstance(build_backend(settings_of("work:ro=sqlite:///:memory:")), ReadOnlyBackend)
    assert isinstance(build_backend(settings_of(*TWO)), Many)


async def test_each_backend_gets_only_its_own_credential() -> None:
    async with FakeAgentOs() as one, FakeAgentOs() as two, FakeAgentOs() as three:
        settings = settings_of(
            f"agentos+{one.url}",
            f"work=agentos+{two.url}",
            f"at-home=agentos+{three.url}",
            TOKEN="t1",
            TOKEN_AT_HOME="t3",
        )
        async with build_backend(settings) as backend:
            await backend.list_sessions(SessionFilter())
        for fake, expected in ((one, {"Bearer t1"}), (two, set[str]()), (three, {"Bearer t3"})):
            sent = {request.headers.get("authorization", "") for request in fake.requests} - {""}
            assert sent == expected


async def test_the_only_backend_gets_the_credential_even_if_it_has_a_name() -> None:
    for variables in ({"TOKEN": "t1"}, {"TOKEN": "other", "TOKEN_WORK": "t1"}):
        async with FakeAgentOs() as fake:
            async with build_backend(settings_of(f"work=agentos+{fake.url}", **variables)) as backend:
                await backend.list_sessions(SessionFilter())
            assert {request.headers.get("authorization", "") for request in fake.requests} - {""} == {"Bearer t1"}


async def test_a_store_that_is_only_read_is_not_created(tmp_path: Path) -> None:
    typo = tmp_path / "typo.db"
    async with build_backend(settings_of("sqlite:///:memory:", f"work:ro=sqlite:///{typo}")) as backend:
        page = await backend.list_sessions(SessionFilter())
        assert page.note.startswith("The sessions of work (the embedded store, read-only) are missing: ")
        assert not typo.exists()
        async with open_backend(f"sqlite:///{typo}") as store:
            session = await store.create_session(name="Trip")
        assert (await backend.get_session(f"work/{session.id}")).name == "Trip"


def test_credentials_of_callers_need_a_backend_to_be_sent_to() -> None:
    flags = {"own_credentials": "on", "tokens": os.devnull}
    named = ["work=sqlite:///:memory:", "home=sqlite:///:memory:"]
    for backends in (TWO, named[:1]):
        assert access_of(Settings.read({"backend": backends, **flags}, {})).authentication
    with pytest.raises(BadSetting, match="--own-credentials can't be used if all backends have names"):
        access_of(Settings.read({"backend": named, **flags}, {}))


def test_variables_for_credentials_of_configured_backends_are_known() -> None:
    settings = settings_of(*TWO)
    environ = {"MCP_SESSIONS_TOKEN_WORK": "t", "MCP_SESSIONS_TOKEN_HOME": "t"}
    (warning,) = unknown_variables(environ, settings)
    assert "MCP_SESSIONS_TOKEN_HOME is not a setting" in warning


def test_a_credential_that_no_backend_gets_is_reported() -> None:
    settings = settings_of("work=sqlite:///:memory:", "at-home=sqlite:///:memory:", TOKEN="t")
    (warning,) = unknown_variables({"MCP_SESSIONS_TOKEN": "t"}, settings)
    assert warning.endswith("set MCP_SESSIONS_TOKEN_WORK or MCP_SESSIONS_TOKEN_AT_HOME")
    assert [*unknown_variables({"MCP_SESSIONS_TOKEN": "t"}, settings_of(*TWO, TOKEN="t"))] == []


def test_credentials_of_a_subject_can_be_given_by_backend_name(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps({"ada": "C1", "ben": {"": "C2", "work": "C3"}}))
    credentials = SubjectCredentials(str(file))
    credentials.check()
    assert credentials.of_subject("ada") == {"": "C1"}
    assert credentials.of_subject("ben") == {"": "C2", "work": "C3"}
    assert credentials.of_subject("eve") == {}
    only = SubjectCredentials(str(file), only_name="work")
    assert only.of_subject("ada")[""] == "C1"
    assert only.of_subject("ben")[""] == "C2"
    file.write_text(json.dumps({"ben": {"work": "C3"}}))
    assert only.of_subject("ben")[""] == "C3"
    for wrong in ('{"ada": 5}', '{"ada": {"work": 5}}', '{"ada": {"work": {}}}', "[]"):
        file.write_text(wrong)
        with pytest.raises(BadSetting):
            SubjectCredentials(str(file)).check()


def server_of(*backends: str) -> SessionsServer:
    settings = settings_of(*backends)
    return build_server(build_backend(settings), settings)


async def test_create_session_has_a_backend_parameter_only_if_several_can_create() -> None:
    for backends, choices in (
        (TWO[:1], None),
        (TWO[1:], None),
        (["sqlite:///:memory:", "work:ro=sqlite:///:memory:"], None),
        ([*TWO, "home=sqlite:///:memory:"], ["", "work", "home"]),
    ):
        async with Client(server_of(*backends)) as client:
            tools = {tool.name: tool.input_schema["properties"] for tool in (await client.list_tools()).tools}
            assert tools["create_session"].get("backend", {}).get("enum") == choices
            result = await client.call_tool("create_session", {"backend": "work"})
            assert bool(result.is_error) == (choices is None)
            if choices:
                assert result.structured_content is not None
                assert result.structured_content["id"].startswith("work/")
                assert result.structured_content["backend"] == "work"
                wrong = await client.call_tool("create_session", {"backend": "nothing"})
                assert 'no session can be created in the backend "nothing"' in str(wrong.content)


async def test_a_bulk_deletion_asks_about_sessions_of_all_backends() -> None:
    server = build_server(build_backend(settings_of(*TWO)), settings_of(*TWO, TOOLSETS="all", CONFIRM="code"))
    async with Client(server) as client:
        ids: list[str] = []
        for backend in ("", "work"):
            created = await client.call_tool("create_session", {"backend": backend, "name": "Trip"})
            assert created.structured_content is not None
            ids.append(created.structured_content["id"])
        arguments = {"action": "delete", "session_ids": ids, "dry_run": False}
        asked = str((await client.call_tool("apply_to_sessions", arguments)).content)
        assert all(session_id in asked for session_id in ids)
        assert "work (the embedded store)" in asked
        assert asked.count("Messages and state are deleted too") == 1
        code = asked.partition('confirm="')[2][:4]
        done = await client.call_tool("apply_to_sessions", {**arguments, "confirm": code})
        assert done.structured_content is not None
        assert done.structured_content["succeeded"] == ids


async def create_store(url: str) -> None:
    async with open_backend(url):
        pass


def test_the_doctor_examines_each_backend(tmp_path: Path, examine: Examine) -> None:
    broken = tmp_path / "broken.db"
    broken.write_text("this is not a database")
    good = f"sqlite:///{tmp_path / 'good.db'}"
    status, told = examine("--backend", good, "--backend", f"work=sqlite:///{broken}")
    assert status == 1
    assert names(told, "failed") == ["work"]
    assert text_of(told, "operations", "ok") == "operations: all 15."
    status, told = examine("--backend", good, "--backend", f"work:ro={good}")
    assert (status, names(told, "failed")) == (1, ["work"])  # it can't be read: it doesn't exist
    anyio.run(create_store, good)
    status, told = examine("--backend", good, "--backend", f"work:ro={good}")
    assert status == 0
    assert any(text.startswith("work: ") for _, text in told)
    assert text_of(told, "ids", "ok") == (
        "ids: session ids begin with work/. Those of the embedded store have no prefix, or only / if they begin like "
        "one of these."
    )


def read_config(capsys: pytest.CaptureFixture[str], client: str, flags: list[str]) -> tuple[str, str]:
    """Return a snippet, and what is said about it."""
    assert main(["config", client, *flags], {"MCP_SESSIONS_TOKEN_WORK": "hunter2"}) == 0
    return capsys.readouterr()


@pytest.mark.parametrize("client", ["claude-code", "cursor", "codex"])
def test_a_snippet_names_all_backends_and_the_variables_of_their_credentials(
    client: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--backend", "sqlite:///my sessions.db", "--backend", "work:ro=guayaba:"]
    snippet, said = read_config(capsys, client, flags)
    assert said.count("\n") == 1
    assert "hunter2" not in snippet
    assert "MCP_SESSIONS_TOKEN_WORK" in snippet
    given = Settings.read({}, read(client, snippet)["env"])
    assert given.backend == (f"sqlite:///{tmp_path / 'my%20sessions.db'}", "work:ro=guayaba:")
    assert set(build_backends(Settings.read({}, {**read(client, snippet)["env"], "MCP_SESSIONS_TOKEN_WORK": "t"}))) == {
        "",
        "work",
    }

"""The setting --overlay: which backends get an overlay, and where it is."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from anyio.to_thread import run_sync
from mcp.client import Client

from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.backends.layers.overlay import Overlay
from mcp_sessions.backends.layers.overlay.transfer import ExportLine, export_lines, import_lines
from mcp_sessions.backends.layers.read_only_backend import ReadOnlyBackend
from mcp_sessions.backends.registry import system_of
from mcp_sessions.cli.main import main
from mcp_sessions.config.build import build_backend, build_backends, build_server, open_overlay
from mcp_sessions.config.settings import BadSetting, Settings

from ..support.doctor import Examine, names, text_of
from ..support.faked_guayaba import Tools, seed
from ..support.fakes.guayaba import FakeGuayaba

TOKEN = {"MCP_SESSIONS_TOKEN": "g_agent_" + "0" * 48}


def built(*backends: str, overlay: str | None = None) -> dict[str, SessionBackend]:
    flags: dict[str, str | list[str] | None] = {"backend": list(backends), "overlay": overlay, "index": "off"}
    tokens = {f"MCP_SESSIONS_TOKEN_{name}": TOKEN["MCP_SESSIONS_TOKEN"] for name in ("ONE", "TWO")}
    return dict(build_backends(Settings.read(flags, TOKEN | tokens)))


def test_only_a_backend_that_lacks_a_field_gets_the_overlay_inside_of_read_only(tmp_path: Path) -> None:
    backends = built("sqlite:///:memory:", "one=guayaba:", "two:ro=guayaba:", overlay=f"sqlite:///{tmp_path}/o.db")
    assert not isinstance(backends[""], Overlay)
    assert isinstance(backends["one"], Overlay)
    read_only = backends["two"]
    assert isinstance(read_only, ReadOnlyBackend)
    assert isinstance(read_only.inner, Overlay)
    assert backends["one"]._store is read_only.inner._store  # pyright: ignore[reportPrivateUsage] - one database for all


def test_without_an_overlay_the_operations_that_need_it_are_not_offered() -> None:
    assert Capability.UPDATE_SESSION_STATE in built("guayaba:")[""].capabilities
    assert Capability.UPDATE_SESSION_STATE not in built("guayaba:", overlay="OFF")[""].capabilities


@pytest.mark.parametrize(
    "overlay", ["http://user:secret@host", "overlay.db", "sqlite://x", "postgresql://host:secret/x", "sqlite:///a?b=1"]
)
def test_a_malformed_overlay_is_refused_without_being_repeated(overlay: str) -> None:
    for backend in ("guayaba:", "sqlite:///:memory:"):  # only the first one needs an overlay
        with pytest.raises(BadSetting) as refusal:
            built(backend, overlay=overlay)
        assert str(refusal.value).startswith("--overlay")
        assert "secret" not in str(refusal.value)
        assert "backend" not in str(refusal.value)


@pytest.mark.parametrize(("flags", "is_kept"), [({}, True), ({"keep_deleted": "3"}, False)])
async def test_values_of_deleted_sessions_are_kept_as_long_as_deleted_sessions(
    tmp_path: Path, flags: dict[str, str | list[str] | None], is_kept: bool
) -> None:
    gone_at = datetime.now(UTC) - timedelta(days=4)
    line = ExportLine("s:", "i", "i", "", "summary", "x", gone_at)
    settings = Settings.read({"overlay": f"sqlite:///{tmp_path}/o.db", **flags}, {})
    for purges in (False, True):
        async with open_overlay(settings, purges=purges) as store:
            if not purges:
                await import_lines(store, [line])
            found = [each async for each in export_lines(store, [])]
        assert len(found) == (is_kept or not purges)


def test_doctor_says_if_no_backend_needs_the_overlay(examined: Examine, tmp_path: Path) -> None:
    given = ("--backend", f"sqlite:///{tmp_path}/s.db")
    _, told = examined(*given, "--overlay", f"sqlite:///{tmp_path}/o.db")
    assert text_of(told, "overlay", "ok") == "overlay: not needed, since the backend stores all fields itself."
    assert "overlay" not in names(examined(*given)[1], "ok")


def test_doctor_examines_the_overlay_of_a_system_that_does_not_answer(examined: Examine, tmp_path: Path) -> None:
    (tmp_path / "o.db").write_bytes(b"damaged" * 100)
    given = ("--backend", "guayaba+http://127.0.0.1:9", "--overlay", f"sqlite:///{tmp_path}/o.db")
    status, told = examined(*given, TOKEN=TOKEN["MCP_SESSIONS_TOKEN"])
    assert status == 1
    assert {"overlay", "backend"} <= set(names(told, "failed"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("guayaba:", "guayaba+https://API.guayaba.run:443/api/v1/?timeout=3"),
        ("agentos+http://host:7777?db_id=a", "agentos+http://HOST:7777/?recheck=off&db_id=a&timeout=9"),
    ],
)
def test_urls_of_one_system_share_its_facts(one: str, other: str) -> None:
    assert system_of(one) == system_of(other)


def test_accounts_of_a_system_do_not_share_facts() -> None:
    urls = ("guayaba:", "guayaba:?agent=A", "guayaba:?agent=B", "guayaba+http://api.guayaba.run/api/v1")
    assert len({system_of(url) for url in urls}) == len(urls)


def test_a_clients_configuration_has_the_overlay_if_one_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["config", "claude-code", "--backend", "guayaba:", "--overlay"]
    assert main([*given, "sqlite:///o.db"], TOKEN) == 0
    assert f"sqlite:///{tmp_path}/o.db" in capsys.readouterr().out
    assert main(given[:-1], TOKEN) == 0
    assert "MCP_SESSIONS_OVERLAY" not in capsys.readouterr().out
    assert main([*given, "postgresql://ann:secret@host/x"], TOKEN) == 0
    assert "secret" not in capsys.readouterr().out


async def test_the_tools_that_guayaba_lacks_work_with_an_overlay_and_doctor_says_where_it_is(
    examined: Examine, tmp_path: Path
) -> None:
    async with FakeGuayaba() as fake:
        seed(fake, fake.agents[0])
        url, file = f"guayaba+{fake.url}", tmp_path / "o.db"
        flags = {"backend": [url], "overlay": f"sqlite:///{file}"}
        settings = Settings.read(flags, {"MCP_SESSIONS_TOKEN": fake.master_key})
        given = ("--backend", url, "--overlay", f"sqlite:///{file}")
        _, told = await run_sync(lambda: examined(*given, TOKEN=fake.master_key))
        assert text_of(told, "overlay", "ok").startswith(f"overlay: {file} does not exist yet;")
        assert not file.exists()
        backend = build_backend(settings)
        async with Client(build_server(backend, settings)) as client:
            tools = Tools(client, fake, backend)
            (session_id,) = await tools.ids()
            changed = await tools.call("update_session_state", session_id=session_id, changes={"step": 1})
            assert changed["kept_by_overlay"] == ["state"]
            archived = await tools.call("archive_session", session_id=session_id)
            found = await tools.call("get_session", session_id=archived["session_id"])
            assert (found["state"], found["version"]) == ({"step": 1}, archived["version"])
            restored = await tools.call("restore_session", session_id=archived["session_id"])
            assert (await tools.call("get_session", session_id=restored["session_id"]))["state"] == {"step": 1}
        _, told = await run_sync(lambda: examined(*given, TOKEN=fake.master_key))
        assert "has values of 1 sessions of this system, 0 of them deleted" in text_of(told, "overlay", "ok")
        file.write_bytes(b"damaged" * 100)
        status, told = await run_sync(lambda: examined(*given, TOKEN=fake.master_key))
        assert (status, "damaged or not a SQLite file" in text_of(told, "overlay", "failed")) == (1, True)

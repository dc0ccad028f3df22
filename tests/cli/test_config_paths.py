"""`mcp-sessions config CLIENT`: paths in a snippet don't depend on the folder that the client starts the server in."""

from pathlib import Path

import pytest
from platformdirs import user_data_dir

from mcp_sessions.backends.registry import make_paths_absolute
from mcp_sessions.sqlite_url import url_of

from ..support.snippets import printed, read


def test_a_snippet_uses_the_data_folder_of_this_shell(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for given in ("data", "no/such", str(tmp_path / "data")):
        monkeypatch.setenv("XDG_DATA_HOME", given)
        own = Path(user_data_dir("mcp-sessions", appauthor=False)).absolute()
        env = read("cursor", printed(capsys, "cursor", "--backend", "agentos+https://agents.example")[0])["env"]
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        with monkeypatch.context() as in_client:
            in_client.chdir(tmp_path / "elsewhere")
            in_client.setenv("XDG_DATA_HOME", env["XDG_DATA_HOME"])
            assert Path(user_data_dir("mcp-sessions", appauthor=False)).absolute() == own
        shown = read("cursor", printed(capsys, "cursor")[0])["env"]["MCP_SESSIONS_BACKEND"]
        assert shown == url_of(own / "sessions.db")


@pytest.mark.parametrize(
    ("option", "absolute"),
    [
        *((f"{name}=a%20b.pem", f"{name}={{}}/a%20b.pem") for name in ("sslrootcert", "sslcert", "sslkey", "sslcrl")),
        *((f"{name}=sub/a", f"{name}={{}}/sub/a") for name in ("passfile", "sslcrldir")),
        ("ssl%72ootcert=%C3%A9.pem", "ssl%72ootcert={}/%C3%A9.pem"),
        *((option, option) for option in ("sslrootcert=system", "sslkey=pkcs11:token", "sslcert=/srv/a.pem")),
        *((option, option) for option in ("sslcert=", "application_name=a.pem", "options=-c%20a%3Db")),
    ],
)
def test_a_path_in_a_postgresql_url_is_absolute_in_a_snippet(
    option: str, absolute: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "system").touch()
    shown, _ = printed(capsys, "cursor", "--backend", f"postgresql://ada:x?@db.example/a?sslmode=verify-ca&{option}")
    url = read("cursor", shown)["env"]["MCP_SESSIONS_BACKEND"]
    expected = f"postgresql://ada:PASSWORD@db.example/a?sslmode=verify-ca&{absolute.format(tmp_path)}"
    assert url == expected


@pytest.mark.parametrize("name", ["servicefile", "sslkeylogfile"])
def test_a_path_in_a_newer_libpq_parameter_is_made_absolute(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = "postgresql://db.example/a?{}={}"
    assert make_paths_absolute(url.format(name, "sub/a")) == url.format(name, tmp_path / "sub/a")


def test_a_path_in_a_variable_is_absolute_in_a_snippet_even_if_it_does_not_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "system").touch()
    given = {"PGSSLROOTCERT": "system", "PGSSLKEY": "pkcs11:token", "PGPASSFILE": "no/such", "PGSSLCERT": "/srv/a.pem"}
    for name, text in given.items():
        monkeypatch.setenv(name, text)
    env = read("cursor", printed(capsys, "cursor", "--backend", "postgresql://db.example/a")[0])["env"]
    assert {name: env[name] for name in given} == given | {"PGPASSFILE": f"{tmp_path}/no/such"}
    monkeypatch.setenv("SSL_CERT_DIR", "a::/b")
    env = read("cursor", printed(capsys, "cursor", "--backend", "agentos+https://agents.example")[0])["env"]
    assert env["SSL_CERT_DIR"] == f"{tmp_path}/a:/b"

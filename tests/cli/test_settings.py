"""Settings by flag and variable, and the error about a wrong one."""

from pathlib import Path

import pytest

from mcp_sessions.cli.main import main
from mcp_sessions.config.settings import SETTINGS, BadSetting, Settings

ROOT = Path(__file__).parents[2]
SECRET = "0123456789" * 4
GOOD = {
    "backend": ("sqlite:///my sessions.db work=guayaba:", ("sqlite:///my sessions.db", "work=guayaba:")),
    "token": ("t", "t"),
    "user": ("ada", "ada"),
    "session": ("s", "s"),
    "read_only": ("yes", True),
    "toolsets": ("history, bulk", ("history", "bulk")),
    "confirm": ("CODE", "code"),
    "overlay": ("OFF", "off"),
    "timeout": ("2.5", 2.5),
    "max_chars": ("2000", 2000),
    "redact": ("off", False),
    "apps": ("off", False),
    "keep_deleted": ("7", 7),
    "recheck": ("off", False),
    "trust_env": ("on", True),
    "allow_http": ("1", True),
    "transport": ("HTTP", "http"),
    "host": ("::1", "::1"),
    "port": ("0", 0),
    "allowed_host": ("Sessions.example, [::1]:8443", ("sessions.example", "[::1]:8443")),
    "tokens": ("tokens.jsonl", "tokens.jsonl"),
    "jwt_issuer": ("https://issuer.example/", "https://issuer.example/"),
    "jwt_audience": ("https://sessions.example/mcp", "https://sessions.example/mcp"),
    "jwt_jwks": ("https://issuer.example/keys", "https://issuer.example/keys"),
    "jwt_algorithms": ("ES256, EdDSA", ("ES256", "EdDSA")),
    "agents": ("agents.json", "agents.json"),
    "backend_tokens": ("credentials.json", "credentials.json"),
    "own_credentials": ("true", True),
    "max_body": ("1024", 1024),
    "max_concurrent": ("1", 1),
    "rate": ("0", 0),
    "audit": ("-", "-"),
    "state_key": (SECRET, SECRET),
    "log_level": ("debug", "DEBUG"),
}
BAD = {
    "read_only": "perhaps",
    "toolsets": "history,future",
    "confirm": "maybe",
    "timeout": "0",
    "max_chars": "1999",
    "redact": "",
    "apps": "maybe",
    "keep_deleted": "1.5",
    "recheck": "sometimes",
    "trust_env": "2",
    "allow_http": "http",
    "transport": "sse",
    "port": "65536",
    "allowed_host": "https://sessions.example",
    "jwt_algorithms": "RS256,HS256",
    "own_credentials": "Bearer x",
    "max_body": "1023",
    "max_concurrent": "0",
    "rate": "-1",
    "log_level": "LOUD",
}
JWT = ["--jwt-issuer", "https://i.example", "--jwt-audience", "a", "--jwt-jwks"]
NOWHERE = ["--host", ""]  # refused last, so that a start that should have been refused does not last
NO_HOSTS = (
    *(
        "*",
        "*.example",
        "http://a.example",
        "a.example/mcp",
        "ada@a.example",
        "a.example:",
        "a.example:0",
        "a b",
        "::1",
    ),
    *("a.example:99999", "a.example:x", "[::1", "[a.example]", "[]", "a.example?b", "a.example#b", "bücher.example"),
)


def test_the_tables_of_this_test_have_every_setting() -> None:
    assert set(GOOD) == set(SETTINGS)


@pytest.mark.parametrize("name", GOOD)
def test_a_setting_is_read_from_its_variable_and_a_flag_overrides_it(name: str) -> None:
    text, value = GOOD[name]
    assert getattr(Settings.read({}, {f"MCP_SESSIONS_{name.upper()}": text}), name) == value
    assert getattr(Settings.read({name: text}, {f"MCP_SESSIONS_{name.upper()}": "wrong"}), name) == value


@pytest.mark.parametrize("word", ["1", "true", "YES", "On", "0", "false", "No", "off"])
def test_booleans_are_read_in_all_common_spellings(word: str) -> None:
    assert Settings.read({}, {"MCP_SESSIONS_READ_ONLY": word}).read_only == (word.lower() in ("1", "true", "yes", "on"))


@pytest.mark.parametrize("name", BAD)
def test_the_error_about_a_wrong_setting_is_one_line_with_its_name_and_accepted_values(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    variable = f"MCP_SESSIONS_{name.upper()}"
    if BAD[name]:
        assert main([], {variable: BAD[name]}) == 2
        line = capsys.readouterr().err
        assert line.startswith(f"mcp-sessions: {variable} can't be '{BAD[name]}': it accepts ")
        assert line.count("\n") == 1
    flag = SETTINGS[name].flag
    with pytest.raises(BadSetting, match=f"^{flag} can't be "):
        Settings.read({name: BAD[name]}, {})


def test_an_empty_variable_counts_as_not_set() -> None:
    assert Settings.read({}, {"MCP_SESSIONS_TIMEOUT": "", "MCP_SESSIONS_SESSION": ""}) == Settings.read({}, {})


def test_an_empty_user_is_refused_since_it_would_show_everybodys_sessions() -> None:
    for flags, environ in (({"user": ""}, {}), ({}, {"MCP_SESSIONS_USER": ""})):
        with pytest.raises(BadSetting, match="can't be ''"):
            Settings.read(flags, environ)


@pytest.mark.parametrize(("user", "accepts"), [("a" * 513, "a user's id, of up to 512 characters"), ("\udcff", "text")])
def test_a_user_id_that_cannot_be_stored_is_refused(user: str, accepts: str) -> None:
    with pytest.raises(BadSetting, match=f"it accepts {accepts}"):
        Settings.read({"user": user}, {})


def test_all_means_every_toolset() -> None:
    assert Settings.read({"toolsets": "all"}, {}).toolsets == ("sessions", "history", "state", "bulk", "authoring")


def test_the_defaults_are_the_documented_ones() -> None:
    settings = Settings.read({}, {})
    (backend,) = settings.backend
    assert backend.startswith("sqlite:///")
    assert backend.endswith("/mcp-sessions/sessions.db")
    assert settings.toolsets == ("sessions", "history", "state")
    assert (settings.confirm, settings.timeout, settings.max_chars, settings.redact) == ("auto", 25, 24_000, True)
    assert (settings.read_only, settings.user, settings.session, settings.log_level) == (False, "", "", "WARNING")


def test_the_limits_over_http_are_on_by_default() -> None:
    settings = Settings.read({}, {})
    assert (settings.max_body, settings.max_concurrent, settings.rate) == (2 * 1024 * 1024, 64, 1_200)
    assert (settings.jwt_algorithms, settings.allowed_host, settings.own_credentials) == (("RS256",), (), False)


@pytest.mark.parametrize("host", NO_HOSTS)
def test_a_host_that_no_client_can_send_is_refused(host: str) -> None:
    with pytest.raises(BadSetting, match="it accepts the host of the URL that clients call"):
        Settings.read({}, {"MCP_SESSIONS_ALLOWED_HOST": f"sessions.example,{host}"})


@pytest.mark.parametrize("algorithms", ["none", "HS256", "rs256", "RS256 ES256", ","])
def test_unsigned_jwts_and_shared_secrets_are_refused(algorithms: str) -> None:
    with pytest.raises(BadSetting, match="it accepts a comma-separated list of RS256, "):
        Settings.read({"jwt_algorithms": algorithms}, {})


def test_the_values_of_a_repeatable_flag_add_up() -> None:
    assert Settings.read({"allowed_host": ["a.example", "b.example:81,c.example"]}, {}).allowed_host == (
        *("a.example", "b.example:81", "c.example"),
    )
    environ = {"MCP_SESSIONS_ALLOWED_HOST": "d.example"}
    assert Settings.read({"allowed_host": ["a.example"]}, environ).allowed_host == ("a.example",)


def test_the_key_shared_by_replicas_is_not_a_flag_and_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert SETTINGS["state_key"].flag == ""
    assert SECRET not in repr(Settings.read({}, {"MCP_SESSIONS_STATE_KEY": SECRET}))
    assert main([], {"MCP_SESSIONS_STATE_KEY": "too-short-a-secret"}) == 2
    line = capsys.readouterr().err
    assert line.startswith("mcp-sessions: MCP_SESSIONS_STATE_KEY can't be this value: it accepts 32 characters or more")
    assert line.count("\n") == 1
    assert "too-short" not in line


def test_the_token_is_not_a_flag_and_not_shown() -> None:
    assert SETTINGS["token"].flag == ""
    assert "hush" not in repr(Settings.read({}, {"MCP_SESSIONS_TOKEN": "hush"}))
    with pytest.raises(SystemExit):
        main(["--token", "hush"], {})


def test_settings_and_their_variables_correspond() -> None:
    settings = Settings.read({name: text for name, (text, _) in GOOD.items()}, {})
    assert Settings.read({}, settings.variables()) == settings
    assert Settings.read({}, {}).variables() == {}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--jwt-issuer", "https://i.example"], "--jwt-issuer needs --jwt-audience and --jwt-jwks too"),
        (["--jwt-jwks", "x"], "--jwt-jwks needs --jwt-issuer and --jwt-audience too"),
        (
            [*JWT, "http://i.example/keys"],
            "--jwt-jwks can't be 'http://i.example/keys': others on the network could replace",
        ),
        ([*JWT, "ftp://i.example/keys"], "--jwt-jwks can't be 'ftp://i.example/keys': it is not a complete URL"),
        ([*JWT, "https://[i.example/keys"], "--jwt-jwks can't be 'https://[i.example/keys': "),
        ([*JWT, "https://i.example:x/keys"], "--jwt-jwks can't be 'https://i.example:x/keys': "),
        ([*JWT, "https://ab..é..com/keys"], "--jwt-jwks can't be 'https://ab..é..com/keys': "),
        ([*JWT, "https://ada:hunter2@i.example/keys"], "--jwt-jwks contains a credential"),
        ([*JWT, "https:///keys"], "--jwt-jwks can't be 'https:///keys': "),
        ([*JWT, "/no/such/file"], "--jwt-jwks can't be '/no/such/file': no such file or directory"),
        ([*JWT, "README.md"], "--jwt-jwks can't be 'README.md': its content is malformed"),
        ([*JWT[:3], "https://[a/mcp", *JWT[4:], "https://i.example/"], "--jwt-audience can't be 'https://[a/mcp': "),
        ([*JWT[:3], "https://", *JWT[4:], "https://i.example/"], "--jwt-audience can't be 'https://': "),
        (["--tokens", "/no/such/file"], "--tokens can't be '/no/such/file': no such file or directory"),
        (["--tokens", "."], "--tokens can't be '.': is a directory"),
        (["--host", "a..b"], "--host can't be 'a..b': it has no address"),
        (["--tokens", "pyproject.toml"], "--tokens can't be 'pyproject.toml': line 1 is not a valid token record"),
        (["--read-only", "--toolsets", "authoring"], "--toolsets can't be 'authoring' with --read-only: "),
        (["--own-credentials"], "--own-credentials needs authenticated callers: add --tokens or --jwt-issuer"),
        (["--backend-tokens", "/dev/null"], "--backend-tokens can't be '/dev/null': its content is malformed"),
        (
            ["--audit", "/no/such/file"],
            "--audit can't be '/no/such/file': no such file or directory. It accepts a file",
        ),
        (["--audit", "."], "--audit can't be '.': is a directory"),
        (["--transport", "stdio", "--own-credentials"], "--own-credentials needs authenticated callers, which"),
        (
            ["--transport", "stdio", "--backend-tokens", "x"],
            "--backend-tokens needs authenticated callers, which",
        ),
    ],
)
def test_incompatible_settings_prevent_a_start_with_one_line(
    arguments: list[str], line: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["serve", "--backend", "sqlite:///:memory:", "--transport", "http", *NOWHERE, *arguments], {}) == 2
    said = capfd.readouterr().err
    assert said.startswith(f"mcp-sessions: {line}")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [["--nonsense"], ["fly"], ["--timeout"], ["demo", "extra"], ["demo", "--user", "x"], ["--two\nlines\x1b[31m"]],
)
def test_the_error_about_a_wrong_command_line_is_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments, {})
    assert ended.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("mcp-sessions: ")
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    "url",
    [
        *("mysql://x", "nonsense", "", "sqlite:", "sqlite://x", "sqlite:///", "sqlite:///a?b=c"),
        *("agentos+https://exa mple", 'agentos+https://ex"ample', "agentos+https://exa%20mple"),
    ],
)
def test_the_error_about_a_wrong_backend_is_one_line(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--backend", url], {}) == 2
    line = capfd.readouterr().err
    assert line.startswith("mcp-sessions: --backend: ")
    assert line.count("\n") == 1

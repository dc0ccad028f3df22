"""Settings by flag and variable, and the one line that a wrong one is answered with."""

import pytest

from mcp_sessions.cli import main
from mcp_sessions.settings import OPTIONS, BadSetting, Settings

GOOD = {
    "backend": ("sqlite:///x.db", "sqlite:///x.db"),
    "token": ("t", "t"),
    "user": ("ada", "ada"),
    "session": ("s", "s"),
    "read_only": ("yes", True),
    "toolsets": ("history, bulk", ("history", "bulk")),
    "confirm": ("CODE", "code"),
    "timeout": ("2.5", 2.5),
    "max_chars": ("2000", 2000),
    "redact": ("off", False),
    "keep_deleted": ("7", 7),
    "recheck": ("off", False),
    "trust_env": ("on", True),
    "allow_http": ("1", True),
    "transport": ("HTTP", "http"),
    "host": ("::1", "::1"),
    "port": ("0", 0),
    "log_level": ("debug", "DEBUG"),
}
BAD = {
    "read_only": "perhaps",
    "toolsets": "history,future",
    "confirm": "maybe",
    "timeout": "0",
    "max_chars": "1999",
    "redact": "",
    "keep_deleted": "1.5",
    "recheck": "sometimes",
    "trust_env": "2",
    "allow_http": "http",
    "transport": "sse",
    "port": "65536",
    "log_level": "LOUD",
}


def test_the_tables_here_know_every_setting() -> None:
    assert set(GOOD) == set(OPTIONS)


@pytest.mark.parametrize("name", GOOD)
def test_a_setting_is_read_from_its_variable_and_a_flag_wins(name: str) -> None:
    text, value = GOOD[name]
    assert getattr(Settings.read({}, {f"MCP_SESSIONS_{name.upper()}": text}), name) == value
    assert getattr(Settings.read({name: text}, {f"MCP_SESSIONS_{name.upper()}": "wrong"}), name) == value


@pytest.mark.parametrize("word", ["1", "true", "YES", "On", "0", "false", "No", "off"])
def test_booleans_read_in_every_common_way(word: str) -> None:
    assert Settings.read({}, {"MCP_SESSIONS_READ_ONLY": word}).read_only == (word.lower() in ("1", "true", "yes", "on"))


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_setting_is_one_line_that_names_it_and_what_it_accepts(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    variable = f"MCP_SESSIONS_{name.upper()}"
    if BAD[name]:
        assert main([], {variable: BAD[name]}) == 2
        line = capsys.readouterr().err
        assert line.startswith(f"mcp-sessions: {variable} can't be '{BAD[name]}': it accepts ")
        assert line.count("\n") == 1
    flag = OPTIONS[name].flag
    with pytest.raises(BadSetting, match=f"^{flag} can't be "):
        Settings.read({name: BAD[name]}, {})


def test_an_empty_variable_is_not_set() -> None:
    assert Settings.read({}, {"MCP_SESSIONS_TIMEOUT": "", "MCP_SESSIONS_SESSION": ""}) == Settings.read({}, {})


def test_an_empty_user_is_refused_since_it_would_show_everybodys_sessions() -> None:
    for flags, environ in (({"user": ""}, {}), ({}, {"MCP_SESSIONS_USER": ""})):
        with pytest.raises(BadSetting, match="can't be ''"):
            Settings.read(flags, environ)


def test_all_stands_for_every_toolset() -> None:
    assert Settings.read({"toolsets": "all"}, {}).toolsets == ("sessions", "history", "state", "bulk", "authoring")


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = Settings.read({}, {})
    assert settings.backend.startswith("sqlite:///")
    assert settings.backend.endswith("/mcp-sessions/sessions.db")
    assert settings.toolsets == ("sessions", "history", "state")
    assert (settings.confirm, settings.timeout, settings.max_chars, settings.redact) == ("auto", 25, 24_000, True)
    assert (settings.read_only, settings.user, settings.session, settings.log_level) == (False, "", "", "WARNING")


def test_the_token_is_no_flag_and_not_shown() -> None:
    assert OPTIONS["token"].flag == ""
    assert "hush" not in repr(Settings.read({}, {"MCP_SESSIONS_TOKEN": "hush"}))
    with pytest.raises(SystemExit):
        main(["--token", "hush"], {})


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"], {})
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for option in OPTIONS.values():
        assert (option.flag or option.variable) in shown
    assert "demo" in shown


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["fly"], ["--timeout"], ["demo", "extra"], ["demo", "--user", "x"]]
)
def test_a_wrong_command_line_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments, {})
    assert ended.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("mcp-sessions: ")
    assert line.count("\n") == 1


@pytest.mark.parametrize("url", ["mysql://x", "nonsense", "", "sqlite:", "sqlite://x", "sqlite:///", "sqlite:///a?b=c"])
def test_a_wrong_backend_is_one_line_and_no_traceback(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--backend", url], {}) == 2
    line = capfd.readouterr().err
    assert line.startswith("mcp-sessions: --backend: ")
    assert line.count("\n") == 1

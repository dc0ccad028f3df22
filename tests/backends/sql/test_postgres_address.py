"""Errors for PostgreSQL URLs that can't be used. None contains a password or the URL."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from psycopg import OperationalError

from mcp_sessions.backends.database.postgres_errors import connection_error
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.errors import Forbidden, Invalid, SessionsError, Unauthorized, Unavailable
from mcp_sessions.models import SessionFilter

from ...support.databases import EmptyDatabase

SECRET = "hunter2-Ünlike:/@"


@pytest.fixture(autouse=True)
def without_the_variables_of_libpq(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)
    yield


async def _refused(url: str) -> SessionsError:
    with pytest.raises(SessionsError) as refusal:
        async with open_backend(url, timeout=5):
            pass
    text = refusal.value.text
    assert text.isprintable()
    assert not [part for part in (SECRET, "hunter2", "127.0.0.1", "FATAL", "?") if part in text]
    return refusal.value


@pytest.mark.parametrize(
    "url",
    [
        *("postgresql://user:hunter2@host:port/db", "postgresql://user:hunter2@[::1/db", "postgresql:hunter2"),
        *(
            "postgresql://u:hunter2@host/db?colour=hunter2",
            "postgresql://u:%zz@host/db",
            "postgresql://u:hunter2@h/%00",
        ),
        *("postgresql://u:hunter2@host/db?sslmode", "postgresql://u@host/db?sslmode=hunter2&&=x"),
        *("postgresql://u:hunter2@host:99999/db", "postgresql://u:hunter2@host:0/db"),
    ],
)
async def test_a_malformed_url_is_invalid(url: str) -> None:
    assert isinstance(await _refused(url), Invalid)


async def test_a_wrong_password_or_role_is_unauthorized(postgres: EmptyDatabase) -> None:
    for user, password in (("postgres", SECRET), ("nobody here", SECRET)):
        refusal = await _refused(postgres.server.url(postgres.name, user, password))
        assert isinstance(refusal, Unauthorized)
        assert f'"{user}"' in refusal.text
    refusal = await _refused(postgres.server.url(postgres.name).replace(":secret", ""))
    assert isinstance(refusal, Unauthorized)
    assert refusal.text.endswith(
        'requires a password for "postgres". Set PGPASSWORD or ~/.pgpass, or put it into the URL.'
    )


async def test_the_error_about_a_missing_database_names_it(postgres: EmptyDatabase) -> None:
    refusal = await _refused(postgres.server.url("absent"))
    assert isinstance(refusal, Unavailable)
    assert 'has no database "absent"' in refusal.text


async def test_the_error_about_a_refused_connection_says_that_nothing_listens() -> None:
    for url in (
        "postgresql://u:hunter2@127.0.0.1:1/db",
        "postgresql://u:hunter2@%2Fnonexistent/db",
    ):
        refusal = await _refused(url)
        assert isinstance(refusal, Unavailable)
        assert "can't be reached. Check that it runs, and the host and port" in refusal.text
    refusal = await _refused("postgresql://u:hunter2@host.invalid/db")
    assert isinstance(refusal, Unavailable)


async def test_required_encryption_that_the_server_lacks_is_unavailable(postgres: EmptyDatabase) -> None:
    refusal = await _refused(postgres.server.url(postgres.name, sslmode="require"))
    assert isinstance(refusal, Unavailable)
    assert "no encrypted connection" in refusal.text


async def test_a_role_that_the_server_admits_from_nowhere_is_forbidden(postgres: EmptyDatabase) -> None:
    postgres.sql(f"REVOKE CONNECT ON DATABASE {postgres.name} FROM PUBLIC")
    postgres.sql(f"CREATE ROLE out_{postgres.name} LOGIN PASSWORD 'out'")
    refusal = await _refused(postgres.server.url(postgres.name, f"out_{postgres.name}", "out"))
    assert isinstance(refusal, Forbidden)
    postgres.sql(f"ALTER ROLE out_{postgres.name} NOLOGIN")
    refusal = await _refused(postgres.server.url(postgres.name, f"out_{postgres.name}", "out"))
    assert isinstance(refusal, Unauthorized)


async def test_too_many_connections_are_unavailable(postgres: EmptyDatabase) -> None:
    postgres.sql(f"ALTER DATABASE {postgres.name} CONNECTION LIMIT 0")
    postgres.sql(f"CREATE ROLE many_{postgres.name} LOGIN PASSWORD 'many'")
    refusal = await _refused(postgres.server.url(postgres.name, f"many_{postgres.name}", "many"))
    assert isinstance(refusal, Unavailable)
    assert "accepts no more connections" in refusal.text


async def test_a_password_can_be_in_the_variable_or_file_of_libpq(
    postgres: EmptyDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = postgres.server.url(postgres.name).replace(":secret", "")
    monkeypatch.setenv("PGPASSWORD", "secret")
    async with open_backend(url) as store:
        await store.check_reachable()
    monkeypatch.delenv("PGPASSWORD")
    file = tmp_path / "pgpass"
    file.write_text("*:*:*:*:secret\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    async with open_backend(url) as store:
        await store.list_sessions(SessionFilter())


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "ann", database "db"', Forbidden, "pg_hba.conf"),
        ("FATAL:  the database system is starting up", Unavailable, "starting or stopping"),
        ("FATAL:  sorry, too many clients already", Unavailable, "no more connections"),
        ("FATAL:  Passwort-Authentifizierung für Benutzer »ann« fehlgeschlagen", Unavailable, "can't be reached"),
    ],
)
def test_errors_about_refused_connections_give_the_reason(said: str, kind: type[SessionsError], told: str) -> None:
    refusal = connection_error(OperationalError(said), "ann", "db")
    assert isinstance(refusal, kind)
    assert told in refusal.text

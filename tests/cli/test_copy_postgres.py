"""`mcp-sessions copy` from SQLite to PostgreSQL and back keeps everything."""

from pathlib import Path

import pytest

from mcp_sessions.backends.sql.store_argument import StoreArgument
from mcp_sessions.backends.sql.store_copy import copy_store

from ..support.copied_store import copy, fill, require_same
from ..support.databases import EmptyDatabase
from ..support.store_files import contents


async def test_a_store_moves_to_postgresql_and_back(postgres: EmptyDatabase, tmp_path: Path) -> None:
    first, last = f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db"
    ids = await fill(first)
    for source, target in ((first, postgres.url), (postgres.url, last)):
        done = copy(source, target)
        assert (done.status, done.err) == (0, "")
        assert ", 12 of the sessions" not in done.out
    assert "; 12 of the sessions were there already. 4 of them have no user: " in copy(first, postgres.url).out
    assert copy(first, last).status == 0
    await require_same(first, postgres.url, ids)


async def test_copying_a_database_onto_itself_by_another_url_is_refused(postgres: EmptyDatabase) -> None:
    await fill(postgres.url, 1)
    done = copy(postgres.url, postgres.url.replace("127.0.0.1", "localhost"))
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("mcp-sessions: --to: the target is the same store as the source; nothing was copied. ")
    assert postgres.sql("SELECT * FROM mcp_sessions.purged_ids") == []


async def test_a_database_without_a_store_is_refused_as_source_and_unchanged(
    postgres: EmptyDatabase, tmp_path: Path
) -> None:
    done = copy(postgres.url, f"sqlite:///{tmp_path}/b.db")
    assert (done.status, done.out) == (2, "")
    assert done.err == "mcp-sessions: --from: this database has no session store. Name one that does.\n"
    assert postgres.sql("SELECT 1 FROM pg_namespace WHERE nspname = 'mcp_sessions'") == []
    assert contents(tmp_path) == {}


async def test_a_source_with_an_older_schema_is_refused_and_unchanged(postgres: EmptyDatabase, tmp_path: Path) -> None:
    await fill(postgres.url, 1)
    postgres.sql("UPDATE mcp_sessions.mcp_sessions_version SET version = 0")
    done = copy(postgres.url, f"sqlite:///{tmp_path}/b.db")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("mcp-sessions: --from: an older mcp-sessions made this store (version 0; ")
    assert postgres.sql("SELECT version FROM mcp_sessions.mcp_sessions_version") == [(0,)]


@pytest.mark.parametrize("flag", ["--from", "--to"])
async def test_the_error_names_the_flag_that_caused_it(postgres: EmptyDatabase, tmp_path: Path, flag: str) -> None:
    file = f"sqlite:///{tmp_path}/a.db"
    await fill(file, 1)
    strange = postgres.url.replace(":secret@", ":guessed@")
    done = copy(strange, file) if flag == "--from" else copy(file, strange)
    assert (done.status, done.out) == (2, "")
    said = f'{flag}: PostgreSQL refused the password or name of "postgres". Correct it in the URL.'
    assert done.err == f"mcp-sessions: {said}\n"


async def test_the_error_about_a_read_only_target_names_it(postgres: EmptyDatabase, tmp_path: Path) -> None:
    file = f"sqlite:///{tmp_path}/a.db"
    await fill(file, 1)
    async with postgres.opened():
        pass
    postgres.sql(f"ALTER DATABASE {postgres.name} SET default_transaction_read_only = on")
    done = copy(file, postgres.url)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("mcp-sessions: --to: the PostgreSQL database accepts no changes: it is a standby, or ")
    assert "primary in the URL, or try again when it accepts changes." in done.err
    assert "Run the same command again" not in done.err


async def test_a_read_only_source_can_be_copied(postgres: EmptyDatabase, tmp_path: Path) -> None:
    await fill(postgres.url, 3)
    postgres.sql("UPDATE mcp_sessions.sessions SET purge_at = 1 WHERE purge_at > 0")
    postgres.sql(f"ALTER DATABASE {postgres.name} SET default_transaction_read_only = on")
    done = copy(postgres.url, f"sqlite:///{tmp_path}/b.db")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("3 sessions with ")


async def test_sessions_that_the_target_has_purged_are_not_copied_again(
    postgres: EmptyDatabase, tmp_path: Path
) -> None:
    file = f"sqlite:///{tmp_path}/a.db"
    ids = await fill(file, 3)  # the last is deleted
    assert copy(file, postgres.url).status == 0
    postgres.sql("UPDATE mcp_sessions.sessions SET purge_at = 1 WHERE purge_at > 0")
    done = copy(file, postgres.url)  # which opens it, and so purges what is due
    assert (done.status, done.out.split(" with ")[0]) == (0, "2 sessions")
    assert postgres.sql("SELECT id FROM mcp_sessions.purged_ids") == [(ids[2],)]
    postgres.assert_whole()


async def test_a_store_that_has_a_purged_session_again_can_be_opened(postgres: EmptyDatabase) -> None:
    """Open a store as earlier versions of the copy left it."""
    ids = await fill(postgres.url, 3)
    postgres.sql("UPDATE mcp_sessions.sessions SET purge_at = 1 WHERE purge_at > 0")
    postgres.sql("INSERT INTO mcp_sessions.purged_ids VALUES (%s)", ids[2])
    async with postgres.opened(timeout=3) as store:
        assert (await store.get_session(ids[0])).id == ids[0]
    assert postgres.sql("SELECT count(*) FROM mcp_sessions.sessions") == [(2,)]
    postgres.assert_whole()


async def test_after_an_interrupted_copy_new_keys_follow_the_copied_ones(postgres: EmptyDatabase) -> None:
    class BrokenOff(Exception):
        pass

    def tell(what: str, done: int, total: int) -> None:
        raise BrokenOff

    other = EmptyDatabase(postgres.server, postgres.server.database())
    await fill(other.url, 2)
    source, source_store = other.below()
    target, target_store = postgres.below()
    async with source_store, target_store:
        with pytest.raises(BrokenOff):
            await copy_store(StoreArgument("--from", source), StoreArgument("--to", target), tell)
    for table in ("sessions", "messages"):
        name = f"mcp_sessions.{table}"
        ((follows,),) = postgres.sql(f"SELECT nextval(pg_get_serial_sequence('{name}', 'key')) > max(key) FROM {name}")
        assert follows


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (
            "53100",
            "PostgreSQL's disk is full; nothing was changed. Free some space and try again. Run the same command",
        ),
        (
            "42501",
            "this PostgreSQL role lacks a privilege in the schema mcp_sessions. Ask its owner to grant it, or name",
        ),
    ],
)
async def test_a_failed_copy_is_continued_if_that_may_help(
    postgres: EmptyDatabase, tmp_path: Path, code: str, says: str
) -> None:
    file = f"sqlite:///{tmp_path}/a.db"
    await fill(file, 1)
    async with postgres.opened():
        pass
    postgres.sql(
        "CREATE FUNCTION mcp_sessions.fail() RETURNS trigger LANGUAGE plpgsql"
        f" AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$"
    )
    postgres.sql(
        "CREATE TRIGGER fail BEFORE INSERT ON mcp_sessions.messages FOR EACH ROW EXECUTE FUNCTION mcp_sessions.fail()"
    )
    done = copy(file, postgres.url)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"mcp-sessions: --to: {says}")
    assert done.err.endswith(" Run the same command again to continue.\n") is (code == "53100")

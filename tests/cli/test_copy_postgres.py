"""A store moves from SQLite to PostgreSQL and back, and is the same at every step."""

from pathlib import Path

import pytest

from mcp_sessions.backends.sql.flag_errors import FlaggedStore
from mcp_sessions.backends.sql.store_copy import copy_store

from ..support.copied_store import copy, fill, require_same
from ..support.databases import Place
from ..support.store_files import contents


async def test_a_store_moves_to_postgresql_and_back(place: Place, tmp_path: Path) -> None:
    first, last = f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db"
    ids = await fill(first)
    for source, target in ((first, place.url), (place.url, last)):
        done = copy(source, target)
        assert (done.status, done.err) == (0, "")
        assert ", 12 of the sessions" not in done.out
    assert ", 12 of the sessions were there already. 4 of them have no user: " in copy(first, place.url).out
    assert copy(first, last).status == 0
    await require_same(first, place.url, ids)


async def test_a_database_is_not_copied_onto_itself_by_another_name(place: Place) -> None:
    await fill(place.url, 1)
    done = copy(place.url, place.url.replace("127.0.0.1", "localhost"))
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("mcp-sessions: --to: the target is the source by another name; nothing was copied. ")
    assert place.sql("SELECT * FROM mcp_sessions.purged_ids") == []


async def test_a_database_without_a_store_is_no_source_and_is_left_as_it_is(place: Place, tmp_path: Path) -> None:
    done = copy(place.url, f"sqlite:///{tmp_path}/b.db")
    assert (done.status, done.out) == (2, "")
    assert done.err == "mcp-sessions: --from: there is no session store in this database. Name one that has one.\n"
    assert place.sql("SELECT 1 FROM pg_namespace WHERE nspname = 'mcp_sessions'") == []
    assert contents(tmp_path) == {}


async def test_a_source_of_an_older_shape_is_left_as_it_is(place: Place, tmp_path: Path) -> None:
    await fill(place.url, 1)
    place.sql("UPDATE mcp_sessions.mcp_sessions_version SET version = 0")
    done = copy(place.url, f"sqlite:///{tmp_path}/b.db")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("mcp-sessions: --from: the store was made by an older mcp-sessions (its version 0, ")
    assert place.sql("SELECT version FROM mcp_sessions.mcp_sessions_version") == [(0,)]


@pytest.mark.parametrize("flag", ["--from", "--to"])
async def test_a_refusal_names_the_flag_that_led_to_it(place: Place, tmp_path: Path, flag: str) -> None:
    file = f"sqlite:///{tmp_path}/a.db"
    await fill(file, 1)
    strange = place.url.replace(":secret@", ":guessed@")
    done = copy(strange, file) if flag == "--from" else copy(file, strange)
    assert (done.status, done.out) == (2, "")
    said = f'{flag}: PostgreSQL refused the password or name of "postgres". Correct it in {flag}.'
    assert done.err == f"mcp-sessions: {said}\n"


async def test_a_target_that_takes_no_changes_is_named(place: Place, tmp_path: Path) -> None:
    file = f"sqlite:///{tmp_path}/a.db"
    await fill(file, 1)
    async with place.opened():
        pass
    place.sql(f"ALTER DATABASE {place.name} SET default_transaction_read_only = on")
    done = copy(file, place.url)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("mcp-sessions: --to: the PostgreSQL database takes no changes now: it is a standby, or ")
    assert "primary in --to, or try again when it takes changes." in done.err
    assert "Run the same command again" not in done.err


async def test_a_source_that_may_only_be_read_is_copied(place: Place, tmp_path: Path) -> None:
    await fill(place.url, 3)
    place.sql("UPDATE mcp_sessions.sessions SET purge_at = 1 WHERE purge_at > 0")
    place.sql(f"ALTER DATABASE {place.name} SET default_transaction_read_only = on")
    done = copy(place.url, f"sqlite:///{tmp_path}/b.db")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("3 sessions with ")


async def test_what_the_target_has_purged_does_not_come_back(place: Place, tmp_path: Path) -> None:
    file = f"sqlite:///{tmp_path}/a.db"
    ids = await fill(file, 3)  # the last is deleted
    assert copy(file, place.url).status == 0
    place.sql("UPDATE mcp_sessions.sessions SET purge_at = 1 WHERE purge_at > 0")
    done = copy(file, place.url)  # which opens it, and so purges what is due
    assert (done.status, done.out.split(" with ")[0]) == (0, "2 sessions")
    assert place.sql("SELECT id FROM mcp_sessions.purged_ids") == [(ids[2],)]
    place.assert_whole()


async def test_a_store_that_has_a_session_back_that_it_had_purged_opens(place: Place) -> None:
    """As copies once made them."""
    ids = await fill(place.url, 3)
    place.sql("UPDATE mcp_sessions.sessions SET purge_at = 1 WHERE purge_at > 0")
    place.sql("INSERT INTO mcp_sessions.purged_ids VALUES (%s)", ids[2])
    async with place.opened(timeout=3) as store:
        assert (await store.get_session(ids[0])).id == ids[0]
    assert place.sql("SELECT count(*) FROM mcp_sessions.sessions") == [(2,)]
    place.assert_whole()


async def test_a_copy_that_is_broken_off_leaves_keys_that_go_on_behind_its_own(place: Place) -> None:
    class BrokenOff(Exception):
        pass

    def tell(what: str, done: int, total: int) -> None:
        raise BrokenOff

    other = Place(place.server, place.server.database())
    await fill(other.url, 2)
    source, source_store = other.below()
    target, target_store = place.below()
    async with source_store, target_store:
        with pytest.raises(BrokenOff):
            await copy_store(FlaggedStore("--from", source), FlaggedStore("--to", target), tell)
    for table in ("sessions", "messages"):
        name = f"mcp_sessions.{table}"
        ((follows,),) = place.sql(f"SELECT nextval(pg_get_serial_sequence('{name}', 'key')) > max(key) FROM {name}")
        assert follows


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (
            "53100",
            "PostgreSQL's disk is full; nothing was changed. Free some space and try again. Run the same command",
        ),
        ("42501", "this PostgreSQL role lacks a right in the schema mcp_sessions. Let its owner grant it, or name"),
    ],
)
async def test_a_copy_that_fails_goes_on_where_that_may_help(
    place: Place, tmp_path: Path, code: str, says: str
) -> None:
    file = f"sqlite:///{tmp_path}/a.db"
    await fill(file, 1)
    async with place.opened():
        pass
    place.sql(
        "CREATE FUNCTION mcp_sessions.fail() RETURNS trigger LANGUAGE plpgsql"
        f" AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$"
    )
    place.sql(
        "CREATE TRIGGER fail BEFORE INSERT ON mcp_sessions.messages FOR EACH ROW EXECUTE FUNCTION mcp_sessions.fail()"
    )
    done = copy(file, place.url)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"mcp-sessions: --to: {says}")
    assert done.err.endswith(" Run the same command again to go on.\n") is (code == "53100")

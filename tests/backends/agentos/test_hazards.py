"""What AgentOS does with odd values, ids and sizes, shown on real servers, and that it doesn't happen through us.

D1–D5, D13 and D14 are in `test_write_hazards.py`. Agno's own MCP server has no operations that write (D11).
"""

import json
import logging
from contextlib import suppress

import httpx2
import pytest

from mcp_sessions.errors import Invalid, NotFound, SessionsError, Unsupported
from mcp_sessions.models import SessionFilter

from ...contract.operations import ADDRESSED
from ...support.real_agentos import POISON, opened, session
from ...support.servers.agentos_process import SECURITY_KEY, VERSIONS, Version

on_each = pytest.mark.parametrize("version", VERSIONS)
LARGE = 200_000


@on_each
@pytest.mark.parametrize("body", [*POISON, '{"session_state": ' + '{"a": ' * 300 + "1" + "}" * 301])
async def test_d6_a_value_that_makes_the_list_unreadable_is_refused(version: Version, body: str) -> None:
    seeds = [session("raw"), session("ours")]
    async with opened(version, seeds=seeds) as case:
        assert await case.status("PATCH", "/sessions/raw", body) == 500
        assert await case.status("GET", "/sessions/raw") == 500
        assert await case.status("GET", "/sessions") == 500
        await case.server.clear()
        await case.server.seed(*seeds)
        change = json.loads(body)
        with pytest.raises(Invalid):
            if "session_name" in change:
                await case.backend.rename_session("ours", change["session_name"])
            else:
                await case.backend.update_session_state("ours", change["session_state"])
        assert len((await case.backend.list_sessions(SessionFilter())).sessions) == 2


@on_each
async def test_d6_a_list_is_read_around_sessions_that_others_made_unreadable(version: Version) -> None:
    seeds = [session(f"s{number}", created_at=1_700_000_000 + number) for number in range(7)]
    async with opened(version, seeds=seeds) as case:
        assert await case.status("PATCH", "/sessions/s3", POISON[0]) == 500
        assert await case.status("GET", "/sessions") == 500
        page = await case.backend.list_sessions(SessionFilter())
        assert {item.id for item in page.sessions} == {seed["session_id"] for seed in seeds} - {"s3"}
        assert page.note


@on_each
@pytest.mark.parametrize("state", [float("nan"), float("inf")])
async def test_d6_a_number_that_json_lacks_is_refused(version: Version, state: float) -> None:
    async with opened(version, seeds=[session("raw"), session("ours")]) as case:
        await case.status("PATCH", "/sessions/raw", json.dumps({"session_state": {"a": state}}))
        assert (await case.seen("raw"))["session_state"] in ({"a": None}, {})
        with pytest.raises(Invalid):
            await case.backend.update_session_state("ours", {"a": state})


@on_each
async def test_d7_an_id_never_leads_to_another_route(version: Version) -> None:
    ids = ("a", "a/runs", "a/b", "..", ".", "a b?c#d%2F")
    async with opened(version, seeds=[session(id) for id in ids]) as case:
        assert isinstance((await case.api.get("/sessions/a%2Fruns")).json(), list)  # the runs of "a"
        assert (await case.api.get("/sessions/a%2Fb")).status_code == 404
        assert "data" in (await case.api.get("/sessions/")).json()
        for id in ("a/runs", "a/b"):
            with pytest.raises(Unsupported):
                await case.backend.get_session(id)
            with pytest.raises(Unsupported):
                await case.backend.delete_session(id)
        for id in ("..", ".", "a b?c#d"):
            with suppress(Unsupported, NotFound):
                assert (await case.backend.get_session(id)).id == id
        for id in ("", "a\x00", "a\nb"):
            with pytest.raises(SessionsError):
                await case.backend.delete_session(id)
        assert len((await case.server.rows())["agno_sessions"]) == len(ids)


@on_each
@pytest.mark.parametrize(
    ("id", "obstacle"),
    [
        ("a/b", 'contains "/"'),
        ("a\nb", "contains a control character"),
        ("x" * 600, "has more than 512 characters"),
    ],
)
async def test_d7_a_session_that_no_url_can_name_is_listed_and_other_calls_explain_why_they_fail(
    version: Version, id: str, obstacle: str
) -> None:
    async with opened(version, seeds=[session(id), session("s")]) as case:
        listed = await case.backend.list_sessions(SessionFilter())
        assert {item.id for item in listed.sessions} == {id, "s"}
        assert listed.note.startswith("1 session(s) can only be listed, not opened or changed: ")
        assert "use agno's Python API where AgentOS runs" in listed.note
        for capability in ADDRESSED.keys() & case.backend.capabilities:
            with pytest.raises(Unsupported) as refusal:
                await ADDRESSED[capability](case.backend, id)
            assert "AgentOS can list a session with the id" in refusal.value.text, capability
            assert f"its URLs can't contain an id that {obstacle}. Use agno's Python API" in refusal.value.text
            assert refusal.value.text.isprintable()
        applied = await case.backend.apply_to_sessions("archive", [id, "s"], dry_run=False)
        assert (applied.succeeded, [failure.session_id for failure in applied.failed]) == (("s",), [id])
        assert obstacle in applied.failed[0].error
        assert id in (await case.server.rows())["agno_sessions"]


@on_each
async def test_d8_a_query_matches_only_names(version: Version) -> None:
    seeds = [
        session("named", name="Trip to Oslo 100%"),
        session("state", name="Other", state={"trip": "Oslo"}),
        session("accents", name="Élan für Zürich"),
        session("derived"),
    ]
    async with opened(version, seeds=seeds) as case:

        async def raw(query: str) -> set[str]:
            answer = await case.api.get("/sessions", params={"session_name": query})
            return {item["session_id"] for item in answer.json()["data"]}

        async def ours(query: str) -> set[str]:
            return {item.id for item in (await case.backend.list_sessions(SessionFilter(query=query))).sessions}

        assert (await raw("trip"), await ours("trip")) == ({"named", "state"}, {"named"})
        assert (await raw("zürich"), await ours("zürich")) == (set(), {"accents"})
        assert (await raw("r%p"), await ours("r%p")) == ({"named", "state"}, set())
        assert (await raw("What of"), await ours("What of")) == (set(), {"derived"})


@on_each
async def test_d9_large_values_are_left_out_of_lists_and_histories(version: Version) -> None:
    image = {"type": "image", "media_type": "image/png", "bytes": LARGE}
    run = [{"role": "user", "text": "See", "attachments": [image]}, {"role": "assistant", "text": "I do."}]
    async with opened(version, seeds=[session("s", state={"blob": "x" * LARGE}, runs=[run])]) as case:
        assert len((await case.api.get("/sessions")).content) > LARGE
        assert len((await case.api.get("/sessions/s")).content) > 2 * LARGE
        page = await case.backend.list_sessions(SessionFilter())
        assert len(page.model_dump_json()) < 1000
        history = await case.backend.get_session_history("s")
        assert len(history.model_dump_json()) < 1000
        (attachment,) = history.messages[0].attachments
        assert attachment.bytes == LARGE


@on_each
async def test_d10_a_connection_that_breaks_after_an_error_fails_no_other_call(version: Version) -> None:
    async with opened(version, seeds=[session("poisoned"), session("s")]) as case:
        async with case.server.client() as api:
            await api.patch("/sessions/poisoned", content=POISON[0], headers={"Content-Type": "application/json"})
        broken = 0
        for _ in range(30):
            try:
                await case.api.get("/sessions/poisoned")
                await case.api.get("/sessions/s")
            except httpx2.TransportError:
                broken += 1
        assert broken
        for number in range(30):
            with pytest.raises(SessionsError):
                await case.backend.get_session("poisoned")
            await case.backend.rename_session("s", str(number))
            assert (await case.backend.get_session("s")).name == str(number)


@on_each
async def test_d12_other_clients_see_that_a_session_is_archived(version: Version) -> None:
    async with opened(version, seeds=[session("s", metadata={"k": "v"}), session("other")]) as case:
        assert (await case.api.post("/sessions/s/archive")).status_code in (404, 405)
        await case.backend.archive_session("s")
        marked = (await case.seen("s"))["metadata"]
        assert marked["k"] == "v"
        assert marked["archived_at"].endswith("Z")
        active = await case.backend.list_sessions(SessionFilter())
        archived = await case.backend.list_sessions(SessionFilter(archived=True))
        assert ([item.id for item in active.sessions], [item.id for item in archived.sessions]) == (["other"], ["s"])
        await case.backend.restore_session("s")
        assert (await case.seen("s"))["metadata"] == {"k": "v"}


async def test_d15_the_doctor_warns_of_a_key_that_protects_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with opened("2.5.6", "--settings-key", "the-key", token="the-key") as case:
            async with case.server.client() as nobody:
                assert (await nobody.get("/sessions")).status_code == 200
            await case.backend.list_sessions(SessionFilter())
    assert any("key" in record.message or "credential" in record.message for record in caplog.records)


@on_each
async def test_d15_the_doctor_does_not_warn_of_a_key_that_protects(
    version: Version, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with opened(version, token=SECURITY_KEY, security_key=SECURITY_KEY, seeds=[session("s")]) as case:
            async with case.server.client() as nobody:
                assert (await nobody.get("/sessions")).status_code == 401
            assert len((await case.backend.list_sessions(SessionFilter())).sessions) == 1
    assert not caplog.records


async def test_agno_2_5_6_refuses_a_fork_and_the_error_names_the_needed_version() -> None:
    async with opened("2.5.6", seeds=[session("s")]) as case:
        assert (await case.api.post("/agents/planner/sessions/s/fork")).status_code == 404
        with pytest.raises(Unsupported, match=r"2\.7\.0"):
            await case.backend.fork_session("s")


async def test_a_fork_is_created_in_the_named_database_if_its_agent_uses_it() -> None:
    async with opened("3.1.10", query="db_id=main", seeds=[session("s"), session("t", "team")]) as case:
        for id in ("s", "t"):
            forked = await case.backend.fork_session(id, name="New")
            assert (await case.backend.get_session(forked.id)).name == "New"
    async with opened("3.1.10", query="db_id=main&table=agno_sessions", seeds=[session("s")]) as case:
        before = await case.server.rows()
        with pytest.raises(Unsupported, match="table"):
            await case.backend.fork_session("s")
        assert await case.server.rows() == before

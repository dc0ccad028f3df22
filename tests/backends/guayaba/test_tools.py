"""All documented operations work through the tools, in every reading of Guayaba's documents."""

import re
from collections.abc import Mapping
from dataclasses import asdict, replace

import pytest

from ...support.faked_guayaba import KEY, Tools, served
from ...support.fakes.guayaba import MAIN, READINGS, FakeGuayaba, Reading, shaped
from ...support.fakes.guayaba.seeds import assistant, row, text, tool_call, tool_result, user

DEFAULT, OTHER = READINGS["default"], READINGS["other"]
LITERALS: Mapping[str, tuple[object, ...]] = {
    "foreign_agent": (403,),
    "agent_answer": ("data",),
    "most_agents": (1, 2),
    "default_limit": (50,),
    "history_order": ("newest_first",),
    "history_shape": ("messages", "data"),
    "archives_shape": ("archives", "data"),
    "message_fields": ("documented",),
    "empty_label": ("refused", "kept"),
    "absent_label": ("keeps", "refused"),
    "label_counts": ("utf16",),
    "absent_as": ("missing",),
    "change_answer": ("no_content", "any_json"),
    "unknown_key": ("upserts",),
    "main_when_removed": ("anew", "refused"),
    "filenames": ("full", "opaque"),
    "archived_at": ("offset", "filename", "epoch", "absent", "mixed"),
    "traversal": (404,),
    "restored_key": ("new",),
    "malformed": (400,),
}


def _alone() -> dict[str, Reading]:
    """Return readings with one switch changed each, and the complete ones."""
    turned = dict(READINGS)
    for name, value in asdict(DEFAULT).items():
        others = (not value,) if isinstance(value, bool) else LITERALS.get(name, ())
        turned |= {f"{name}={other}": replace(DEFAULT, **{name: other}) for other in others}
    turned["nothing is kept"] = replace(
        DEFAULT, archive_has_session_id=False, archive_keeps_label=False, filenames="opaque", archived_at="absent"
    )
    turned["all is new"] = replace(
        DEFAULT, restored_key="new", restore_keeps_session_id=False, restore_keeps_label=False, archive_resets=True
    )
    return turned


def _on_each(readings: Mapping[str, Reading]) -> pytest.MarkDecorator:
    """Return a mark for a run on each reading. Those with one switch changed are variants."""
    variants = [pytest.mark.variants]
    runs = [pytest.param(made, id=name, marks=variants if "=" in name else []) for name, made in readings.items()]
    return pytest.mark.parametrize("reading", runs)


ALONE = _alone()
OF_ARCHIVES = {
    name: reading
    for name, reading in ALONE.items()
    if "=" not in name or any(word in name for word in ("archive", "restore", "filenames", "label"))
}
"""The readings that differ in what happens to archived sessions."""

OFFERED = {
    *("list_sessions", "get_session", "search_sessions", "rename_session", "archive_session", "restore_session"),
    *("delete_session", "get_session_history", "apply_to_sessions"),
}


def _seed(fake: FakeGuayaba) -> str:
    """Add a session among similar ones to the second agent of a master key, and return its id."""
    said = [
        user("How is the weather in Rome?", id="m1", timestamp=1_714_564_700_000),
        assistant(tool_call("c1", "weather", {"city": "Rome"}), id="m2", timestamp=1_714_564_701_000),
        tool_result("c1", "weather", "22 degrees", id="m3", timestamp=1_714_564_702_000),
        assistant(text("Warm."), id="m4", timestamp=1_714_564_703_000),
    ]
    for agent in fake.agents:
        for key in (MAIN, KEY):
            fake.add_session(agent, row(key, fake.new_id(), label=f"{key} {agent.name}"), said)
        fake.add_archive(agent, row("agent:main:old", fake.new_id(), label="Old"), said)
    return f"{fake.agents[1].id}/{KEY}"


async def _archives(tools: Tools) -> list[str]:
    return await tools.ids(archived=True, limit=100)


@_on_each(ALONE)
async def test_all_documented_operations_work(reading: Reading) -> None:
    async with FakeGuayaba(reading) as fake:
        id = _seed(fake)
        async with served(fake) as tools:
            assert len(await tools.ids()) == 6
            known = await _archives(tools)
            assert len(known) == 3
            told = await tools.call("get_session", session_id=id)
            assert (told["name"], told["agent_id"]) == (f"{KEY} Agent 2", fake.agents[1].id)

            page = await tools.call("get_session_history", session_id=id, include_tools=True)
            assert [message["role"] for message in page["messages"]] == ["user", "assistant", "tool", "assistant"]
            assert [message.get("text", "") for message in page["messages"]] == [
                "How is the weather in Rome?",
                "",
                "22 degrees",
                "Warm.",
            ]
            assert page["messages"][2]["tool_name"] == page["messages"][1]["tool_calls"][0]["name"] == "weather"
            assert {message["created_at"][:13] for message in page["messages"]} == {"2024-05-01T11"}
            found = await tools.call("search_sessions", query="weather rome")
            assert {hit["session_id"] for hit in found["hits"]} >= {id}

            change = await tools.call("rename_session", session_id=id, name="Trip")
            assert (change["changed"], change["previous"]) == ({"name": "Trip"}, {"name": f"{KEY} Agent 2"})
            change = await tools.call("rename_session", session_id=id, name="")
            assert change["changed"] == {"name": ""}
            await tools.call("rename_session", session_id=id, name="Trip")

            change = await tools.call("archive_session", session_id=id)
            assert change["session_id"] in set(await _archives(tools)) - set(known)
            restored = await tools.call("restore_session", session_id=change["session_id"], name="Back")
            assert restored["session_id"] in await tools.ids()
            assert set(await _archives(tools)) == set(known)
            told = await tools.call("get_session", session_id=restored["session_id"])
            assert (told["name"], told.get("archived_at")) == ("Back", None)
            page = await tools.call("get_session_history", session_id=restored["session_id"])
            assert page["messages"][-1]["text"] == "Warm."

            await tools.call("delete_session", session_id=restored["session_id"])
            assert restored["session_id"] not in await tools.ids()
            await tools.call("delete_session", session_id=known[0])
            assert known[0] not in await _archives(tools)
            assert {applied.agent_id for applied in fake.applied} <= {fake.agents[1].id, known[0][:36]}


@_on_each(OF_ARCHIVES)
async def test_each_of_several_archives_of_a_session_is_restored_separately(reading: Reading) -> None:
    async with FakeGuayaba(reading) as fake:
        agent, session_id = fake.agents[0], fake.new_id()
        for number in range(3):
            said = [user(f"Archive {number}", id="m1", timestamp=1_714_564_700_000)]
            fake.add_archive(agent, row(KEY, session_id, label=f"Trip {number}"), said)
        async with served(fake, fake.agent_key(agent)) as tools:
            handles = {session.filename: f"Archive {number}" for number, session in enumerate(agent.archives)}
            listed = (await tools.call("list_sessions", archived=True))["sessions"]
            seen: list[str] = []
            for session in listed:
                before = {archive.filename for archive in agent.archives}
                restored = await tools.call("restore_session", session_id=session["id"], name=session.get("name", ""))
                (filename,) = before - {archive.filename for archive in agent.archives}
                page = await tools.call("get_session_history", session_id=restored["session_id"])
                assert [message["text"] for message in page["messages"]] == [handles[filename]]
                seen.append(restored["session_id"])
            assert len(set(seen)) == 3
            assert sorted(await tools.ids()) == sorted(seen)


@pytest.mark.parametrize("removal", ["archive_session", "delete_session"])
async def test_a_main_session_that_starts_again_is_a_new_session(removal: str) -> None:
    async with FakeGuayaba(replace(DEFAULT, main_when_removed="anew")) as fake:
        agent = fake.agents[0]
        fake.add_session(agent, row(MAIN, fake.new_id(), label="Main"), [user("Hello")])
        async with served(fake, fake.agent_key(agent)) as tools:
            change = await tools.call(removal, session_id=MAIN)
            assert await tools.ids() == [MAIN]
            assert "name" not in await tools.call("get_session", session_id=MAIN)
            if removal == "archive_session":
                restored = await tools.call("restore_session", session_id=change["session_id"])
                assert restored["session_id"] != MAIN
                assert (await tools.call("get_session", session_id=restored["session_id"]))["name"] == "Main"
            assert len(fake.applied) == len(fake.sent_changes)


@pytest.mark.parametrize("removal", ["archive_session", "delete_session"])
async def test_a_refusal_to_remove_the_main_session_is_reported(removal: str) -> None:
    async with FakeGuayaba("other") as fake:
        fake.add_session(fake.agents[0], row(MAIN, fake.new_id()))
        async with served(fake, fake.agent_key(fake.agents[0])) as tools:
            assert (await tools.error(removal, session_id=MAIN)).startswith("invalid: ")
            assert await tools.ids() == [MAIN]


async def test_a_name_that_the_archive_does_not_return_is_not_cleared() -> None:
    async with FakeGuayaba() as fake:
        agent = fake.agents[0]
        archive = fake.add_archive(agent, row(KEY, fake.new_id(), label="Trip"))
        fake.fail_next(replace(shaped([{"filename": archive.filename}]), method="GET", path="/archives", times=2))
        async with served(fake, fake.agent_key(agent), query=f"?agent={agent.id}") as tools:
            (id,) = await _archives(tools)
            change = await tools.call("restore_session", session_id=id)
            assert [operation for operation, _ in fake.sent_changes] == ["archives/restore"]
            assert (change["session_id"], agent.sessions[0].row["label"]) == (KEY, "Trip")


@pytest.mark.parametrize("archived", [False, True])
async def test_a_deletion_is_confirmed_for_the_session_as_it_was_shown(archived: bool) -> None:
    async with FakeGuayaba() as fake:
        agent = fake.agents[0]
        if archived:
            fake.add_archive(agent, row(KEY, fake.new_id(), label="Trip"))
        else:
            fake.add_session(agent, row(KEY, fake.new_id(), label="Trip"), [user("Hello")])
        async with served(fake, fake.agent_key(agent), confirm="code") as tools:
            (id,) = await tools.ids(archived=archived)
            asked = await tools.error("delete_session", session_id=id)
            assert '"Trip"' in asked
            assert ("1 message" in asked) != archived
            if archived:
                agent.archives[0].label = "Changed"
            else:
                agent.sessions[0].row["updatedAt"] += 1
            again = await tools.error("delete_session", session_id=id, confirm=_code(asked))
            assert fake.sent_changes == []
            change = await tools.call("delete_session", session_id=id, confirm=_code(again))
            assert "no way to undo this" in change["note"]
            assert (len(fake.sent_changes), await tools.ids(archived=archived)) == (1, [])


def _code(asked: str) -> str:
    found = re.search('confirm="([a-z2-9]{4})"', asked)
    assert found
    return found[1]


@pytest.mark.parametrize("reading", READINGS)
async def test_a_bulk_action_changes_active_and_archived_sessions(reading: str) -> None:
    async with FakeGuayaba(reading) as fake:
        _seed(fake)
        async with served(fake) as tools:
            active = [id for id in await tools.ids() if id.endswith(KEY)]
            archived = await _archives(tools)
            everything = [*active, *archived, f"{fake.agents[0].id}/agent:main:none"]
            dry = await tools.call("apply_to_sessions", action="archive", session_ids=everything)
            assert [target["session_id"] for target in dry["would_change"]] == active
            assert fake.sent_changes == []
            done = await tools.call("apply_to_sessions", action="archive", session_ids=everything, dry_run=False)
            assert ([failure["session_id"] for failure in done["failed"]], len(fake.sent_changes)) == (
                everything[-1:],
                3,
            )
            assert set(done["succeeded"]) == set(await _archives(tools))
            done = await tools.call("apply_to_sessions", action="restore", session_ids=done["succeeded"], dry_run=False)
            assert set(done["succeeded"]) <= set(await tools.ids())
            mixed = [*done["succeeded"][:2], everything[-1]]
            done = await tools.call("apply_to_sessions", action="delete", session_ids=mixed, dry_run=False)
            assert (done["succeeded"], len(done["failed"])) == (mixed[:2], 1)
            assert not set(mixed) & set(await tools.ids())


async def test_exactly_the_operations_of_guayaba_are_offered() -> None:
    async with FakeGuayaba() as fake, served(fake) as tools:
        assert {tool.name for tool in (await tools.client.list_tools()).tools} == OFFERED
        assert fake.requests == []


async def test_results_say_what_guayaba_cannot_know() -> None:
    async with FakeGuayaba() as fake:
        id = _seed(fake)
        async with served(fake) as tools:
            assert (await tools.error("list_sessions", order="created_desc")).startswith("unsupported: ")
            archived = (await _archives(tools))[0]
            history = await tools.error("get_session_history", session_id=archived)
            assert (history[:13], "restore_session" in history) == ("unsupported: ", True)
            assert (await tools.error("rename_session", session_id=archived, name="x")).startswith("unsupported: ")
            assert "no creation time" in (await tools.call("get_session", session_id=id))["note"]
            assert (await tools.call("list_sessions"))["sessions"][0]["channel"] == "webchat"
        async with served(fake, user="ann") as tools:
            assert (await tools.error("list_sessions")).startswith("unsupported: ")


async def test_the_current_session_is_not_deleted() -> None:
    async with FakeGuayaba() as fake:
        id = _seed(fake)
        async with served(fake, session=id) as tools:
            for given in (id, "current"):
                assert (await tools.error("delete_session", session_id=given)).startswith("invalid: ")
            assert (await tools.error("delete_session", session_id=id.upper())).startswith("not_found: ")
            assert (fake.sent_changes, (await tools.call("get_session", session_id="current"))["id"]) == ([], id)

"""The credential that the backend gets for each caller over HTTP is never the caller's token for the server."""

import json
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from tests.support.faked_agentos import GuardedAgentOs, session
from tests.support.fakes.agentos import FakeAgentOs
from tests.support.http_calls import calls
from tests.support.http_tokens import guarded

ALL = "sessions:read sessions:write sessions:delete"
ERAS = pytest.mark.parametrize("era", ["2026-07-28", "2025-06-18"])


def seeded(fake: FakeAgentOs) -> None:
    fake.seed(*(session(f"of-{user}", user_id=user) for user in ("ann", "ben")))


def came(fake: FakeAgentOs) -> str:
    """Return everything that the backend has received."""
    return "\n".join(request.head + request.body.decode("utf-8", "replace") for request in fake.requests)


def borne(fake: FakeAgentOs) -> set[str]:
    return {request.headers.get("authorization", "") for request in fake.requests} - {""}


def never(fake: FakeAgentOs, tokens: Sequence[str]) -> bool:
    return not any(token in came(fake) for token in tokens)


@ERAS
async def test_the_token_of_a_caller_never_reaches_the_backend(era: str, tmp_path: Path) -> None:
    async with FakeAgentOs() as fake:
        seeded(fake)
        async with (
            guarded(tmp_path, "--backend", f"agentos+{fake.url}", ann=ALL) as (server, tokens),
            calls(server.url, era, tokens["ann"]) as ann,
        ):
            forwarded = {"X-Backend-Authorization": "Bearer ann-own", "Cookie": "a=b", "X-Session-Id": "of-ann"}
            page = await ann.call("list_sessions", headers=forwarded)
            assert [row["id"] for row in page["sessions"]] == ["of-ann"]
            await ann.call("rename_session", session_id="current", name="x", headers=forwarded)
            await ann.result("get_session", session_id=tokens["ann"][:8])
        assert borne(fake) == set()
        assert "ann-own" not in came(fake)
        assert "cookie" not in came(fake).lower()
        assert never(fake, [tokens["ann"]])


@ERAS
async def test_a_callers_own_credential_is_sent_only_for_their_calls(era: str, tmp_path: Path) -> None:
    async with GuardedAgentOs() as fake:
        seeded(fake)
        options = ["--backend", f"agentos+{fake.url}", "--own-credentials"]
        async with (
            guarded(tmp_path, *options, ann=ALL, ben=ALL) as (server, tokens),
            calls(server.url, era) as shared,
        ):
            for name in ("ann", "ben", "ann"):
                headers = {
                    "Authorization": f"Bearer {tokens[name]}",
                    "X-Backend-Authorization": f"bearer {name}-own",
                }
                page = await shared.call("list_sessions", headers=headers)
                assert [row["id"] for row in page["sessions"]] == [f"of-{name}"]
            before = len(fake.requests)
            for sent in ({}, {"X-Backend-Authorization": "ann-own"}, {"X-Backend-Authorization": "Basic ann-own"}):
                headers = {"Authorization": f"Bearer {tokens['ann']}", **sent}
                result = await shared.result("list_sessions", headers=headers)
                assert result["content"][0]["text"].startswith("unauthorized: no credential was sent")
            assert len(fake.requests) == before
            headers = {"Authorization": f"Bearer {tokens['ann']}", "X-Backend-Authorization": "Bearer wrong"}
            result = await shared.result("list_sessions", headers=headers)
            assert result["content"][0]["text"].startswith("unauthorized: ")
            assert "wrong" not in str(result)
        assert borne(fake) == {"Bearer ann-own", "Bearer ben-own", "Bearer wrong"}
        assert never(fake, list(tokens.values()))


@ERAS
async def test_credentials_per_subject_come_from_the_operators_file(era: str, tmp_path: Path) -> None:
    file = anyio.Path(tmp_path / "credentials")
    await file.write_text(json.dumps({"ann": "ann-1", "ben": "ben-1"}), encoding="utf-8")
    async with GuardedAgentOs() as fake:
        seeded(fake)
        options = ["--backend", f"agentos+{fake.url}", "--backend-tokens", str(file)]
        async with (
            guarded(tmp_path, *options, ann=ALL, ben=ALL, eve=ALL) as (server, tokens),
            calls(server.url, era) as shared,
        ):

            async def listed(name: str) -> str:
                sent = {"Authorization": f"Bearer {tokens[name]}", "X-Backend-Authorization": "Bearer ann-own"}
                result = await shared.result("list_sessions", headers=sent)
                said = result["content"][0]["text"]
                return said if result.get("isError") else ",".join(row["id"] for row in json.loads(said)["sessions"])

            assert [await listed(name) for name in ("ann", "ben")] == ["of-ann", "of-ben"]
            assert (await listed("eve")).startswith("unauthorized: no credential was sent")
            await file.write_text(json.dumps({"ann": "ann-22"}), encoding="utf-8")
            assert await listed("ann") == "of-ann"
            assert (await listed("ben")).startswith("unauthorized: no credential was sent")
            await file.write_text("{", encoding="utf-8")
            assert (await listed("ann")).startswith("unauthorized: no credential was sent")
            await file.unlink()
            assert (await listed("ann")).startswith("unauthorized: no credential was sent")
        assert borne(fake) == {"Bearer ann-1", "Bearer ben-1", "Bearer ann-22"}
        assert never(fake, [*tokens.values(), "ann-own"])


@ERAS
async def test_each_of_several_backends_gets_only_the_callers_credential_for_it(era: str, tmp_path: Path) -> None:
    file = anyio.Path(tmp_path / "credentials")
    await file.write_text(json.dumps({"ann": {"": "ann-1", "work": "ann-2"}, "ben": "ben-1"}), encoding="utf-8")
    async with GuardedAgentOs() as bare, GuardedAgentOs() as work:
        seeded(bare)
        seeded(work)
        backends = ["--backend", f"agentos+{bare.url}", "--backend", f"work=agentos+{work.url}"]
        async with (
            guarded(tmp_path, *backends, "--backend-tokens", str(file), ann=ALL, ben=ALL) as (server, tokens),
            calls(server.url, era) as shared,
        ):
            sent = {name: {"Authorization": f"Bearer {tokens[name]}"} for name in ("ann", "ben")}
            page = await shared.call("list_sessions", headers=sent["ann"])
            assert sorted(row["id"] for row in page["sessions"]) == ["of-ann", "work/of-ann"]
            page = await shared.call("list_sessions", headers=sent["ben"])
            assert [row["id"] for row in page["sessions"]] == ["of-ben"]
            assert page["note"].startswith("The sessions of work (AgentOS) are missing: no credential was sent")
            result = await shared.result("get_session", session_id="work/of-ben", headers=sent["ben"])
            assert result["content"][0]["text"].startswith("unauthorized: work (AgentOS): no credential was sent")
            page = await shared.call("list_sessions", headers=sent["ann"])
            assert sorted(row["id"] for row in page["sessions"]) == ["of-ann", "work/of-ann"]
        assert borne(bare) == {"Bearer ann-1", "Bearer ben-1"}
        assert borne(work) == {"Bearer ann-2"}

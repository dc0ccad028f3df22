"""Names of sessions: which ones Guayaba accepts, and how long they may be."""

import pytest

from ...support.faked_guayaba import KEY, served
from ...support.fakes.guayaba import MAIN, FakeGuayaba
from ...support.fakes.guayaba.seeds import row


@pytest.mark.parametrize("reading", ["default", "other", "openclaw"])
async def test_a_name_that_is_taken_is_a_conflict_if_names_are_unique(reading: str) -> None:
    async with FakeGuayaba(reading) as fake:
        agent = fake.agents[0]
        fake.add_session(agent, row(KEY, fake.new_id(), label="Trip"))
        fake.add_session(agent, row(MAIN, fake.new_id(), label="Main"))
        async with served(fake, fake.agent_key(agent)) as tools:
            if fake.reading.duplicate_labels:
                await tools.call("rename_session", session_id=KEY, name="Main")
            else:
                assert (await tools.error("rename_session", session_id=KEY, name="Main")).startswith("conflict: ")


async def test_names_can_be_as_long_as_guayaba_stores_them() -> None:
    async with FakeGuayaba() as fake:
        fake.add_session(fake.agents[0], row(KEY, fake.new_id()))
        async with served(fake, fake.agent_key(fake.agents[0])) as tools:
            await tools.call("rename_session", session_id=KEY, name="é" * 255)
            sent = len(fake.sent_changes)
            for name in ("é" * 256, " \u200b", "a\0b"):
                assert (await tools.error("rename_session", session_id=KEY, name=name)).startswith("invalid: ")
            assert len(fake.sent_changes) == sent

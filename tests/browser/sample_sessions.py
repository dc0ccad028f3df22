"""Made-up sessions for the page, over some days, in a store."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from mcp_sessions.models import NewMessage, ToolCall
from tests.support.store_files import connected, opened

LISBON = "Plan the Lisbon trip"
UNNAMED_ABOUT = "The nightly backup fails with 'disk quota exceeded'."
NAMES = (
    ("Sourdough that doesn't collapse", "kitchen", 0, 9, 12),
    (LISBON, "travel", 0, 8, 40),
    ("", "coding", 1, 18, 5),
    ("Why the checkout test is flaky", "coding", 1, 15, 31),
    ("Letter to the landlord about the heating", "writing", 1, 11, 2),
    ("Compare heat pumps for a small house", "research", 3, 20, 47),
    ("Names for the new espresso machine", "kitchen", 3, 19, 3),
    ("Migrate the invoices to PostgreSQL", "coding", 3, 10, 26),
    ("Reading list: history of cartography", "research", 4, 21, 18),
    ("Regular expression for ISBN numbers", "coding", 4, 9, 55),
)
_LISBON = (
    NewMessage(role="user", text="Four days in Lisbon in May. What should we not miss?"),
    NewMessage(
        role="assistant",
        text="Alfama on foot, the tile museum, and a day in Sintra by train.\n\n"
        "For the evenings: the viewpoint at Graça before sunset, then one of the small fado houses behind the "
        "cathedral, where you book by telephone.",
    ),
    NewMessage(role="user", text="Which day for Sintra? We'd like to avoid the crowds."),
    NewMessage(
        role="assistant", tool_calls=(ToolCall(id="c1", name="opening_hours", arguments='{"place":"Pena Palace"}'),)
    ),
    NewMessage(role="tool", text="Pena Palace: daily 9:30-18:30", tool_name="opening_hours"),
    NewMessage(role="assistant", text="Tuesday, early: take the 8:11 from Rossio and start at Pena Palace."),
    NewMessage(role="user", text="Good. Book the train, and remember that we don't eat meat."),
    NewMessage(
        role="assistant",
        text="Noted: no meat. Tickets for the 8:11 can't be reserved; the machine at Rossio takes cards, and the "
        "queue is short before eight.",
    ),
)


async def fill(path: Path) -> dict[str, str]:
    """Make the store. Return the ids of its sessions by name."""
    ids: dict[str, str] = {}
    async with opened(path) as store:
        for name, agent, *_ in NAMES:
            ids[name] = (await store.create_session(name=name, agent_id=agent)).id
        await store.append_messages(ids[LISBON], _LISBON)
        await store.append_messages(ids[""], [NewMessage(role="user", text=UNNAMED_ABOUT)])
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with connected(path) as file:
        for name, _, ago, hour, minute in NAMES:
            moment = int((today + timedelta(days=-ago, hours=hour, minutes=minute)).timestamp() * 1_000_000)
            file.execute("UPDATE sessions SET updated_at = ?, created_at = ? WHERE id = ?", (moment, moment, ids[name]))
            of_session = "session_key = (SELECT key FROM sessions WHERE id = ?)"
            file.execute(
                f"UPDATE messages SET created_at = ? + number * 61000000 - 500000000 WHERE {of_session}",
                (moment, ids[name]),
            )
    return ids

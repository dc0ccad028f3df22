"""Sessions as an assistant on AgentOS leaves them, for benchmarks."""

import random
from collections.abc import Iterator

from mcp_sessions.json_documents import JsonObject

COMPONENTS = {"agent": "planner", "team": "crew", "workflow": "pipeline"}
RARE = "zyzzyva"  # in the oldest session
TOPICS = ("Trip to Rome", "Quarterly report", "Kitchen renovation", "Hiring a designer", "Migration to Postgres 17")
SENTENCE = "The second option costs a little more and leaves a whole afternoon free, so I would take that one. "


def stored_sessions(count: int) -> Iterator[JsonObject]:
    """Return sessions as an assistant leaves them: of eight, six are an agent's; with runs, a state and a summary."""
    chance = random.Random(1)
    for number in range(count):
        type = {6: "team", 7: "workflow"}.get(number % 8, "agent")
        topic = chance.choice(TOPICS)
        yield {
            "session_id": f"00000000-0000-4000-8000-{number:012}",
            "name": f"{topic} {number}",
            "type": type,
            "component_id": COMPONENTS[type],
            "user_id": f"user{number % 10}@example.org",
            "state": _state(chance, topic),
            "metadata": {"channel": "web", "project": f"p{number % 20}"},
            "summary": f"The user plans: {topic}. " + SENTENCE * chance.randint(2, 4),
            "runs": [_run(chance, topic, turn) for turn in range(chance.randint(2, 5))]
            + ([_run(chance, RARE, 9)] if number == 0 else []),
            "created_at": 1_700_000_000 + number * 60,
        }


def _state(chance: random.Random, topic: str) -> JsonObject:
    """Return a state of 600 to 1,500 characters, as a planning agent keeps it from turn to turn."""
    return {
        "goal": topic,
        "step": chance.randint(1, 9),
        "preferences": {"language": "en", "currency": "EUR", "tone": "brief", "timezone": "Europe/Rome"},
        "tasks": [
            {"id": place, "title": f"Compare offer {place} of {topic}", "done": place % 2 == 0, "due": "2026-03-01"}
            for place in range(chance.randint(5, 15))
        ],
    }


def _run(chance: random.Random, topic: str, turn: int) -> list[JsonObject]:
    return [
        {"role": "user", "text": f"About {topic}, question {turn}: what do you suggest?"},
        {
            "role": "assistant",
            "tool_calls": [{"id": f"c{turn}", "name": "get_weather", "arguments": '{"city":"Rome"}'}],
        },
        {"role": "tool", "text": "22 degrees in Rome", "tool_name": "get_weather", "tool_call_id": f"c{turn}"},
        {"role": "assistant", "text": SENTENCE * chance.randint(2, 6)},
    ]

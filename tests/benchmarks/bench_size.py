"""How much of a model's context results take, beside AgentOS's own answers: `python -m tests.benchmarks.bench_size`."""

import anyio
import httpx2
from mcp.client import Client
from mcp.types import TextContent

from mcp_sessions import create_server, open_backend
from mcp_sessions.models import NewMessage
from tests.benchmarks.agentos_seeds import stored_sessions
from tests.benchmarks.measuring import Figure, print_table
from tests.support.fakes.agentos import FakeAgentOs

MESSAGES = 50
WHOLE = 400_000  # characters, so that nothing is cut
SENTENCE = "The second option costs a little more and leaves a whole afternoon free, so I would take that one. "
TURNS = [(f"What about offer {turn}, is it any good?", SENTENCE * 8) for turn in range(MESSAGES // 2)]
SAID = sum(len(text) for turn in TURNS for text in turn)


async def measure() -> list[Figure]:
    return [*await of_agentos(), *await of_the_store()]


async def of_agentos() -> list[Figure]:
    async with FakeAgentOs() as fake, httpx2.AsyncClient(base_url=fake.url, trust_env=False, verify=False) as http:
        fake.seed(*stored_sessions(100))
        runs = [[{"role": "user", "text": asked}, {"role": "assistant", "text": told}] for asked, told in TURNS]
        (long,) = fake.seed({"name": "long", "type": "agent", "component_id": "planner", "runs": runs})
        their_list = (await http.get("/sessions", params={"limit": 20})).text
        their_runs = (await http.get(f"/sessions/{long}/runs")).text
        async with Client(create_server(open_backend(f"agentos+{fake.url}", recheck=False), max_chars=WHOLE)) as client:
            our_list = await text_of(client, "list_sessions", limit=20)
            history = await text_of(client, "get_session_history", session_id=long, limit=MESSAGES)
    return [
        Figure("list of 20 ÷ AgentOS's answer, characters", [len(our_list) / len(their_list)], 1 / 4),
        Figure(f"history of {MESSAGES} ÷ AgentOS's answer, characters", [len(history) / len(their_runs)], 1 / 4),
        # A UUID for each message and for each run takes 0.17.
        Figure(f"history of {MESSAGES} of AgentOS ÷ its texts alone, characters", [len(history) / SAID], 1.25),
    ]


async def of_the_store() -> list[Figure]:
    backend = open_backend("sqlite:///:memory:")
    async with Client(create_server(backend, max_chars=WHOLE)) as client:
        session = await backend.create_session(name="long")
        for asked, told in TURNS:
            turn = [NewMessage(role="user", text=asked), NewMessage(role="assistant", text=told)]
            await backend.append_messages(session.id, turn)
        history = await text_of(client, "get_session_history", session_id=session.id, limit=MESSAGES)
    return [
        Figure(f"history of {MESSAGES} of the store ÷ its texts alone, characters", [len(history) / SAID], 1.2),
    ]


async def text_of(client: Client, tool: str, **arguments: object) -> str:
    result = await client.call_tool(tool, arguments)
    (block,) = result.content
    assert isinstance(block, TextContent)
    assert not result.is_error, block.text
    return block.text


if __name__ == "__main__":
    print_table("What results take of a model's context", anyio.run(measure))

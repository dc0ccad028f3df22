"""How much of a model's context results take, beside AgentOS's own answers: `python -m tests.benchmarks.bench_size`."""

import anyio
import httpx2
from mcp.client import Client
from mcp.types import TextContent

from mcp_sessions import create_server, open_backend
from tests.benchmarks.agentos_seeds import stored_sessions
from tests.benchmarks.measuring import Figure, print_table
from tests.fakes.agentos import FakeAgentOs

MOST_LISTED = 7_000  # characters of tools/list
MESSAGES = 50


async def measure() -> list[Figure]:
    async with FakeAgentOs() as fake, httpx2.AsyncClient(base_url=fake.url, trust_env=False) as http:
        fake.seed(*stored_sessions(100))
        turns = [
            [
                {"role": "user", "text": f"Question {turn}: which one?"},
                {"role": "assistant", "text": "The second. " * 30},
            ]
            for turn in range(MESSAGES // 2)
        ]
        (long,) = fake.seed({"name": "long", "type": "agent", "component_id": "planner", "runs": turns})
        listed = (await http.get("/sessions", params={"limit": 20})).text
        runs = (await http.get(f"/sessions/{long}/runs")).text
        said = sum(len(message["text"]) for turn in turns for message in turn)
        server = create_server(open_backend(f"agentos+{fake.url}", recheck=False))
        async with Client(server) as client:
            tools = await client.list_tools()
            shown = sum(len(tool.model_dump_json(by_alias=True, exclude_none=True)) for tool in tools.tools)
            page = await _text(client, "list_sessions", limit=20)
            history = await _text(client, "get_session_history", session_id=long, limit=MESSAGES)
    return [
        Figure("tools/list, default toolsets, characters", [shown], MOST_LISTED),
        Figure("list of 20 ÷ AgentOS's answer, characters", [len(page) / len(listed)], 1 / 4),
        Figure(f"history of {MESSAGES} ÷ AgentOS's answer, characters", [len(history) / len(runs)], 1 / 4),
        Figure(f"history of {MESSAGES} ÷ its texts alone, characters", [len(history) / said], 1.2),
    ]


async def _text(client: Client, tool: str, **arguments: object) -> str:
    result = await client.call_tool(tool, arguments)
    (block,) = result.content
    assert isinstance(block, TextContent)
    assert not result.is_error, block.text
    return block.text


if __name__ == "__main__":
    print_table("What results take of a model's context", anyio.run(measure))

"""A program with an OpenTelemetry SDK, of which a process has one or none: it prints the spans of calls of tools."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
from mcp.client import Client
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mcp_sessions import create_server, open_backend
from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.json_documents import Json, JsonObject

from .clients import ALL
from .fakes.guayaba import FakeGuayaba, Fault
from .fakes.guayaba.seeds import row, user

KEY = "agent:main:api:my-secret-trip"


class Traced:
    """A server with a client, and what a call of it is recorded as."""

    def __init__(self, client: Client, exporter: InMemorySpanExporter) -> None:
        self._client = client
        self._exporter = exporter

    async def call(self, tool: str, **arguments: Json) -> list[JsonObject]:
        self._exporter.clear()
        await self._client.call_tool(tool, arguments)
        return described(self._exporter.get_finished_spans())


def described(spans: Sequence[ReadableSpan]) -> list[JsonObject]:
    """Return the spans of the server and of the backend, without those of the MCP client."""
    names = {span.context.span_id: span.name for span in spans if span.context}
    return [
        {
            "name": span.name,
            "kind": span.kind.name,
            "parent": names.get(span.parent.span_id, "") if span.parent else "",
            "status": span.status.status_code.name,
            "attributes": dict(span.attributes or {}),
            "id": trace.format_span_id(span.context.span_id) if span.context else "",
            "scope": span.instrumentation_scope.name if span.instrumentation_scope else "",
            "whole": span.to_json(),
        }
        for span in spans
    ]


@asynccontextmanager
async def traced(backend: SessionBackend, exporter: InMemorySpanExporter) -> AsyncGenerator[Traced]:
    async with Client(create_server(backend, toolsets=ALL, confirm="off")) as client:
        yield Traced(client, exporter)


async def on_sqlite(opened: AbstractAsyncContextManager[Traced]) -> JsonObject:
    async with opened as server:
        return {
            "a write": await server.call("create_session", name="my-secret-name"),
            "a quick read": await server.call("list_sessions"),
            "a search": await server.call("search_sessions", query="my-secret-name"),
            "a mistake": await server.call("get_session", session_id="my-secret-id"),
        }


async def on_guayaba(fake: FakeGuayaba, opened: AbstractAsyncContextManager[Traced]) -> JsonObject:
    agent = fake.agents[0]
    fake.add_session(agent, row(KEY, fake.new_id(), label="my-secret-label"), [user("my-secret-text")])
    id = f"{agent.id}/{KEY}"
    async with opened as server:
        made: JsonObject = {"a read": await server.call("get_session_history", session_id=id)}
        fake.fail_next(Fault("answer", status=503))
        made["a retry"] = await server.call("get_session", session_id=id)
        made["something absent"] = await server.call("get_session", session_id=f"{fake.foreign_agent.id}/{KEY}")
        fake.fail_next(Fault("drop", times=9))
        made["a dropped connection"] = await server.call("get_session", session_id=id)
        fake.faults.clear()
        held = fake.fail_next(Fault("hold"))
        made["a silent server"] = await server.call("get_session", session_id=id)
        held.released.set()
        fake.revoke(fake.master_key)
        made["a refusal"] = await server.call("get_session", session_id=id)
    return made | {"requests": [request.headers.get("traceparent", "") for request in fake.requests]}


async def main() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    async with open_backend("sqlite:///:memory:") as backend:
        await backend.create_session(name="outside of any span")
    outside = described(exporter.get_finished_spans())
    sqlite = await on_sqlite(traced(open_backend("sqlite:///:memory:"), exporter))
    async with FakeGuayaba() as fake:
        backend = open_backend(f"guayaba+{fake.url}", token=fake.master_key, timeout=1)
        guayaba = await on_guayaba(fake, traced(backend, exporter))
        secrets = [fake.master_key, fake.agents[0].id, "my-secret"]
    print(json.dumps({"outside": outside, "sqlite": sqlite, "guayaba": guayaba, "secrets": secrets}))


if __name__ == "__main__":
    anyio.run(main)

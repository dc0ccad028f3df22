"""OpenTelemetry spans of a tool call: the backend's requests are children of the SDK's span."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ..support.faked_guayaba import served
from ..support.fakes.guayaba import FakeGuayaba

ROOT = Path(__file__).parents[2]
Span = dict[str, Any]


@cache
def recorded() -> dict[str, Any]:
    """Return what `traced_program.py` prints. It is a process of its own, since a process sets the SDK once."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.traced_program"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def spans_of(system: str, call: str) -> list[Span]:
    """Return the spans of the backend."""
    return [span for span in recorded()[system][call] if span["scope"] == "mcp_sessions"]


def only_span_of(system: str, call: str) -> Span:
    (span,) = spans_of(system, call)
    return span


@pytest.mark.slow
def test_a_store_transaction_is_a_child_span_of_the_tool_call() -> None:
    expected = {
        "a write": ("write", "create_session"),
        "a quick read": ("read", "list_sessions"),
        "a search": ("search", "search_sessions"),
    }
    for call, (operation, tool) in expected.items():
        span = only_span_of("sqlite", call)
        assert (span["name"], span["kind"], span["status"]) == (operation, "CLIENT", "UNSET")
        assert span["parent"] == f"tools/call {tool}"
        assert span["attributes"] == {"db.system.name": "sqlite", "db.operation.name": operation}


def test_an_http_request_is_a_child_span_of_the_tool_call() -> None:
    spans = spans_of("guayaba", "a read")
    assert [(span["name"], span["kind"], span["status"]) for span in spans] == [
        ("GET", "CLIENT", "UNSET"),
        ("POST", "CLIENT", "UNSET"),
    ]
    for span in spans:
        assert span["parent"] == "tools/call get_session_history"
        port = span["attributes"].pop("server.port")
        assert isinstance(port, int)
        assert span["attributes"] == {
            "http.request.method": span["name"],
            "server.address": "127.0.0.1",
            "http.response.status_code": 200,
        }


def test_each_retry_is_a_span_with_its_number() -> None:
    first, again = spans_of("guayaba", "a retry")
    assert (first["status"], again["status"]) == ("ERROR", "UNSET")
    assert first["attributes"]["error.type"] == "503"
    assert "http.request.resend_count" not in first["attributes"]
    assert again["attributes"]["http.request.resend_count"] == 1
    assert again["attributes"]["http.response.status_code"] == 200


def test_a_callers_mistake_does_not_mark_the_backends_span_as_failed() -> None:
    for system, call in (("sqlite", "a mistake"), ("guayaba", "something absent")):
        span = only_span_of(system, call)
        assert span["status"] == "UNSET"
        assert "error.type" not in span["attributes"]
    assert only_span_of("guayaba", "something absent")["attributes"]["http.response.status_code"] == 404


def test_a_failed_span_has_the_type_of_the_error() -> None:
    for call, type in (
        ("a refusal", "401"),
        ("a silent server", "timeout"),
        ("a dropped connection", "RemoteProtocolError"),
    ):
        span = spans_of("guayaba", call)[-1]
        assert (span["status"], span["attributes"]["error.type"]) == ("ERROR", type)
        assert json.loads(span["whole"])["events"] == []
        assert json.loads(span["whole"])["status"] == {"status_code": "ERROR"}


def test_the_backend_receives_the_trace_context_and_nothing_else() -> None:
    told = recorded()["guayaba"]["requests"]
    spans = [span for call in recorded()["guayaba"] if call != "requests" for span in spans_of("guayaba", call)]
    assert [traceparent.split("-")[2] for traceparent in told] == [span["id"] for span in spans]


def test_spans_contain_no_ids_credentials_or_stored_text() -> None:
    systems = (recorded()[system] for system in ("sqlite", "guayaba"))
    spans = [span for calls in systems for call, spans in calls.items() if call != "requests" for span in spans]
    ours = "".join(span["whole"] for span in spans if span["scope"] == "mcp_sessions")
    assert ours
    for secret in recorded()["secrets"]:
        assert secret not in ours


def test_work_outside_of_calls_makes_no_span() -> None:
    assert recorded()["outside"] == []


async def test_without_an_sdk_the_backend_receives_no_trace_context() -> None:
    async with FakeGuayaba() as fake, served(fake) as tools:
        await tools.call("list_sessions")
        assert fake.requests
        assert not any("traceparent" in request.headers for request in fake.requests)

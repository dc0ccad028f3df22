"""What an operator's OpenTelemetry sees of a tool call: the backend's requests, under the SDK's span of the call."""

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
    """What `traced.py` prints: a process has one SDK, or none."""
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
    """Those of the backend."""
    return [span for span in recorded()[system][call] if span["scope"] == "mcp_sessions"]


def only_span_of(system: str, call: str) -> Span:
    (span,) = spans_of(system, call)
    return span


@pytest.mark.slow
def test_a_transaction_of_the_store_is_a_span_under_the_tool_calls() -> None:
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


def test_a_request_over_http_is_a_span_under_the_tool_calls() -> None:
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


def test_each_try_is_a_span_and_says_which_it_is() -> None:
    first, again = spans_of("guayaba", "a retry")
    assert (first["status"], again["status"]) == ("ERROR", "UNSET")
    assert first["attributes"]["error.type"] == "503"
    assert "http.request.resend_count" not in first["attributes"]
    assert again["attributes"]["http.request.resend_count"] == 1
    assert again["attributes"]["http.response.status_code"] == 200


def test_what_a_caller_does_wrong_is_no_error_of_the_backends_span() -> None:
    for system, call in (("sqlite", "a mistake"), ("guayaba", "something absent")):
        span = only_span_of(system, call)
        assert span["status"] == "UNSET"
        assert "error.type" not in span["attributes"]
    assert only_span_of("guayaba", "something absent")["attributes"]["http.response.status_code"] == 404


def test_what_went_wrong_is_told_by_its_type() -> None:
    for call, type in (
        ("a refusal", "401"),
        ("a silent server", "timeout"),
        ("a dropped connection", "RemoteProtocolError"),
    ):
        span = spans_of("guayaba", call)[-1]
        assert (span["status"], span["attributes"]["error.type"]) == ("ERROR", type)
        assert json.loads(span["whole"])["events"] == []
        assert json.loads(span["whole"])["status"] == {"status_code": "ERROR"}


def test_the_backend_is_told_of_the_trace_and_of_nothing_else() -> None:
    told = recorded()["guayaba"]["requests"]
    spans = [span for call in recorded()["guayaba"] if call != "requests" for span in spans_of("guayaba", call)]
    assert [traceparent.split("-")[2] for traceparent in told] == [span["id"] for span in spans]


def test_no_span_holds_an_id_a_credential_or_what_somebody_stored() -> None:
    systems = (recorded()[system] for system in ("sqlite", "guayaba"))
    spans = [span for calls in systems for call, spans in calls.items() if call != "requests" for span in spans]
    ours = "".join(span["whole"] for span in spans if span["scope"] == "mcp_sessions")
    assert ours
    for secret in recorded()["secrets"]:
        assert secret not in ours


def test_what_is_no_part_of_a_call_is_no_span() -> None:
    assert recorded()["outside"] == []


async def test_without_an_sdk_nothing_is_told_to_the_backend() -> None:
    async with FakeGuayaba() as fake, served(fake) as tools:
        await tools.call("list_sessions")
        assert fake.requests
        assert not any("traceparent" in request.headers for request in fake.requests)

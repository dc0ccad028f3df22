"""The recorded traffic of real clients, replayed against a server process: each response is as recorded, or better."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.client_replay import Event, Recording, corrected, corrections, names, outcome_of, recorded, replay


@pytest.mark.parametrize("name", names())
async def test_a_recorded_client_gets_the_right_responses(name: str, tmp_path: Path) -> None:
    await replay(corrected(name), tmp_path)


def test_there_are_seventeen_recordings() -> None:
    assert len(names()) == 17


@pytest.mark.parametrize(("name", "id"), [(name, id) for name, changes in corrections().items() for id in changes])
def test_a_correction_changes_a_reply_and_gives_its_reason(name: str, id: str) -> None:
    (reply,) = [event for event in recorded(name).events if str(event.get("reply")) == id]
    correction = dict(corrections()[name][id])
    assert correction.pop("reason")
    assert correction != outcome_of(reply)


def changed(event: Event, **values: object) -> Callable[[list[Event]], list[Event]]:
    """Return what gives other values to the only event with these."""

    def change(events: list[Event]) -> list[Event]:
        (place,) = [place for place, other in enumerate(events) if event.items() <= other.items()]
        return [*events[:place], {**events[place], **values}, *events[place + 1 :]]

    return change


def without(*kinds: str) -> Callable[[list[Event]], list[Event]]:
    return lambda events: [event for event in events if not event.keys() & set(kinds)]


ALTERED: dict[str, tuple[str, Callable[[list[Event]], list[Event]], str]] = {
    "another code": ("agno-3.1.10", changed({"reply": 8}, code="conflict"), "request 8: "),
    "a failure": ("agno-3.1.10", changed({"reply": 4}, is_error=True, code="invalid"), "request 4: "),
    "a success": ("agno-3.1.10", changed({"reply": 6}, is_error=False, code=""), "request 6: "),
    "no input needed": ("fastmcp-4.2.3", changed({"reply": 5, "input_required": True}, input_required=False), "req"),
    "no question": ("codex-0.171.0", without("asked", "answer"), "the recording has no question"),
    "a question": (
        "google-adk-2.13.0",
        lambda events: [*events[:-2], {"asked": "roots/list"}, *events[-2:]],
        "the server answered, and the recording has roots/list",
    ),
    "an unanswered request": ("google-adk-2.13.0", lambda events: [*events[:-2], events[-1]], "has nothing of"),
}


@pytest.mark.parametrize("name", ALTERED)
async def test_a_replay_fails_if_a_response_differs(name: str, tmp_path: Path) -> None:
    recording_name, alter, message = ALTERED[name]
    recording = corrected(recording_name)
    with pytest.raises(AssertionError, match=message):
        await replay(Recording(recording.variables, alter(recording.events)), tmp_path)

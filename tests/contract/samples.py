"""The conversations that the contract suite creates."""

from datetime import UTC, datetime, timedelta

from mcp_sessions.models import Attachment, NewMessage, ToolCall

WEATHER = (
    (
        NewMessage(role="user", text="What is the weather in Rome?"),
        NewMessage(role="assistant", tool_calls=(ToolCall(id="c1", name="get_weather", arguments='{"city":"Rome"}'),)),
        NewMessage(role="tool", text="22 degrees", tool_name="get_weather"),
        NewMessage(role="assistant", text="It is 22 degrees in Rome."),
    ),
    (
        NewMessage(
            role="user",
            text="And here?",
            attachments=(Attachment(type="image", media_type="image/png", url="https://example.org/map.png"),),
        ),
        NewMessage(role="assistant", text="That is Oslo: four degrees."),
    ),
)
"""Two runs of six messages in all; one calls a tool, one has an attachment."""

SAID = [message.text for run in WEATHER for message in run if message.text and message.role != "tool"]
"""The messages that a history shows of it without tools."""

PROJECTS = {
    "app": "/w/app",
    "lib": "/w/app/lib/",
    "similar": "/w/app2",
    "other case": "/w/App",
    "symbols": "/w/a%_.*[x]",
    "accent": "/w/e\u0301te\u0301",
    "windows": "C:\\W\\App",
    "elsewhere": "",
}
"""The names of sessions, and their folders."""
SELECTED_BY_PROJECT = {
    "/w": {"app", "lib", "similar", "other case", "symbols", "accent"},
    "/w/app": {"app", "lib"},
    "//w/./app//": {"app", "lib"},
    "/w/app/lib": {"lib"},
    "/w/ap": set[str](),
    "/w/a%": set[str](),
    "/w/a%_.*[x]": {"symbols"},
    "/w/\u00e9t\u00e9": {"accent"},
    "c:/w": {"windows"},
    "C:\\w\\APP\\": {"windows"},
    "C:\\w\\ap": set[str](),
    "\\\\?\\C:\\W\\App": {"windows"},
    "~/w": set[str](),
}
"""Filters by project, and the names of the sessions in `PROJECTS` that they select."""
NOT_FOLDERS = ["app", "./app", "../w", "/w/../w", "~ann", "C:app", "/w\0", "/w/\ud800", "/" + "w" * 1_000_000]
"""Texts that are not the full path of a folder."""


def exchanges(count: int) -> tuple[tuple[NewMessage, ...], ...]:
    """Return runs of a question and an answer each: `question 1`, `answer 1`, `question 2` …"""
    return tuple(
        (NewMessage(role="user", text=f"question {turn}"), NewMessage(role="assistant", text=f"answer {turn}"))
        for turn in range(1, count + 1)
    )


def moment(second: int) -> datetime:
    """Return a time in the past that is different for each number."""
    return datetime(2024, 5, 1, 12, tzinfo=UTC) + timedelta(seconds=second)

"""The file that keeps answers for the next start: what it accepts, and what it does when it can't be written."""

import hashlib
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcp_sessions.transports.stdio.answer_cache import MAX_SIZE, AnswerCache, RequestKeys

from ..support.stdio_client import ENVELOPE, initialize

TOOLS = {"tools": [{"name": "list_sessions"}]}


def opened(path: Path, version: str = "1") -> AnswerCache:
    return AnswerCache(path, version)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a cache file with one answer."""
    path = tmp_path / "cache" / "answers.json"
    opened(path).update("key", TOOLS)
    return path


def with_digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def stored(**content: Any) -> bytes:
    return with_digest(json.dumps({"version": "1", "answers": {"key": TOOLS}} | content).encode())


def test_the_next_start_finds_what_was_stored(path: Path) -> None:
    assert opened(path).answers == {"key": TOOLS}


def test_only_the_owner_can_read_the_file_and_its_folder(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_answers_of_another_version_are_ignored_and_replaced(path: Path) -> None:
    other = opened(path, "2")
    assert other.answers == {}
    other.update("other", TOOLS)
    assert opened(path, "2").answers == {"other": TOOLS}


def be_damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"list_sessions", b"list_sassions"))


def be_cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def be_empty(path: Path) -> None:
    path.write_bytes(b"")


def be_too_large(path: Path) -> None:
    path.write_bytes(stored(padding="x" * MAX_SIZE))


def be_too_deep(path: Path) -> None:
    path.write_bytes(with_digest(b"[" * 100_000))


def be_no_object(path: Path) -> None:
    path.write_bytes(with_digest(b"[]"))


def have_no_answers(path: Path) -> None:
    path.write_bytes(stored(answers=[TOOLS]))


def have_an_odd_answer(path: Path) -> None:
    path.write_bytes(stored(answers={"key": "text"}))


def be_no_text(path: Path) -> None:
    path.write_bytes(with_digest(b'"\xff"'))


def be_writable_for_others(path: Path) -> None:
    path.chmod(0o620)


def be_a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def be_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    "spoil",
    [
        be_damaged,
        be_cut_off,
        be_empty,
        be_too_large,
        be_too_deep,
        be_no_object,
        have_no_answers,
        have_an_odd_answer,
        be_no_text,
        be_writable_for_others,
        be_a_link,
        be_a_pipe,
    ],
)
def test_a_file_that_another_program_may_have_made_is_ignored_and_replaced(
    spoil: Callable[[Path], None], path: Path
) -> None:
    spoil(path)
    cache = opened(path)
    assert cache.answers == {}
    cache.update("key", {"tools": []})
    assert opened(path).answers == {"key": {"tools": []}}


def test_a_file_of_another_user_is_ignored(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert opened(path).answers == {}


def test_a_file_is_accepted_as_these_tests_write_it(path: Path) -> None:
    path.write_bytes(stored())
    assert opened(path).answers == {"key": TOOLS}


def test_two_servers_keep_each_others_answers(path: Path) -> None:
    one, other = opened(path), opened(path)
    one.update("one", TOOLS)
    other.update("other", TOOLS)
    assert opened(path).answers.keys() == {"key", "one", "other"}


def test_an_answer_that_is_stored_already_is_not_written_again(path: Path) -> None:
    before = path.stat().st_ino
    opened(path).update("key", TOOLS)
    assert path.stat().st_ino == before


def test_an_answer_can_be_removed(path: Path) -> None:
    opened(path).update("key", None)
    assert opened(path).answers == {}


def test_removing_the_file_twice_does_nothing(path: Path) -> None:
    for _ in range(2):
        opened(path).remove()
    assert not path.exists()


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = opened(tmp_path / "file" / "folder" / "answers.json")
    cache.update("key", TOOLS)
    assert cache.answers == {"key": TOOLS}


def test_a_full_disk_leaves_the_old_answers(path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    cache = opened(path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        cache.update("other", TOOLS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert opened(path).answers == {"key": TOOLS}
    assert list(path.parent.iterdir()) == [path]


def test_answers_that_are_too_large_are_not_written(path: Path) -> None:
    opened(path).update("large", {"tools": "x" * MAX_SIZE})
    assert opened(path).answers == {"key": TOOLS}


def test_the_oldest_answers_and_the_oldest_files_are_removed(path: Path) -> None:
    for number in range(40):
        opened(path).update(str(number), TOOLS)
    assert 0 < len(opened(path).answers) < 40
    assert "39" in opened(path).answers
    os.utime(path, (1, 1))
    for number in range(40):
        opened(path.with_name(f"{number}.json")).update("key", TOOLS)
    assert 0 < len(list(path.parent.iterdir())) < 40
    assert not path.exists()


def test_a_key_stands_for_the_request_and_the_handshake_before_it() -> None:
    keys, others = RequestKeys(), RequestKeys()
    first = keys.key_of("tools/list", {})
    assert first == keys.key_of("tools/list", {}) == others.key_of("tools/list", {})
    assert first not in (keys.key_of("tools/list", {"cursor": "x"}), keys.key_of("prompts/list", {}))
    keys.key_of("initialize", initialize(1)["params"])
    assert first != keys.key_of("tools/list", {})


def test_a_key_does_not_depend_on_a_progress_token() -> None:
    numbered = [
        RequestKeys().key_of("tools/list", {"_meta": {**ENVELOPE, "progressToken": number}}) for number in (1, 2)
    ]
    assert set(numbered) == {RequestKeys().key_of("tools/list", {"_meta": ENVELOPE})}
    odd = RequestKeys().key_of("tools/list", {"_meta": {**ENVELOPE, "progressToken": [1]}})
    assert odd not in numbered


@pytest.mark.parametrize("method", ["tools/call", "resources/list", "resources/read", "prompts/get", "ping"])
def test_requests_that_may_show_sessions_have_no_key(method: str) -> None:
    assert RequestKeys().key_of(method, {}) == ""

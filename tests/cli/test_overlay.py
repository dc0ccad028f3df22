"""`mcp-sessions overlay export` and `import`: nothing that was said of a session is lost or overwritten."""

import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from anyio.to_thread import run_sync

from mcp_sessions.backends.layers.overlay import Overlay, OverlayStore
from mcp_sessions.backends.layers.overlay.transfer import export_lines, import_lines, read_lines
from mcp_sessions.cli.main import main
from mcp_sessions.errors import Invalid

from ..layers.listed_backend import ListedBackend


def store_in(folder: Path, name: str) -> OverlayStore:
    return OverlayStore.from_url(f"sqlite:///{folder / name}")


async def _fill(store: OverlayStore, count: int) -> ListedBackend:
    inner = ListedBackend()
    async with Overlay(inner, store, source="list:") as backend:
        for number in range(count):
            inner.add(f"s{number}", user_id="ann")
            await backend.update_session(f"s{number}", summary=f"Number {number}\u2028", metadata={"n": number})
            await backend.update_session_state(f"s{number}", {"n": [number, True, "ü"]})
            await backend.archive_session(f"s{number}")
    return inner


async def _lines(store: OverlayStore) -> list[str]:
    async with store:
        return [line async for line in export_lines(store, [])]


async def test_an_export_is_imported_exactly_into_another_overlay(tmp_path: Path) -> None:
    one, other = store_in(tmp_path, "one.db"), store_in(tmp_path, "other.db")
    inner = await _fill(one, 120)
    lines = await _lines(one)
    assert len(lines) == 4 * 120
    async with other:
        added = await import_lines(other, read_lines(lines))
        again = await import_lines(other, read_lines(lines))
    assert (added.added, added.equal, again.added, again.equal) == (480, 0, 0, 480)
    assert added.different == again.different == []
    assert await _lines(other) == lines
    async with Overlay(inner, one, source="list:") as first, Overlay(inner, other, source="list:") as second:
        session = await first.get_session("s7")
        version = session.version.replace("+3", "+4")
        assert await second.get_session("s7") == session.model_copy(update={"version": version})


async def test_an_import_changes_nothing_that_is_kept_already(tmp_path: Path) -> None:
    store = store_in(tmp_path, "one.db")
    await _fill(store, 2)
    lines = await _lines(store)
    changed = [json.dumps(json.loads(lines[1]) | {"value": {"n": "other"}})]
    async with store:
        result = await import_lines(store, read_lines(changed))
    assert (result.added, result.equal, [line.field for line in result.different]) == (0, 0, ["state"])
    assert await _lines(store) == lines


async def test_what_the_overlay_has_of_a_session_is_not_replaced_by_an_import(tmp_path: Path) -> None:
    store = store_in(tmp_path, "one.db")
    inner = await _fill(store, 1)
    line = json.loads((await _lines(store))[1])
    assert line["value"] == {"n": [0, True, "ü"]}
    changed = [
        line | {"value": {"n": [0, 1, "ü"]}},
        line | {"source": "x:"},
        line | {"source": "x:", "session_id": "y"},
    ]
    async with store:
        result = await import_lines(store, read_lines(map(json.dumps, changed)))
    assert (result.added, result.equal, len(result.different)) == (1, 1, 1)
    assert {json.loads(each)["session_id"] for each in await _lines(store)} == {"s0"}
    async with Overlay(inner, store, source="list:") as backend:
        assert (await backend.get_session("s0")).state == {"n": [0, True, "ü"]}


async def test_values_of_a_deleted_session_are_exported_with_the_time_of_its_deletion(tmp_path: Path) -> None:
    one, other = store_in(tmp_path, "one.db"), store_in(tmp_path, "other.db")
    inner = await _fill(one, 2)
    async with Overlay(inner, one, source="list:") as backend:
        await backend.delete_session("s0")
    lines = await _lines(one)
    assert ["gone_at" in json.loads(line) for line in lines] == [True] * 4 + [False] * 4
    async with other:
        await import_lines(other, read_lines(lines))
    assert await _lines(other) == lines


LINE = {"source": "s:", "identity": "i", "session_id": "i", "user_id": "", "field": "summary", "value": "x"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": ""},
        {"identity": 1},
        {"user_id": "\0"},
        {"field": "name"},
        {"field": ["state"], "value": {}},
        {"field": "state", "value": []},
        {"field": "state", "value": {"a": float("nan")}},
        {"field": "state", "value": {"a": "x" * 1_100_000}},
        {"value": None},
        {"value": "x" * 20_000},
        {"field": "archived_at", "value": "2026-01-01T00:00:00"},
        {"field": "archived_at", "value": 5},
        {"field": "archived_at", "value": "0001-01-01T00:00:00+14:00"},
        {"gone_at": "9999-12-31T23:59:59-14:00"},
        {"gone_at": None},
        {"extra": 1},
    ],
    ids=range(16),
)
def test_a_line_that_is_not_one_of_an_export_is_refused_by_its_number(wrong: dict[str, object]) -> None:
    with pytest.raises(Invalid, match=r"line 3 can't be imported: .* Nothing was imported"):
        read_lines([json.dumps(LINE), "", json.dumps(LINE | wrong)])


@pytest.mark.parametrize("text", ["{", "[]", "null", "[" * 100_000, "1e999"], ids=range(5))
def test_text_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="line 1"):
        read_lines([text])


def test_the_commands_write_a_private_file_and_read_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "values.jsonl"
    overlay = ["--overlay", f"sqlite:///{tmp_path / 'o.db'}"]
    file.write_text(json.dumps(LINE) + "\n")
    assert main(["overlay", "import", str(file), *overlay], {}) == 0
    assert capsys.readouterr().out == "Added 1 values; 0 were there already.\n"
    assert main(["overlay", "export", str(file), *overlay], {}) == 2
    assert "file exists" in capsys.readouterr().err
    out = tmp_path / "out.jsonl"
    assert main(["overlay", "export", str(out), *overlay], {}) == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert json.loads(out.read_text()) == LINE
    file.write_text(json.dumps(LINE | {"value": "y"}))
    capsys.readouterr()
    assert main(["overlay", "import", str(file), *overlay], {}) == 1
    assert 'summary of "i" in "s:"' in capsys.readouterr().out


async def test_damaged_values_are_named_and_cost_no_other_value_an_export_or_an_import(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = store_in(tmp_path, "one.db"), store_in(tmp_path, "other.db")
    await _fill(one, 3)
    lines = await _lines(one)
    with closing(sqlite3.connect(tmp_path / "one.db")) as connection:
        connection.execute("UPDATE facts SET state = '{', summary = x'00' WHERE session_id = 's0'")
        connection.execute("UPDATE facts SET archived_at = 'today' WHERE session_id = 's1'")
        connection.commit()

    async def run(*command: str, overlay: str) -> int:
        return await run_sync(lambda: main(("overlay", *command, "--overlay", f"sqlite:///{tmp_path / overlay}"), {}))

    file = tmp_path / "values.jsonl"
    assert await run("export", str(file), overlay="one.db") == 1
    assert capsys.readouterr().out == (
        f"Exported 9 values to {file}.\n"
        "3 values were left out, since they are damaged in the overlay:\n"
        '  state of "s0" in "list:"\n  summary of "s0" in "list:"\n  archived_at of "s1" in "list:"\n'
    )
    async with other:
        assert (await import_lines(other, read_lines(lines))).added == 12
        assert (await import_lines(other, read_lines(file.read_text().split("\n")))).equal == 9
    with closing(sqlite3.connect(tmp_path / "one.db")) as connection:
        connection.execute("DELETE FROM facts WHERE session_id = 's2'")
        connection.commit()
    assert await run("import", str(file), overlay="one.db") == 1
    assert capsys.readouterr().out.startswith("Added 4 values; 0 were there already.\n5 differ")


def test_commands_that_cannot_run_say_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "values.jsonl"
    overlay = ["--overlay", f"sqlite:///{tmp_path / 'o.db'}"]
    file.write_bytes(b"\xff")
    assert main(["overlay", "import", str(file), *overlay], {}) == 2
    assert main(["overlay", "import", str(file), "--overlay", "off"], {}) == 2
    assert main(["overlay", "import", str(tmp_path / "absent"), *overlay], {}) == 2
    capsys.readouterr()
    assert main(["overlay", "export", str(tmp_path / "none"), *overlay], {}) == 2
    assert "there is no overlay yet" in capsys.readouterr().err
    (tmp_path / "o.db").write_bytes(b"damaged" * 100)
    capsys.readouterr()
    assert main(["overlay", "export", str(tmp_path / "none"), *overlay], {}) == 1
    assert "the overlay can't be used" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()

"""The benchmarks in short, with margins that hold on any machine. `python -m tests.benchmarks` has the figures."""

from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import median

import anyio
import pytest

from tests.benchmarks import (
    bench_calls,
    bench_claude_code,
    bench_codex,
    bench_growth,
    bench_index,
    bench_overlay,
    bench_search,
    bench_several,
    bench_size,
)
from tests.benchmarks.measuring import assert_below, ratios
from tests.support.claude_transcripts import Transcript

SIZES = (1_000, 20_000)
TIMES = 2  # that a call may take among twenty times as many sessions, which looking at each would take
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.timing
def test_a_large_result_is_faster_than_through_a_plain_server(tmp_path: Path) -> None:
    answers, asked = anyio.run(bench_calls.recorded)
    with bench_calls.upstream(tmp_path, answers) as url:
        measured = bench_calls.ratios_to_a_plain_server(tmp_path, url, asked["200 KB"], rounds=3, calls=15)
    assert median(measured["http"]) < 1
    assert median(measured["stdio"]) < 1


@pytest.mark.timing
async def test_a_list_and_a_session_take_as_long_among_many_as_among_few(tmp_path: Path) -> None:
    for size in SIZES:
        bench_growth.build(tmp_path / f"{size}.db", size, size)

    async def measure() -> dict[str, float]:
        taken = await bench_growth.measure(tmp_path, SIZES, operations=("list", "get"))
        bench_growth.plot(taken, SIZES, tmp_path / "growth.png")
        return {operation: median(ratios(each, "20000", "1000")) for operation, each in taken.items()}

    await assert_below({"list": TIMES, "get": TIMES}, measure)
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.timing
async def test_a_list_of_several_stores_takes_less_than_the_lists_of_each_and_a_get_as_long(tmp_path: Path) -> None:
    async def measure() -> dict[str, float]:
        whole_list, get = await bench_several.measure(tmp_path, 1_000)
        return {"list": whole_list.value, "get": get.value}

    await assert_below({"list": 1, "get": 1.5}, measure)


@pytest.mark.timing
async def test_an_overlay_adds_little_to_a_get_and_to_a_list(tmp_path: Path) -> None:
    async def measure() -> dict[str, float]:
        return {figure.name: figure.value for figure in await bench_overlay.measure(tmp_path, 1_000)}

    get, whole_list = "get through an overlay ÷ get", "list through an overlay ÷ list"
    await assert_below({get: 5, whole_list: TIMES}, measure)  # a get takes 0.1 ms, so a transaction more shows


async def test_results_are_a_fraction_of_the_size_of_agentos_responses() -> None:
    values = {figure.name: figure.value for figure in await bench_size.measure()}
    assert values["list of 20 ÷ AgentOS's answer, characters"] < 1 / 4
    assert values["history of 50 ÷ AgentOS's answer, characters"] < 1 / 2
    assert values["history of 50 of the store ÷ its texts alone, characters"] < 1.25


@pytest.mark.timing
async def test_a_list_of_claude_code_reads_few_files_and_a_history_only_the_end_of_one(tmp_path: Path) -> None:
    bench_claude_code.write_sessions(tmp_path / "lists", 2_000, kilobytes=20)

    async def measure() -> dict[str, float]:
        first, later, *_ = await bench_claude_code.list_figures(tmp_path / "lists", rounds=5)
        return {"first": first.value, "later": later.value}

    await assert_below({"first": 8, "later": 2}, measure)
    long, _, memory = await bench_claude_code.history_figures(tmp_path / "histories", megabytes=4, rounds=5)
    assert long.value < TIMES
    assert memory.value < TIMES


@pytest.mark.timing
async def test_a_list_of_codex_reads_few_files_and_a_history_only_the_end_of_one(tmp_path: Path) -> None:
    bench_codex.write_threads(tmp_path / "lists", 2_000, kilobytes=20)

    async def measure() -> dict[str, float]:
        first, later, *_ = await bench_codex.list_figures(tmp_path / "lists", rounds=5)
        return {"first": first.value, "later": later.value}

    await assert_below({"first": 8, "later": 1}, measure)
    figures = await bench_codex.history_figures(tmp_path / "histories", megabytes=4, rounds=5)
    values = {figure.name: figure.value for figure in figures}
    for kind in ("paginated", "legacy"):
        assert values[f"newest page of 4 MB ÷ of 0.2 MB, {kind}"] < TIMES
        assert values[f"peak memory to count 4 MB ÷ 0.2 MB, {kind}"] < TIMES


@pytest.mark.timing
async def test_the_search_index_is_small_and_much_faster_than_reading_the_files(tmp_path: Path) -> None:
    figures = await bench_index.figures(tmp_path, 4)
    values = {figure.name: figure.value for figure in figures}
    assert values["index ÷ files"] <= 1 / 3
    assert values["search ÷ search without an index"] < 0.5
    # Two threads do almost all of the work, so that a second has little more than two seconds of the processor.
    processor = values["MB of files indexed in a second of the processor"]
    assert values["MB of files indexed in a second"] < 3 * processor


@pytest.mark.timing
def test_a_search_over_stdio_is_faster_by_an_index_than_without_and_finds_what_was_appended(tmp_path: Path) -> None:
    tries = count()  # each in a folder of its own

    async def measure() -> dict[str, float]:
        figures = bench_search.measure(tmp_path / str(next(tries)), 4, rounds=3)
        return {figure.name: figure.value for figure in figures}

    anyio.run(assert_below, {"search_sessions ÷ the same call with --index off": 0.5}, measure)


@pytest.mark.timing
async def test_an_index_costs_little_more_than_one_by_hand(tmp_path: Path) -> None:
    tries = count()  # each in a folder of its own

    async def measure() -> dict[str, float]:
        folder = tmp_path / str(next(tries))
        claude_code = await bench_index.figures(folder / "claude-code", 4)
        codex = await bench_index.codex_figures(folder / "codex", 4)
        return {figure.name: figure.value for figure in (*claude_code, *codex)}

    by_hand = "index ÷ an index by hand"
    await assert_below({by_hand: 3.5, f"{by_hand}, paginated": 3.5, f"{by_hand}, legacy": 3.5}, measure)


@pytest.mark.slow
def test_indexing_many_sessions_takes_hardly_more_memory_than_indexing_few(tmp_path: Path) -> None:
    peak: dict[int, float] = {}
    for sessions in (10, 50):
        root = tmp_path / str(sessions)
        for number in range(sessions):
            transcript = Transcript()
            messages = number + 2  # another number in each, so that each batch is inserted by another statement
            for _ in range(messages):
                transcript.prompt("a word " * (100_000 // messages), NOW)
            transcript.write(root, NOW)
        options = ["--backend", f"claude-code://{root}", "--index", str(root / "index.db")]
        peak[sessions] = bench_index.rebuild_index(root, options).peak_memory
    assert peak[50] < 1.2 * peak[10]

"""Fixtures of the contract suite: they generate its cells and open a system for each."""

from collections.abc import AsyncGenerator, Generator

import pytest

from .cells import MARKS, cells, deviation_of_a_run, is_known_deviation
from .harness import Harness, System


def pytest_configure(config: pytest.Config) -> None:
    for mark in MARKS:
        config.addinivalue_line("markers", mark)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(name: str, obj: object) -> list[pytest.Item] | None:
    """Leave out a test that no backend in the run must pass, instead of skipping it."""
    return [] if name.startswith("test_") and cells(obj) == [] else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    made = cells(metafunc.function)
    if made is not None:
        names = ["system", "capability"][: len(made[0].values)]
        values = [pytest.param(*cell.values, id=cell.id, marks=cell.marks) for cell in made]
        metafunc.parametrize(names, values, indirect=["system"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in deviation_of_a_run(item):
            item.add_marker(mark)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Drop the traceback of an expected failure: pytest parses its source files for a report that it does not print."""
    try:
        return (yield)
    except BaseException as failure:
        if is_known_deviation(pyfuncitem, failure):
            raise failure.with_traceback(None) from None
        raise


@pytest.fixture
async def system(request: pytest.FixtureRequest) -> AsyncGenerator[System]:
    """Yield a backend on an empty system of its own."""
    harness: Harness = request.param()
    async with harness.open() as backend:
        yield System(harness, backend)

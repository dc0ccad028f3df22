"""The search index that settings give to backends without one."""

from pathlib import Path

import pytest

from mcp_sessions.backends.layers.index import Indexed
from mcp_sessions.config.build import build_backends
from mcp_sessions.config.settings import Settings


@pytest.mark.parametrize("is_on", [True, False])
def test_a_system_without_a_search_index_gets_one_unless_it_is_off(is_on: bool, tmp_path: Path) -> None:
    urls = (f"sqlite:///{tmp_path / 'store.db'}", "work=agentos+http://127.0.0.1:9")
    index = str(tmp_path / "index.db") if is_on else "off"
    backends = build_backends(Settings(backend=urls, overlay="off", index=index))
    assert {name: isinstance(backend, Indexed) for name, backend in backends.items()} == {"": False, "work": is_on}
    assert not (tmp_path / "index.db").exists()

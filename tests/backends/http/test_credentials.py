"""Credentials that can't be sent are refused, and the least recently used ones are removed from the cache."""

import pytest

from mcp_sessions.backends.backend_type import OpenContext
from mcp_sessions.backends.http.credentials import Credential, CredentialCache
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.caller import Caller
from mcp_sessions.errors import Invalid, Unauthorized

URLS = ("agentos+http://localhost:7777", "guayaba:")
UNFIT = ("hunter2\r\nX: y", "hunter 2", "hunter2ü", "hunter2\0", "hunter2" * 3000)
on_each_url = pytest.mark.parametrize("url", URLS)


def numbered(count: int) -> list[Credential]:
    return [Credential(str(number), is_from_caller=True) for number in range(count)]


@on_each_url
@pytest.mark.parametrize("token", UNFIT, ids=range(len(UNFIT)))
def test_a_credential_that_no_header_can_contain_is_refused_and_not_shown(url: str, token: str) -> None:
    backend = open_backend(url, callers_have_credentials=True)
    with pytest.raises(Unauthorized, match="your own credential") as refused:
        backend.for_caller(Caller(credential=token))
    with pytest.raises(Invalid, match="MCP_SESSIONS_TOKEN") as invalid:
        open_backend(url, token=token)
    assert "hunter" not in refused.value.text + invalid.value.text


@on_each_url
def test_a_credential_is_not_in_a_repr(url: str) -> None:
    backend = open_backend(url, token="hunter2")
    view = backend.for_caller(Caller(credential="hunter3"))
    shown = [backend, view, OpenContext(token="hunter2"), Caller(credential="hunter2"), Credential("hunter2")]
    assert "hunter" not in "".join(f"{item!r} {vars(item) if hasattr(item, '__dict__') else ''}" for item in shown)


def test_a_client_is_created_once_per_credential_and_used_only_for_it() -> None:
    cache = CredentialCache(lambda credential: [credential])
    one, other = numbered(2)
    assert cache.get(one) is cache.get(Credential("0", is_from_caller=True))
    assert cache.get(one) == [one]
    assert cache.get(other) == [other]
    assert cache.get(Credential("0")) is not cache.get(one)  # the operator's is no caller's, though it be the same


def test_of_too_many_clients_the_least_recently_used_is_closed() -> None:
    closed: list[Credential] = []
    cache = CredentialCache(lambda credential: credential, close=closed.append, max_size=3)
    first, second, third, fourth = numbered(4)
    for credential in (first, second, third, first, fourth):
        cache.get(credential)
    assert closed == [second]
    cache.close()
    assert set(closed) == {first, second, third, fourth}
    assert len(closed) == 4


def test_clients_in_use_are_closed_last() -> None:
    closed: list[Credential] = []
    first, second, third, fourth = numbered(4)
    busy = {first, second}
    cache = CredentialCache(
        lambda credential: credential, close=closed.append, is_idle=lambda it: it not in busy, max_size=3
    )
    for credential in (first, second, third, fourth):
        cache.get(credential)
    assert closed == [third]
    busy.add(fourth)
    cache.get(third)
    assert closed == [third, first]

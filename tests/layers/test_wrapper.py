"""A `Wrapper` passes on each call of each method with unchanged arguments."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import pytest

from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.backends.layers.many import Many
from mcp_sessions.backends.layers.wrapper import Wrapper
from mcp_sessions.backends.options import BackendOptions
from mcp_sessions.caller import Caller
from mcp_sessions.errors import Invalid, Unauthorized

VALUES = {"title", "capabilities", "options", "appended_roles", "has_search_index"}
"""The attributes that a wrapper copies from the inner backend when it is created."""
OF_VIEWS = {"caller", "for_caller", "creating_in"}
"""The attributes that concern views. A wrapper's view wraps a view of the inner backend."""
PUBLIC = {name for name in {*vars(SessionBackend), *SessionBackend.__annotations__} if not name.startswith("_")}
METHODS = sorted(PUBLIC - VALUES - OF_VIEWS - {"keeps"})


@dataclass
class Call:
    """A call that arrived, with the defaults of the arguments that it leaves out."""

    name: str
    arguments: dict[str, Any]
    result: object = None


class Recorder(SessionBackend):
    """A backend that can do everything, and records how its methods are called."""

    title = "the recorder"
    capabilities = frozenset(Capability)
    options = BackendOptions()

    def __init__(self) -> None:
        self.calls: list[Call] = []

    @property
    def keeps(self) -> frozenset[str]:
        return frozenset({"summary"})

    async def __aenter__(self) -> Self:
        self.calls.append(Call("__aenter__", {}))
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.calls.append(Call("__aexit__", {"exc_type": exc_type, "exc": exc, "traceback": traceback}))

    def _prepare_view(self) -> None:
        if self.caller.user_id == "nobody":
            raise Unauthorized("nobody is refused")


def recorded(name: str) -> Callable[..., Any]:
    """Return a method that records its calls, and returns a new object if the real method returns something."""
    real = getattr(SessionBackend, name)
    signature = inspect.signature(real)

    def record(self: Recorder, *args: Any, **kwargs: Any) -> object:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        result = None if signature.return_annotation is None else object()
        self.calls.append(Call(name, {key: value for key, value in bound.arguments.items() if key != "self"}, result))
        return result

    async def record_awaited(self: Recorder, *args: Any, **kwargs: Any) -> object:
        return record(self, *args, **kwargs)

    return record_awaited if inspect.iscoroutinefunction(real) else record


for method in METHODS:
    setattr(Recorder, method, recorded(method))


async def call(method: Callable[..., Any], *args: Any, **kwargs: Any) -> object:
    result = method(*args, **kwargs)
    return await result if inspect.iscoroutine(result) else result


def parameters_of(name: str) -> list[inspect.Parameter]:
    return [*inspect.signature(getattr(SessionBackend, name)).parameters.values()][1:]


def test_every_public_attribute_of_a_backend_is_passed_on() -> None:
    passed_on = set(vars(Wrapper))
    assert passed_on >= PUBLIC - VALUES - OF_VIEWS
    assert set(vars(Wrapper(Recorder()))) == VALUES | {"inner"}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_the_signature_of_the_backends(name: str) -> None:
    assert inspect.signature(getattr(Wrapper, name)) == inspect.signature(getattr(SessionBackend, name))


@pytest.mark.parametrize("name", METHODS)
async def test_a_call_arrives_with_the_same_arguments_and_returns_the_same_result(name: str) -> None:
    inner = Recorder()
    parameters = parameters_of(name)
    given = {parameter.name: object() for parameter in parameters}
    named = {item.name: given[item.name] for item in parameters if item.kind is inspect.Parameter.KEYWORD_ONLY}
    positional = [value for key, value in given.items() if key not in named]
    result = await call(getattr(Wrapper(inner), name), *positional, **named)
    (arrived,) = inner.calls
    assert (arrived.name, arrived.arguments) == (name, given)
    assert result is arrived.result


@pytest.mark.parametrize("name", METHODS)
async def test_arguments_that_are_left_out_arrive_as_their_defaults(name: str) -> None:
    inner = Recorder()
    required = [object() for parameter in parameters_of(name) if parameter.default is parameter.empty]
    await call(getattr(Wrapper(inner), name), *required)
    await call(getattr(inner, name), *required)
    through, direct = inner.calls
    assert through.arguments == direct.arguments


def test_it_has_what_the_inner_backend_has() -> None:
    class Other(Recorder):
        title = "another recorder"
        capabilities = frozenset({Capability.GET_SESSION})
        options = BackendOptions()

        @property
        def keeps(self) -> frozenset[str]:
            return frozenset({"name"})

    for inner in (Recorder(), Other()):
        wrapper = Wrapper(inner)
        assert (wrapper.title, wrapper.capabilities, wrapper.keeps) == (inner.title, inner.capabilities, inner.keeps)
        assert wrapper.options is inner.options


async def test_the_inner_backend_is_entered_and_left_once() -> None:
    inner, error = Recorder(), ZeroDivisionError()
    wrapper = Wrapper(inner)
    with pytest.raises(ZeroDivisionError):
        async with wrapper as entered:
            assert entered is wrapper
            assert [call.name for call in inner.calls] == ["__aenter__"]
            raise error
    assert [call.name for call in inner.calls] == ["__aenter__", "__aexit__"]
    left = inner.calls[1].arguments
    assert (left["exc_type"], left["exc"], left["traceback"]) == (ZeroDivisionError, error, error.__traceback__)


class Separating(Recorder):
    """A recorder that has views for users."""

    def why_no_user_scoping(self) -> str:
        return ""


async def test_a_view_calls_the_inner_backends_view_for_the_same_caller() -> None:
    inner, ann = Separating(), Caller(user_id="ann")
    wrapper = Wrapper(Wrapper(inner))
    view = wrapper.for_caller(ann)
    middle = view.inner
    assert isinstance(middle, Wrapper)
    assert (view.caller, middle.caller, middle.inner.caller) == (ann, ann, ann)
    assert (wrapper.caller, inner.caller) == (Caller(), Caller())
    assert wrapper.inner is not middle
    assert type(middle.inner) is Separating


def test_a_caller_whom_the_inner_backend_refuses_gets_no_view() -> None:
    with pytest.raises(Unauthorized, match="nobody is refused"):
        Wrapper(Separating()).for_caller(Caller(user_id="nobody"))


def test_a_view_that_creates_sessions_in_another_backend_is_a_wrapper_too() -> None:
    wrapper = Wrapper(Many({"": Recorder(), "work": Recorder()}))
    view = wrapper.creating_in("work")
    assert type(view) is Wrapper
    assert view.inner is not wrapper.inner
    with pytest.raises(Invalid, match="no backend"):
        Wrapper(Recorder()).creating_in("work")

"""The parameters of the routes, and the answers to requests with wrong ones."""

import json
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from mcp_sessions.json_documents import Json, JsonObject, is_object

from ..http import Request

_DEEPEST_THAT_PARSES = 950
Model = TypeVar("Model", bound=BaseModel)
Body = TypeVar("Body", bound=BaseModel)


class Refused(Exception):
    """An error response that a route returns on purpose."""

    def __init__(self, status: int, detail: Json) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail


class SessionType(StrEnum):
    AGENT = "agent"
    TEAM = "team"
    WORKFLOW = "workflow"


class SortOrder(StrEnum):
    ASC = "asc"
    DESC = "desc"


class Scope(BaseModel):
    """The parameters of every route except creation."""

    type: SessionType | None = None
    user_id: str | None = None
    db_id: str | None = None
    table: str | None = None


class ListQuery(BaseModel):
    type: SessionType | None = None
    component_id: str | None = None
    user_id: str | None = None
    session_name: str | None = None
    limit: int = Field(20, ge=1)
    page: int = Field(1, ge=0)
    sort_by: str = "created_at"
    sort_order: SortOrder = SortOrder.DESC
    db_id: str | None = None
    table: str | None = None


class RunsQuery(Scope):
    created_after: int | None = None
    created_before: int | None = None


class CreateQuery(BaseModel):
    type: SessionType = SessionType.AGENT
    db_id: str | None = None


class CreateBody(BaseModel):
    session_id: str | None = None
    session_name: str | None = None
    session_state: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    user_id: str | None = None
    agent_id: str | None = None
    team_id: str | None = None
    workflow_id: str | None = None


class RenameBody(BaseModel):
    session_name: str


class UpdateBody(BaseModel):
    session_name: str | None = None
    session_state: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    summary: dict[str, Any] | None = None


class DeleteBody(BaseModel):
    session_ids: list[str] = Field(min_length=1)
    session_types: list[SessionType] = Field(min_length=1)


def query_of(request: Request, model: type[Model]) -> Model:
    checked = _query(request, model)
    return _raised(checked) if isinstance(checked, list) else checked


def both_of(request: Request, query: type[Model], body: type[Body], *, newer: bool) -> tuple[Model, Body]:
    """Return the query and the body. Raise one error with the problems of both."""
    asked, given = _query(request, query), _body(request, body, newer=newer)
    if isinstance(asked, list) or isinstance(given, list):
        return _raised([problem for part in (asked, given) if isinstance(part, list) for problem in part])
    return asked, given


def _query(request: Request, model: type[Model]) -> Model | list[Json]:
    given: JsonObject = {name: values[-1] for name, values in request.query.items() if name in model.model_fields}
    return _validated(model, given, "query")


def _body(request: Request, model: type[Body], *, newer: bool) -> Body | list[Json]:
    given = _parsed(request)
    if model is RenameBody:
        known: JsonObject = given if is_object(given) else {}
        if "session_name" not in known or (known["session_name"] is None and not newer):
            return [_missing("body", "session_name")]
    elif not request.body and model is CreateBody:
        given = {}
    elif not request.body or (given is None and not newer):
        return [_missing("body")]
    return _validated(model, given, "body")


def _raised(problems: list[Json]) -> NoReturn:
    raise Refused(422, problems)


def _parsed(request: Request) -> Json:
    if not request.body:
        return None
    try:
        given = json.loads(request.body)
    except json.JSONDecodeError as error:
        problem: JsonObject = {
            "type": "json_invalid",
            "loc": ["body", error.pos],
            "msg": "JSON decode error",
            "input": {},
        }
        raise Refused(422, [problem | {"ctx": {"error": error.msg}}]) from error
    except (ValueError, RecursionError) as error:
        raise Refused(400, "There was an error parsing the body") from error
    if depth(given) > _DEEPEST_THAT_PARSES:
        raise Refused(400, "There was an error parsing the body")
    return given


def depth(value: Json) -> int:
    """Return the depth of nested arrays and objects."""
    levels, inside = 0, [value]
    while inside := [child for item in inside if isinstance(item, dict | list) for child in _children(item)]:
        levels += 1
    return levels


def _children(value: Json) -> list[Json]:
    return [None, *(value.values() if is_object(value) else value)]


def _missing(*where: str) -> JsonObject:
    return {"type": "missing", "loc": list(where), "msg": "Field required", "input": None}


def _validated(model: type[Model], given: Json, part: str) -> Model | list[Json]:
    try:
        return TypeAdapter(model).validate_python(given, from_attributes=True)
    except ValidationError as error:
        return [{**problem, "loc": [part, *problem["loc"]]} for problem in error.errors(include_url=False)]

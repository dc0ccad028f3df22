"""The caller of a request: the operator, or the subject of the request's token."""

from collections.abc import Mapping
from dataclasses import replace

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from pydantic import Field

from ..caller import Caller, Scope
from ..errors import Unauthorized


class Identity(AccessToken):
    """The claims of an accepted token. The token itself is not kept, so that it can't be forwarded by mistake."""

    token: str = ""
    credentials: Mapping[str, str] = Field(default={}, repr=False)
    """The caller's own credentials by backend name, "" for the backend without a name or the only one."""


def caller_of(operator: Caller, *, authenticated: bool) -> Caller:
    """Return the caller of the current request. Raise `Unauthorized` if authentication is required and missing."""
    if not authenticated:
        return operator
    identity = get_access_token()
    if not isinstance(identity, Identity) or not identity.subject:
        raise Unauthorized("this call has no token that names a subject. Send one as Authorization: Bearer.")
    return replace(
        operator,
        subject=identity.subject,
        user_id=operator.user_id or identity.subject,
        scopes=frozenset(scope for scope in Scope if scope in identity.scopes),
        credential=identity.credentials.get("", ""),
        credentials=identity.credentials,
    )

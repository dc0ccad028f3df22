"""Who a request is from: the operator, or whoever its token names."""

from dataclasses import replace

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from pydantic import Field

from ..caller import Caller, Scope
from ..errors import Unauthorized


class Identity(AccessToken):
    """What a token that was let in says. Its own text is not kept, so that nothing can ever forward it."""

    token: str = ""
    credential: str = Field(default="", repr=False)
    """The caller's own for the backend, "" for the configured one."""


def caller_of(operator: Caller, *, authenticated: bool) -> Caller:
    """The caller of the request at hand: each request says anew who it is from.

    Raises `Unauthorized` where callers must be told apart and nothing tells it.
    """
    if not authenticated:
        return operator
    identity = get_access_token()
    if not isinstance(identity, Identity) or not identity.subject:
        raise Unauthorized("this call came without a token that says whose it is. Send one as Authorization: Bearer.")
    return replace(
        operator,
        subject=identity.subject,
        user_id=operator.user_id or identity.subject,
        scopes=frozenset(scope for scope in Scope if scope in identity.scopes),
        credential=identity.credential,
    )

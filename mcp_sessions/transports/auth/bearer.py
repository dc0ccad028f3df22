"""Who may call over HTTP: a bearer token with each request, and nothing else."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, RequireAuthMiddleware
from pydantic import AnyHttpUrl
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, BaseUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from ...caller import Scope
from ...errors import Unavailable, whereabouts
from ...server.identity import Identity
from .credentials import SubjectCredentials

CREDENTIAL_HEADER = "x-backend-authorization"
METADATA_PATH = "/.well-known/oauth-protected-resource"
_MOST_CHARACTERS = 16_384

logger = logging.getLogger(__name__)


class Verifier(Protocol):
    async def verify_token(self, token: str) -> Identity | None: ...


@dataclass(frozen=True)
class Authentication:
    """Those who are let in, by any of `verifiers`, and what their backend credential is.

    `issuer` and `resource` are told to clients that look for where to get a token (RFC 9728); "" for no such place.
    """

    verifiers: Sequence[Verifier]
    issuer: str = ""
    resource: str = ""
    own_credentials: bool = False
    credentials: SubjectCredentials | None = None

    def around(self, app: ASGIApp, metadata_url: str) -> ASGIApp:
        """The same application for those who are let in; 401 for everybody else."""
        url = AnyHttpUrl(metadata_url) if metadata_url else None
        inner = AuthContextMiddleware(RequireAuthMiddleware(app, [], url))
        return AuthenticationMiddleware(inner, backend=_Bearer(self), on_error=_not_now)

    def metadata(self, url: str) -> Response:
        """The document of RFC 9728; `url` is the server's own, for an audience that is no URL."""
        return JSONResponse(
            {
                "resource": self.resource or url,
                "authorization_servers": [self.issuer],
                "scopes_supported": list(Scope),
                "bearer_methods_supported": ["header"],
                "resource_name": "mcp-sessions",
            },
            headers={"Access-Control-Allow-Origin": "*"},
        )


class _Bearer(AuthenticationBackend):
    def __init__(self, authentication: Authentication) -> None:
        self._authentication = authentication

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        token = _bearer(conn, "authorization")
        if not token:
            return None
        for verifier in self._authentication.verifiers:
            try:
                identity = await verifier.verify_token(token)
            except Unavailable as error:
                raise AuthenticationError(error.text) from error
            except Exception as error:
                logger.error("a token was not let in, since judging it failed by %s", whereabouts(error))
                continue
            if identity is not None:
                identity = identity.model_copy(update={"credential": self._credential(conn, identity)})
                return AuthCredentials(identity.scopes), AuthenticatedUser(identity)
        return None

    def _credential(self, conn: HTTPConnection, identity: Identity) -> str:
        if self._authentication.own_credentials:
            return _bearer(conn, CREDENTIAL_HEADER)
        known = self._authentication.credentials
        return known.of(identity.subject or "") if known else ""


def _bearer(conn: HTTPConnection, header: str) -> str:
    """The token in a header, "" unless there is one such header, with one, of a sensible length."""
    given = conn.headers.getlist(header)
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    token = token.strip()
    return token if scheme.lower() == "bearer" and len(token) <= _MOST_CHARACTERS and token.isascii() else ""


def _not_now(conn: HTTPConnection, error: AuthenticationError) -> Response:
    """No token can be judged now: the client should come back rather than give its token up."""
    return JSONResponse({"error": "temporarily_unavailable"}, 503, headers={"Retry-After": "10"})

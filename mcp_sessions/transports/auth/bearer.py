"""Authenticates HTTP requests by bearer token."""

import logging
from collections.abc import Mapping, Sequence
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
from ...errors import Unavailable, traceback_without_message
from ...server.identity import Identity
from .credentials import SubjectCredentials

CREDENTIAL_HEADER = "x-backend-authorization"
METADATA_PATH = "/.well-known/oauth-protected-resource"
_MAX_CHARACTERS = 16_384

logger = logging.getLogger(__name__)


class Verifier(Protocol):
    async def verify_token(self, token: str) -> Identity | None: ...


@dataclass(frozen=True)
class Authentication:
    """How requests are authenticated, and where each caller's credential for the backend comes from.

    A token is valid if one of `verifiers` accepts it. `issuer` and `resource` are published for clients that look for
    an authorization server (RFC 9728); "" if there is none.
    """

    verifiers: Sequence[Verifier]
    issuer: str = ""
    resource: str = ""
    own_credentials: bool = False
    credentials: SubjectCredentials | None = None

    def wrap(self, app: ASGIApp, metadata_url: str) -> ASGIApp:
        """Return the application with authentication in front of it: requests without a valid token get 401."""
        url = AnyHttpUrl(metadata_url) if metadata_url else None
        inner = AuthContextMiddleware(RequireAuthMiddleware(app, [], url))
        return AuthenticationMiddleware(inner, backend=_BearerBackend(self), on_error=_unavailable)

    def metadata(self, url: str) -> Response:
        """Return the metadata of RFC 9728. `url`: this server's URL, used if the audience is not a URL."""
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


class _BearerBackend(AuthenticationBackend):
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
                logger.error(
                    "a token was refused because its verification failed: %s", traceback_without_message(error)
                )
                continue
            if identity is not None:
                identity = identity.model_copy(update={"credentials": self._credentials(conn, identity)})
                return AuthCredentials(identity.scopes), AuthenticatedUser(identity)
        return None

    def _credentials(self, conn: HTTPConnection, identity: Identity) -> Mapping[str, str]:
        """Return the caller's credentials by backend name. The header's is for the backend without a name."""
        if self._authentication.own_credentials:
            return {"": _bearer(conn, CREDENTIAL_HEADER)}
        credentials = self._authentication.credentials
        return credentials.of_subject(identity.subject or "") if credentials else {}


def _bearer(conn: HTTPConnection, header: str) -> str:
    """Return the token in a header. Return "" if the header is missing, repeated, too long or not a bearer token."""
    values = conn.headers.getlist(header)
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    token = token.strip()
    return token if scheme.lower() == "bearer" and len(token) <= _MAX_CHARACTERS and token.isascii() else ""


def _unavailable(conn: HTTPConnection, error: AuthenticationError) -> Response:
    """Return 503 if no token can be verified now: after a 401, the client would discard its token."""
    return JSONResponse({"error": "temporarily_unavailable"}, 503, headers={"Retry-After": "10"})

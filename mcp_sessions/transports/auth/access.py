"""Builds the rules of access over HTTP from the settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...config.settings import BadSetting, Settings, is_url
from .bearer import Authentication, Verifier
from .credentials import SubjectCredentials
from .jwt import JwtVerifier, KeySet
from .tokens import TokenFile


@dataclass(frozen=True, kw_only=True)
class AccessRules:
    """The rules of access: allowed hosts, authentication and limits. `max_body` is in bytes."""

    allowed_hosts: Sequence[str] = ()
    authentication: Authentication | None = None
    max_body: int = 2 * 1024 * 1024
    max_concurrent: int = 64


def access_of(settings: Settings) -> AccessRules:
    """Return the rules of access. Raise `BadSetting` for a setting or a file that can't be used."""
    verifiers = [*_tokens(settings), *_jwts(settings)]
    names = settings.backend_names
    only_name = names[0] if len(names) == 1 else ""
    credentials = SubjectCredentials(settings.backend_tokens, only_name=only_name) if settings.backend_tokens else None
    if credentials:
        credentials.check()
    if credentials and settings.own_credentials:
        raise BadSetting("--backend-tokens can't be combined with --own-credentials: choose one of them.")
    if (credentials or settings.own_credentials) and not verifiers:
        flag = "--backend-tokens" if credentials else "--own-credentials"
        raise BadSetting(f"{flag} needs authenticated callers: add --tokens or --jwt-issuer.")
    if settings.own_credentials and len(names) > 1 and "" not in names:
        raise BadSetting(
            "--own-credentials can't be used if all backends have names, since callers' credentials are sent only to "
            "the backend without a name: use --backend-tokens."
        )
    authentication = Authentication(
        verifiers=verifiers,
        issuer=settings.jwt_issuer,
        resource=settings.jwt_audience if is_url(settings.jwt_audience) else "",
        own_credentials=settings.own_credentials,
        credentials=credentials,
    )
    return AccessRules(
        allowed_hosts=settings.allowed_host,
        authentication=authentication if verifiers else None,
        max_body=settings.max_body,
        max_concurrent=settings.max_concurrent,
    )


def _tokens(settings: Settings) -> list[Verifier]:
    if not settings.tokens:
        return []
    tokens = TokenFile(settings.tokens)
    tokens.check()
    return [tokens]


def _jwts(settings: Settings) -> list[Verifier]:
    given: Mapping[str, str] = {
        "--jwt-issuer": settings.jwt_issuer,
        "--jwt-audience": settings.jwt_audience,
        "--jwt-jwks": settings.jwt_jwks,
    }
    if not any(given.values()):
        return []
    missing = [flag for flag, value in given.items() if not value]
    if missing:
        given_flag = next(flag for flag, value in given.items() if value)
        raise BadSetting(f"{given_flag} needs {' and '.join(missing)} too: a JWT is accepted only if all three match.")
    if settings.jwt_audience.lower().startswith(("http:", "https:")) and not is_url(settings.jwt_audience):
        raise BadSetting(
            f"--jwt-audience can't be {settings.jwt_audience[:80]!r}: it is not a complete URL. It accepts this "
            "server's URL, as clients call it, or another value that the issuer puts into `aud`."
        )
    keys = KeySet(settings.jwt_jwks)
    keys.check()
    return [JwtVerifier(settings.jwt_issuer, settings.jwt_audience, keys, settings.jwt_algorithms)]

"""An issuer of JWTs: its keys, what it signs with them, and a server that publishes them."""

import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from mcp_sessions import create_server, open_backend
from mcp_sessions.transports.auth.access import AccessRules
from mcp_sessions.transports.auth.bearer import Authentication
from mcp_sessions.transports.auth.jwt import JwtVerifier, KeySet
from mcp_sessions.transports.http.app import http_app
from tests.support.fakes.http import Request, Response, Server

ISSUER = "https://issuer.example/realm/"
AUDIENCE = "https://sessions.example/mcp"
ALGORITHMS = ("RS256", "ES256", "EdDSA")

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

RSA, RSA_2 = (rsa.generate_private_key(65537, 2048) for _ in range(2))
EC, P384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()


def jwk(key: Key, kid: str, **more: Any) -> dict[str, Any]:
    """Return the public part of a key."""
    match key:
        case rsa.RSAPrivateKey():
            shown = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        case ec.EllipticCurvePrivateKey():
            shown = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        case _:
            shown = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**shown, "kid": kid, "use": "sig", **more}


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


KEYS = jwks(jwk(RSA, "rsa"), jwk(EC, "ec"), jwk(ED, "ed"))


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a token that is valid for an hour, with changes. None leaves a claim out."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": now + 3600, "iat": now, "scope": "sessions:read"}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(key: Key = RSA, kid: str | None = "rsa", algorithm: str = "RS256", **changes: Any) -> str:
    body = json.dumps(claims(**changes)).encode()  # as it is: the library would refuse some of what tests sign
    header: dict[str, Any] = {"kid": kid} if kid is not None else {}
    return jwt.PyJWS().encode(body, key, algorithm, headers=header)


async def reachable() -> None: ...


def status_with(keys: KeySet) -> Callable[[str], Any]:
    """Return a function that sends a JWT and returns the response: 405 if it is accepted, since GET is not allowed."""
    authentication = Authentication(verifiers=[JwtVerifier(ISSUER, AUDIENCE, keys, ALGORITHMS)], issuer=ISSUER)
    access = AccessRules(authentication=authentication)
    app = http_app(create_server(open_backend()), "127.0.0.1", reachable, access, "http://127.0.0.1:8000/mcp")

    async def answer(token: str) -> httpx2.Response:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
            return await http.get("/mcp", headers={"Authorization": f"Bearer {token}"})

    return answer


@asynccontextmanager
async def publishing(answer: Callable[[Request], Response]) -> AsyncGenerator[tuple[str, list[Request]]]:
    """Yield the URL of a server, and the requests that it has received."""
    came: list[Request] = []

    async def respond(request: Request) -> Response:
        came.append(request)
        return answer(request)

    server = Server(respond)
    try:
        yield f"http://127.0.0.1:{await server.start()}/keys", came
    finally:
        await server.stop()

"""JWTs: which are accepted. Every invalid one gets the same 401."""

import base64
import json
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mcp_sessions.server.identity import Identity
from mcp_sessions.transports.auth.jwt import JwtVerifier, KeySet
from tests.support.clients import both_eras
from tests.support.http_server import Server, connected, running
from tests.support.http_tokens import answer, logged, status
from tests.support.jwt_issuer import (
    ALGORITHMS,
    AUDIENCE,
    EC,
    ED,
    ISSUER,
    KEYS,
    P384,
    RSA,
    RSA_2,
    claims,
    jwk,
    jwks,
    signed,
    status_with,
)

FLAGS = ["--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE, "--jwt-algorithms", ",".join(ALGORITHMS)]
LATER = int(time.time()) + 100_000
EARLIER = int(time.time()) - 100_000
PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Server]:
    folder = tmp_path_factory.mktemp("jwt")
    await anyio.Path(folder / "keys").write_bytes(KEYS)
    given = ["--port", "0", *FLAGS, "--jwt-jwks", str(folder / "keys"), "--audit", str(folder / "audit")]
    async with running(folder, *given, deadline=300) as server:
        yield server


def part(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def by_hand(header: object, body: object, signature: bytes = b"") -> str:
    return f"{part(header)}.{part(body)}.{part(signature)}"


def by_public_key(kid: str) -> str:
    """Return a JWT that is signed with the public key, as if the key were a shared secret."""
    head = f"{part({'alg': 'HS256', 'kid': kid, 'typ': 'JWT'})}.{part(claims())}"
    hmac = jwt.get_algorithm_by_name("HS256")
    return f"{head}.{part(hmac.sign(head.encode(), PEM))}"


GOOD = {
    "RS256": signed(),
    "ES256": signed(EC, "ec", "ES256"),
    "EdDSA": signed(ED, "ed", "EdDSA"),
    "the only key of its kind": signed(kid=None),
    "one of many audiences": signed(aud=["https://other.example", AUDIENCE]),
    "an issuer's clock that is a little ahead": signed(iat=int(time.time()) + 5, nbf=int(time.time()) + 5),
    "a time as a fraction": signed(exp=LATER + 0.5),
    "a time as text": signed(exp=str(LATER)),
    "words that are no scopes of ours": signed(scope="openid sessions:read"),
    "no scopes": signed(scope=None),
}
BAD = {
    "expired": signed(exp=EARLIER),
    "expired this second": signed(exp=int(time.time()) - 1),
    "issued in the future": signed(iat=LATER),
    "not valid yet": signed(nbf=LATER),
    "another audience": signed(aud="https://other.example/mcp"),
    "an audience that begins alike": signed(aud=AUDIENCE + "/"),
    "no audience": signed(aud=None),
    "audiences that are none": signed(aud=[1, None]),
    "another issuer": signed(iss="https://evil.example"),
    "an issuer without its slash": signed(iss=ISSUER.rstrip("/")),
    "issuers": signed(iss=[ISSUER]),
    "no issuer": signed(iss=None),
    "no subject": signed(sub=None),
    "an empty subject": signed(sub=""),
    "a subject that is a number": signed(sub=7),
    "a subject with a line break": signed(sub="ada\nbob"),
    "a subject that is too long": signed(sub="a" * 513),
    "no end": signed(exp=None),
    "an end that is no time": signed(exp="soon"),
    "an end that is a list": signed(exp=[LATER]),
    "an infinite end": signed(exp=float("inf")),
    "no number as an end": signed(exp=float("nan")),
    "an algorithm that is not allowed": signed(algorithm="RS512"),
    "another algorithm of the key": signed(algorithm="PS256"),
    "an unknown key": signed(kid="other"),
    "another's key": signed(RSA_2),
    "a key of another kind": signed(kid="ec"),
    "another curve": signed(P384, "ec", "ES384"),
    "the other key's algorithm": signed(EC, "rsa", "ES256"),
    "signed with the public key": by_public_key("rsa"),
    "none": by_hand({"alg": "none"}, claims()),
    "None": by_hand({"alg": "None", "kid": "rsa"}, claims()),
    "none, with a signature": by_hand({"alg": "none", "kid": "rsa"}, claims(), b"x" * 256),
    "no algorithm": by_hand({"kid": "rsa"}, claims()),
    "algorithms": by_hand({"alg": ["RS256"], "kid": "rsa"}, claims()),
    "an algorithm that is an object": by_hand({"alg": {}, "kid": "rsa"}, claims()),
    "no signature": by_hand({"alg": "RS256", "kid": "rsa"}, claims()),
    "a zero signature": by_hand({"alg": "ES256", "kid": "ec"}, claims(), bytes(64)),
    "a header that is a list": by_hand([], claims()),
    "a header that is no JSON": by_hand(b"{", claims()),
    "a header that is no text": by_hand(b"\xff\xfe", claims()),
    "a header of depth": by_hand(b"[" * 9000, claims()),
    "a kid that is a path": by_hand({"alg": "RS256", "kid": "../../../dev/null"}, claims(), b"x"),
    "a kid that is a number": by_hand({"alg": "RS256", "kid": 1}, claims(), b"x"),
    "a kid that is an object": by_hand({"alg": "RS256", "kid": {}}, claims(), b"x"),
    "a key of its own": by_hand({"alg": "RS256", "jwk": jwk(RSA_2, "x")}, claims(), b"x"),
    "a place of keys of its own": by_hand({"alg": "RS256", "jku": "http://127.0.0.1:1/"}, claims(), b"x"),
    "what must be understood": jwt.PyJWS().encode(
        json.dumps(claims()).encode(), RSA, "RS256", headers={"kid": "rsa", "crit": ["x"], "x": 1}
    ),
    "claims that are a list": jwt.PyJWS().encode(b"[]", RSA, "RS256", headers={"kid": "rsa"}),
    "claims that are no JSON": jwt.PyJWS().encode(b"{", RSA, "RS256", headers={"kid": "rsa"}),
    "truncated": signed()[:-10],
    "without its end": signed().rpartition(".")[0],
    "with more": signed() + ".x",
    "a changed claim": ".".join((signed().split(".")[0], part(claims(sub="root")), signed().split(".")[2])),
    "longer than 16 KB": signed(more="x" * 16_384),
    "not ASCII": signed()[:-1] + "\xe9",
    "dots": "..",
    "many dots": "." * 5000,
    "another word before it": f"x {signed()}",
    "a header of another kind after it": f"{signed()}, Bearer x",
}


@pytest.mark.parametrize("name", GOOD)
async def test_a_token_signed_by_the_issuer_for_this_server_is_accepted(name: str, server: Server) -> None:
    assert await status(server.url, f"Bearer {GOOD[name]}") == 200


@pytest.mark.parametrize("name", BAD)
async def test_the_response_does_not_say_what_is_wrong_with_a_jwt(name: str, server: Server) -> None:
    said = await answer(server.url, f"Bearer {BAD[name]}")
    assert said.status_code == 401
    assert said.json() == {"error": "invalid_token", "error_description": "Authentication required"}
    metadata = "https://sessions.example/.well-known/oauth-protected-resource/mcp"
    assert said.headers["www-authenticate"] == (
        f'Bearer error="invalid_token", error_description="Authentication required", resource_metadata="{metadata}"'
    )


@both_eras
@pytest.mark.parametrize(
    ("said", "tools"),
    [
        ({"scope": "sessions:read"}, 5),
        ({"scope": None, "scopes": ["sessions:read"]}, 5),
        ({"scope": None, "scopes": "sessions:read sessions:delete"}, 6),
        ({"scope": "sessions:write sessions:delete", "scopes": ["sessions:read"]}, 12),
        ({"scope": ["sessions:read"], "scopes": None}, 0),
        ({"scope": "sessions:readx SESSIONS:READ", "scopes": [1, None, ["sessions:read"]]}, 0),
        ({"scope": {"sessions:read": 1}, "scopes": {"sessions:read": 1}}, 0),
        ({"scope": "sessions:*"}, 0),
    ],
)
async def test_scopes_can_be_a_string_or_a_list(era: str, said: dict[str, Any], tools: int, server: Server) -> None:
    async with connected(server.url, era, Authorization=f"Bearer {signed(**said)}") as client:
        assert len((await client.list_tools()).tools) == tools


async def test_the_resource_metadata_has_the_exact_issuer(server: Server) -> None:
    async with httpx2.AsyncClient(trust_env=False, verify=False) as http:
        said = await http.get(f"{server.root}/.well-known/oauth-protected-resource/mcp")
    assert said.status_code == 200
    assert said.json() == {
        "resource": AUDIENCE,
        "authorization_servers": [ISSUER],
        "scopes_supported": ["sessions:read", "sessions:write", "sessions:delete"],
        "bearer_methods_supported": ["header"],
        "resource_name": "mcp-sessions",
    }


async def test_keys_in_a_file_are_read_again_when_it_changes(tmp_path: Path) -> None:
    file = anyio.Path(tmp_path / "keys")
    await file.write_bytes(jwks(jwk(RSA, "rsa")))
    let_in = status_with(KeySet(str(file)))
    old, new = signed(), signed(RSA_2, "second")

    async def both() -> list[int]:
        return [(await let_in(token)).status_code for token in (old, new)]

    assert await both() == [405, 401]
    await file.write_bytes(jwks(jwk(RSA, "rsa"), jwk(RSA_2, "second")))
    assert await both() == [405, 405]
    await file.write_bytes(jwks(jwk(RSA_2, "second")))
    assert await both() == [401, 405]
    await file.write_bytes(b"{")
    assert await both() == [401, 401]
    await file.unlink()
    assert await both() == [401, 401]
    await file.write_bytes(KEYS)
    assert await both() == [405, 401]


@pytest.mark.parametrize(
    "more",
    [
        {"kty": "oct", "k": "AAAA", "kid": "rsa"},
        {"kty": "RSA", "kid": "rsa"},
        {"kty": "RSA", "n": 5, "e": "AQAB"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": ["x"]},
        {"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"},
        {"kty": "OKP", "crv": "X25519", "x": "A" * 43},
        {**jwk(RSA_2, "rsa"), "use": "enc"},
        {**jwk(RSA_2, "rsa"), "d": "AQAB"},
        {"kty": None},
        {"kty": []},
        "key",
        None,
    ],
)
async def test_a_malformed_key_does_not_affect_the_others(more: Any, tmp_path: Path) -> None:
    await anyio.Path(tmp_path / "keys").write_bytes(json.dumps({"keys": [more, jwk(RSA, "rsa")]}).encode())
    let_in = status_with(KeySet(str(tmp_path / "keys")))
    assert (await let_in(signed())).status_code == 405
    assert (await let_in(signed(RSA_2))).status_code == 401


async def test_two_keys_with_the_same_id_are_ignored(tmp_path: Path) -> None:
    await anyio.Path(tmp_path / "keys").write_bytes(jwks(jwk(RSA, "rsa"), jwk(RSA_2, "rsa")))
    let_in = status_with(KeySet(str(tmp_path / "keys")))
    assert (await let_in(signed())).status_code == 401
    assert (await let_in(signed(kid=None))).status_code == 401


async def test_only_the_claims_of_a_token_are_kept(tmp_path: Path) -> None:
    await anyio.Path(tmp_path / "keys").write_bytes(KEYS)
    token = signed(email="ada@example.org")
    identity = await JwtVerifier(ISSUER, AUDIENCE, KeySet(str(tmp_path / "keys")), ALGORITHMS).verify_token(token)
    assert identity == Identity(client_id="ada", subject="ada", scopes=["sessions:read"], claims={"iss": ISSUER})


async def test_no_jwt_is_logged_at_any_level(tmp_path: Path) -> None:
    await anyio.Path(tmp_path / "keys").write_bytes(KEYS)
    async with logged(tmp_path, *FLAGS, "--jwt-jwks", str(tmp_path / "keys")) as (url, log):
        assert [await status(url, f"Bearer {token}") for token in (signed(), signed(exp=EARLIER))] == [200, 401]
        await anyio.Path(tmp_path / "keys").unlink()
        assert await status(url, f"Bearer {signed()}") == 401
    errors = await anyio.Path(log).read_text(encoding="utf-8")
    assert "can't be read, so no JWT is accepted" in errors
    assert "eyJ" not in errors

"""Encryption of the cursors sent to authenticated callers: a cursor's numbers reveal how many rows other users have."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from ..errors import Invalid

_BLOCK = 16


class CursorCipher:
    """Encrypts each cursor for one user (AES-SIV, RFC 5297). Equal cursors have equal ciphertexts."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESSIV(blake2b(secret, digest_size=32, person=b"cursor").digest())

    def encrypt(self, cursor: str, user_id: str) -> str:
        # Padded, since the number of digits would reveal how large a number is.
        padded = cursor.ljust(-(-len(cursor) // _BLOCK) * _BLOCK)
        return urlsafe_b64encode(self._cipher.encrypt(padded.encode(), [user_id.encode()])).decode().rstrip("=")

    def decrypt(self, encrypted: str, user_id: str) -> str:
        """Return the plain cursor. Raise `Invalid` for a cursor that wasn't encrypted with this key for this user."""
        try:
            content = urlsafe_b64decode(encrypted + "=" * (-len(encrypted) % 4))
            return self._cipher.decrypt(content, [user_id.encode()]).decode().rstrip(" ")
        except (ValueError, InvalidTag):
            raise Invalid(
                '"cursor" is not one that this tool returned to you. Leave it out to start from the beginning.'
            ) from None

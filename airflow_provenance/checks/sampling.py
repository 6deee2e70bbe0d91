"""Keys of failing rows, hashed, so that a row can be found again by who has the data and the key.

A plain hash of a small number is guessed in no time: the hash is an HMAC, by ``[provenance]
hash_key`` or, without it, by a key of this process that nobody learns. Then hashes compare within
the run only.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_SAMPLED = 10


@dataclass(frozen=True)
class Hasher:
    """Hashes keys of rows.

    Attributes:
        keyed: ``setting``, or ``run`` where the key is of this run alone.
    """

    _secret: bytes
    keyed: Literal["setting", "run"]

    @classmethod
    def of(cls, secret: str | None) -> Hasher:
        """Return the hasher of a setting, or one of a random key where it is not set."""
        if secret:
            return cls(secret.encode(), "setting")
        return cls(secrets.token_bytes(32), "run")

    def hash(self, key: Sequence[str | None]) -> str:
        """Return HMAC-SHA256 of a key, as hexadecimal.

        Hashed is the JSON array of its values as text, without spaces: ``["UA","1545"]``.
        """
        text = json.dumps(list(key), ensure_ascii=False, separators=(",", ":"))
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Sample:
    """The hashed keys of some failing rows.

    Attributes:
        columns: whose values are the key.
        keyed: see `Hasher`.
    """

    columns: tuple[str, ...]
    keyed: str
    hashes: tuple[str, ...]

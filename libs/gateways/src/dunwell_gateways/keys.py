"""Idempotency keys: the same attempt always has the same key, another attempt another.

Owns: the derivation. Refuses: chance; a key must be found again after a crash.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from dunwell_kit.errors import Invalid

PREFIX = "d1"  # version of the derivation: a change must not meet old keys
_LETTERS = 40  # 200 bits: no collision, and within every gateway's key length


def idempotency_key(secret: bytes, tenant: str, account: str, invoice_id: str, attempt_no: int) -> str:
    """Return the key of one attempt: `d1` and 40 base32 letters.

    Args:
        attempt_no: 1-based; a new scheduled try is a new number.

    Raises:
        Invalid: A part holds the separator, so two attempts could share a key; or the number is not positive.
    """
    parts = (tenant, account, invoice_id)
    if attempt_no < 1 or any("|" in part for part in parts) or not secret:
        raise Invalid(f"no idempotency key for {parts!r} attempt {attempt_no!r}: need a secret, no '|', attempt >= 1")
    text = "|".join((*parts, str(attempt_no))).encode()
    digest = hmac.new(secret, text, hashlib.sha256).digest()
    return PREFIX + base64.b32encode(digest).decode()[:_LETTERS]


def is_ours(key: str) -> bool:
    """Return whether a key told by a gateway has the form of ours."""
    return len(key) == len(PREFIX) + _LETTERS and key.startswith(PREFIX) and key[len(PREFIX) :].isalnum()

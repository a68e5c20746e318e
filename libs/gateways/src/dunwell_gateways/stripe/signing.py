"""Stripe's webhook signature, both ways.

Owns: the header. Refuses: reading the body.
Source: stripe/stripe-python:stripe/_webhook.py, read August 2026.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from dunwell_gateways.port import SignatureFault, SignatureInvalid

HEADER = "Stripe-Signature"
# Stripe's SDK looks back only; a time far ahead would be valid for ever, so we look both ways.
TOLERANCE_SECONDS = 300
_HEADER_CHARS_MAX = 4096  # t and a few signatures take below 300
_SECONDS = re.compile(r"[0-9]{1,12}")


def sign(body: bytes, secret: str, at: datetime) -> str:
    """Return the header value for a body signed at an aware instant; used by the sandbox and by tests."""
    seconds = int(at.timestamp())
    return f"t={seconds},v1={_digest(body, secret, str(seconds))}"


def verify(body: bytes, headers: Mapping[str, str], secrets: Sequence[str], now: datetime) -> None:
    """Return when one `v1` signature fits one secret and its time is within TOLERANCE_SECONDS, both ends included.

    `v0` is ignored: it is Stripe's test scheme. Several `v1` are given while a secret is rotated.
    """
    header = next((value for name, value in headers.items() if name.lower() == HEADER.lower()), "")
    if not header:
        raise SignatureInvalid(SignatureFault.MISSING, f"no {HEADER} header")
    signed_at, signatures = _parse(header)
    wanted = [_digest(body, secret, signed_at) for secret in secrets if secret]
    # Every pair is compared, so the time taken does not tell which one fitted.
    fits = [hmac.compare_digest(want.encode(), got.encode()) for want in wanted for got in signatures]
    if not any(fits):
        raise SignatureInvalid(SignatureFault.MISMATCH, "no signature fits a secret of this endpoint")
    age = now.timestamp() - int(signed_at)
    if age > TOLERANCE_SECONDS:
        raise SignatureInvalid(SignatureFault.TOO_OLD, f"signed {age:.0f} s ago")
    if age < -TOLERANCE_SECONDS:
        raise SignatureInvalid(SignatureFault.TOO_NEW, f"signed {-age:.0f} s ahead")


def _parse(header: str) -> tuple[str, list[str]]:
    pairs = [item.strip().partition("=") for item in header[:_HEADER_CHARS_MAX].split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    signatures = [value for name, _, value in pairs if name == "v1"]
    if len(times) != 1 or not _SECONDS.fullmatch(times[0]):
        raise SignatureInvalid(SignatureFault.MALFORMED, "the header needs one t=<unix seconds>")
    if not signatures:
        raise SignatureInvalid(SignatureFault.MALFORMED, "the header has no v1 signature")
    return times[0], signatures


def _digest(body: bytes, secret: str, seconds: str) -> str:
    return hmac.new(secret.encode(), seconds.encode() + b"." + body, hashlib.sha256).hexdigest()

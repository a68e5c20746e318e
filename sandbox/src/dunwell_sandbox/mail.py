"""The mail box of all payers: an SMTP server whose messages reach the payer model.

Owns: reading a message. Refuses: sending any on; nothing leaves the machine.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.smtp import SMTP, Envelope, Session

from dunwell_sandbox.shapes import Json

# A notice is some ten kilobytes; an attached letter may add a megabyte.
_SIZE_BYTES_MAX = 5_000_000
_TONES = frozenset({"friendly", "firm", "final"})
Receive = Callable[[str, Json], object]


def read_message(content: bytes, recipients: list[str]) -> tuple[str, Json]:
    """Return a message's id and what is worth showing of it.

    `X-Dunwell-Invoices`, `X-Dunwell-Tone` and `X-Dunwell-Kind` say whom it reaches and how it reads.
    """
    parsed = message_from_bytes(content, _class=EmailMessage, policy=policy.default)
    plain, rich = parsed.get_body(("plain",)), parsed.get_body(("html",))
    invoices = [each.strip() for each in str(parsed.get("X-Dunwell-Invoices", "")).split(",")]
    tone = str(parsed.get("X-Dunwell-Tone", "")).strip().lower()
    shown = {
        "from": str(parsed.get("From", "")),
        "to": recipients,
        "subject": str(parsed.get("Subject", "")),
        "language": str(parsed.get("Content-Language", "")),
        "text": plain.get_content() if plain else "",
        "html": rich.get_content() if rich else "",
        "invoices": [each for each in invoices if each],
        "channel": "email",
        "tone": tone if tone in _TONES else "friendly",
        "kind": str(parsed.get("X-Dunwell-Kind", "")).strip() or "reminder",
    }
    message_id = str(parsed.get("Message-ID", "")).strip()
    message_id = message_id or f"<{hashlib.sha256(content).hexdigest()[:32]}@no-id.invalid>"
    return message_id, {"message_id": message_id, **shown}


class _Handler:
    def __init__(self, receive: Receive) -> None:
        self._receive = receive

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        content = envelope.content
        raw = content if isinstance(content, bytes) else (content or "").encode()
        message_id, message = read_message(raw, list(envelope.rcpt_tos))
        self._receive(message_id, message)
        return "250 Message accepted for delivery"


async def serve_mail(host: str, port: int, receive: Receive) -> asyncio.Server:
    """Start the SMTP server; `receive` is called once for each message, also for a repeated one."""
    loop = asyncio.get_running_loop()
    handler = _Handler(receive)

    def protocol() -> SMTP:
        return SMTP(handler, data_size_limit=_SIZE_BYTES_MAX, enable_SMTPUTF8=True, hostname="sandbox", ident="sandbox")

    return await loop.create_server(protocol, host, port)

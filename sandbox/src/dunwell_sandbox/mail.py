"""The mail box of all payers: an SMTP server whose messages reach the payer model.

Owns: reading a message. Refuses: sending any on; nothing leaves the machine.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import Message

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
    # The old policy reads a header only when it is asked for, which is several times faster.
    parsed = message_from_bytes(content, policy=policy.compat32)
    invoices = [each.strip() for each in _header(parsed, "X-Dunwell-Invoices").split(",")]
    tone = _header(parsed, "X-Dunwell-Tone").lower()
    shown = {
        "from": _header(parsed, "From"),
        "to": recipients,
        "subject": _header(parsed, "Subject"),
        "language": _header(parsed, "Content-Language"),
        "text": _body(parsed, "text/plain"),
        "html": _body(parsed, "text/html"),
        "invoices": [each for each in invoices if each],
        "channel": "email",
        "tone": tone if tone in _TONES else "friendly",
        "kind": _header(parsed, "X-Dunwell-Kind") or "reminder",
    }
    message_id = _header(parsed, "Message-ID")
    message_id = message_id or f"<{hashlib.sha256(content).hexdigest()[:32]}@no-id.invalid>"
    return message_id, {"message_id": message_id, **shown}


def _header(parsed: Message, name: str) -> str:
    """Return a header decoded and on one line; empty where there is none."""
    raw = parsed.get(name)
    if raw is None:
        return ""
    return " ".join(str(make_header(decode_header(str(raw)))).split())


def _body(parsed: Message, kind: str) -> str:
    """Return the first part of a media type as text with plain line ends; empty where there is none."""
    for part in parsed.walk():
        payload = part.get_payload(decode=True) if part.get_content_type() == kind else None
        if isinstance(payload, bytes):
            text = payload.decode(part.get_content_charset("utf-8"), errors="replace")
            return text.replace("\r\n", "\n")
    return ""


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

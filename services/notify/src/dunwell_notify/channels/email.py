"""E-mail by SMTP.

A server that does not answer after the final dot may have taken the message: that outcome is unknown and the
message is never sent again (RFC 1047 names the duplicate that would follow).
"""

from __future__ import annotations

import aiosmtplib

from dunwell_notify.channels import Outcome, Outgoing


class SmtpChannel:
    """One SMTP server.

    Args:
        seconds: Longest wait for any of its answers; below the effect's lease.
    """

    def __init__(self, host: str, port: int, sender: str, *, seconds: float = 20, starttls: bool | None = None) -> None:
        self._host, self._port, self._sender = host, port, sender
        self._seconds, self._starttls = seconds, starttls

    async def send(self, message: Outgoing) -> Outcome:
        """Hand a message over."""
        client = aiosmtplib.SMTP(
            hostname=self._host, port=self._port, timeout=self._seconds, start_tls=self._starttls, use_tls=False
        )
        try:
            await client.connect()
            await client.mail(self._sender)
            await client.rcpt(message.recipient)
        except (aiosmtplib.SMTPException, OSError) as error:
            client.close()
            return Outcome("failed", f"{type(error).__name__}: {error}"[:300])
        try:
            answer = await client.data(message.raw)
        except aiosmtplib.SMTPResponseException as error:
            return Outcome("failed", f"{error.code} {error.message}"[:300])
        except (aiosmtplib.SMTPException, OSError) as error:
            client.close()
            return Outcome("unknown", f"{type(error).__name__}: {error}"[:300])
        await self._bye(client)
        return Outcome("sent", str(answer.message)[:200])

    async def _bye(self, client: aiosmtplib.SMTP) -> None:
        try:
            await client.quit()
        except (aiosmtplib.SMTPException, OSError):
            # The message is taken already; a rude good-bye changes nothing.
            client.close()

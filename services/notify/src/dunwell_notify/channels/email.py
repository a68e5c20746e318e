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
        except (aiosmtplib.SMTPException, OSError, UnicodeError) as error:
            client.close()
            return _not_taken(error)
        try:
            answer = await client.data(message.raw)
        except aiosmtplib.SMTPResponseException as error:
            client.close()
            return _not_taken(error)
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


def _not_taken(error: Exception) -> Outcome:
    """Return what an error before, or a refusal after, the message means: for good, or for now."""
    code = getattr(error, "code", None)
    # An address this server cannot even be told will not become better; everything else without a 5xx may pass.
    for_good = isinstance(error, UnicodeError) or (isinstance(code, int) and code >= 500)
    return Outcome("failed" if for_good else "deferred", f"{type(error).__name__}: {error}"[:300])

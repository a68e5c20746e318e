"""The contact book's look-up at the gateway, for a payer nobody told us about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import httpx

from dunwell_kit.errors import Unavailable
from dunwell_notify.letters import language_of
from dunwell_notify.model import Contact, Payer

# RFC 5321 section 4.5.3.1.3: the longest path, its two brackets left out.
ADDRESS_CHARS_MAX = 254


@dataclass(frozen=True, slots=True)
class GatewayAccess:
    """Where a gateway is asked, with which key."""

    base_url: str
    api_key: str


class GatewayContacts:
    """Asks gateways who a payer is."""

    def __init__(self, client: httpx.AsyncClient, access: dict[str, GatewayAccess]) -> None:
        self._client, self._access = client, access

    async def fetch(self, payer: Payer) -> Contact | None:
        """Return the payer's contact; None when the gateway knows none. Unavailable when it does not answer."""
        access = self._access.get(payer.gateway)
        if access is None:
            return None
        try:
            answer = await self._client.get(
                f"{access.base_url}/v1/customers/{quote(payer.payer_id, safe='')}",
                headers={"Authorization": f"Bearer {access.api_key}"},
            )
        except httpx.HTTPError as error:
            raise Unavailable(f"gateway {payer.gateway!r} does not answer: {type(error).__name__}") from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code != httpx.codes.OK:
            raise Unavailable(f"gateway {payer.gateway!r} answered {answer.status_code}")
        return contact_of(answer.json())


def contact_of(customer: dict[str, Any]) -> Contact:
    """Read a contact from Stripe's customer object.

    Source: docs.stripe.com/api/customers/object, fields email, name, preferred_locales, address.country, metadata.
    """
    locales = customer.get("preferred_locales") or ["en"]
    metadata = customer.get("metadata") or {}
    return Contact(
        email=address_or_none(customer.get("email")),
        name=customer.get("name") or "",
        language=language_of(locales[0]),
        timezone=zone_or_utc(metadata.get("timezone")),
        country=(customer.get("address") or {}).get("country") or "",
        opted_out=metadata.get("opted_out") == "true",
    )


def address_or_none(value: object) -> str | None:
    """Return an e-mail address if it can be one: one line, one `@` with something on both sides, no blanks."""
    if not isinstance(value, str) or len(value) > ADDRESS_CHARS_MAX:
        return None
    local, at, domain = value.partition("@")
    plain = value.isprintable() and not any(letter.isspace() or letter in '<>,;"@' for letter in local + domain)
    return value if local and at and domain and plain else None


def zone_or_utc(name: object) -> str:
    """Return a time zone if it is one, else UTC, whose quiet hours are at least somebody's."""
    try:
        return ZoneInfo(str(name)).key if name else "UTC"
    except (ZoneInfoNotFoundError, ValueError):
        return "UTC"

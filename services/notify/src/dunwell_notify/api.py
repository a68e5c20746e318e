"""Notify's routes: the contact book, and what was said."""

from __future__ import annotations

from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, EmailStr, Field

from dunwell_kit.database import Database
from dunwell_kit.errors import Invalid
from dunwell_notify import store, views
from dunwell_notify.letters import language_of
from dunwell_notify.model import Contact, Payer

DEFAULT_TENANT = "default"
# Postgres has no character NUL, so no name holds one.
TEXT = r"^[^\x00]*$"


class ContactIn(BaseModel):
    """A contact as a platform tells it."""

    model_config = ConfigDict(extra="forbid")

    tenant_id: str = Field(DEFAULT_TENANT, max_length=64, pattern=TEXT)
    gateway: str = Field(max_length=32, pattern=TEXT)
    account: str = Field(max_length=128, pattern=TEXT)
    payer_id: str = Field(max_length=255, pattern=TEXT)
    email: EmailStr | None = None
    name: str = Field("", max_length=200, pattern=TEXT)
    language: str = Field("en", max_length=16)
    timezone: str = Field("UTC", max_length=64)
    country: str = Field("", max_length=2, pattern=TEXT)
    opted_out: bool = False


def routes(database: Database) -> APIRouter:
    """Return notify's routes."""
    router = APIRouter(prefix="/v1", tags=["notify"])

    @router.put("/contacts", status_code=204)
    async def put_contact(contact: ContactIn) -> None:
        try:
            ZoneInfo(contact.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise Invalid(f"timezone {contact.timezone!r} is no IANA time zone") from error
        payer = Payer(contact.tenant_id, contact.gateway, contact.account, contact.payer_id)
        known = Contact(
            email=contact.email,
            name=contact.name,
            language=language_of(contact.language),
            timezone=contact.timezone,
            country=contact.country,
            opted_out=contact.opted_out,
        )
        await database.transact(lambda tx: store.save_contact(tx, payer, known, "api"))

    @router.get("/notices")
    async def notices(
        tenant: Annotated[str, Query(max_length=64, pattern=TEXT)] = DEFAULT_TENANT,
        case_id: Annotated[str, Query(max_length=255, pattern=TEXT)] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 100,
    ) -> list[dict[str, Any]]:
        return await views.notices(database, tenant, case_id, limit)

    @router.get("/notices/counts")
    async def counts() -> dict[str, int]:
        return await views.counts(database)

    return router

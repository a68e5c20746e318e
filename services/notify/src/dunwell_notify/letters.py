"""Texts: templates per language, rendered in a sandbox, and the message built so that its bytes repeat.

Owns: templates and message building. Refuses: any decision; facts come in complete.
The sandbox has no include, no file access, strict variables and limits on loops and output.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from binascii import b2a_qp
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from email.header import Header
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.policy import compat32
from email.utils import format_datetime, formataddr
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

import yaml
from babel.dates import format_date
from babel.numbers import format_currency
from liquid import BoundTemplate, Environment, StrictUndefined

from dunwell_kit.money import exponent
from dunwell_notify.model import CaseView, Contact, Step, Tone

LANGUAGES = ("en", "de", "fr")
# Longest text a template may give; ours are under 4 kB, so ten times that is only ever a mistake or an attack.
OUTPUT_BYTES_MAX = 40_000
# The newer policies parse each header while it is set, seven times the work, for values that are made here.
_WIRE = compat32.clone(linesep="\r\n", mangle_from_=False)


class _Sandbox(Environment):
    output_stream_limit = OUTPUT_BYTES_MAX
    loop_iteration_limit = 500
    local_namespace_limit = 10_000


@dataclass(frozen=True, slots=True)
class Brand:
    """How a tenant presents itself.

    Args:
        pay_url: Address with `{invoice}` in it, where the payer pays or changes the method.
    """

    sender_name: str
    sender_email: str
    support_email: str
    pay_url: str


@dataclass(frozen=True, slots=True)
class Letter:
    """One rendered notice."""

    subject: str
    text: str
    html: str
    language: str
    template_id: str
    template_version: str


@cache
def texts(language: str) -> dict[str, Any]:
    """Return a language's texts."""
    folder = resources.files("dunwell_notify").joinpath("templates")
    found: dict[str, Any] = yaml.safe_load(folder.joinpath(f"{language}.yaml").read_text(encoding="utf-8"))
    return found


@cache
def _page() -> str:
    folder = resources.files("dunwell_notify").joinpath("templates")
    return folder.joinpath("page.html.liquid").read_text(encoding="utf-8")


@cache
def _sandbox(escape: bool) -> Environment:
    return _Sandbox(undefined=StrictUndefined, autoescape=escape)


@cache
def _parsed(source: str, escape: bool) -> BoundTemplate:
    """Return a template parsed once: texts are files of ours, so they are few."""
    return _sandbox(escape).from_string(source)


def language_of(wanted: str) -> str:
    """Return the closest language we write: `de-AT` gives `de`, an unknown one English."""
    primary = wanted.replace("_", "-").split("-")[0].lower()
    return primary if primary in LANGUAGES else "en"


def kind_of(step: Step) -> str:
    """Return which texts a step uses."""
    return "reminder" if step.value.startswith("reminder") else step.value


def amount_text(minor: int, currency: str, language: str) -> str:
    """Return an amount as the payer's language writes it."""
    return str(format_currency(Decimal(minor).scaleb(-exponent(currency)), currency, locale=language))


def day_text(at: datetime, contact: Contact, language: str) -> str:
    """Return a day in the payer's zone and language."""
    return str(format_date(at.astimezone(ZoneInfo(contact.timezone)).date(), "long", locale=language))


def render(step: Step, cases: list[CaseView], contact: Contact, brand: Brand) -> Letter:
    """Render one notice about one or several invoices of a payer.

    Args:
        cases: At least one; the first leads: its advice, link and deadline are used.
    """
    language = language_of(contact.language)
    text, kind, lead = texts(language), kind_of(step), cases[0]
    facts = _facts(cases, contact, brand, language)

    def say(source: str, **more: Any) -> str:
        return str(_parsed(source, False).render(**facts, **more))

    parts = {
        name: say(text[name]) for name in ("hello", "deadline", "consequence", "contact", "security", "bye", "cta")
    }
    advice = text["advice"].get(lead.payer_action.value, "")
    parts["lead"], parts["advice"] = say(text["lead"][kind]), say(advice) if advice else ""
    parts["subject"] = say(text["subject"][kind])
    items = [say(text["item"], i=item) for item in facts["items"]]
    if step is Step.RECEIPT:
        parts["cta"] = parts["advice"] = parts["deadline"] = parts["consequence"] = ""
    elif lead.deadline_at is None:
        parts["deadline"] = parts["consequence"] = ""
    html = str(_parsed(_page(), True).render(**parts, items=items, language=language, pay_url=facts["pay_url"]))
    body = _plain(parts, items)
    return Letter(parts["subject"], body, html, language, f"{kind}/{language}", str(text["version"]))


def _plain(parts: dict[str, str], items: list[str]) -> str:
    promise = f"{parts['deadline']} {parts['consequence']}".strip()
    blocks = [parts["hello"], parts["lead"], "\n".join(f"- {item}" for item in items), parts["advice"], parts["cta"]]
    return "\n\n".join(b for b in [*blocks, promise, parts["contact"], parts["security"], parts["bye"]] if b) + "\n"


def _facts(cases: list[CaseView], contact: Contact, brand: Brand, language: str) -> dict[str, Any]:
    lead = cases[0]
    totals: dict[str, int] = {}
    for case in cases:
        totals[case.currency] = totals.get(case.currency, 0) + case.amount_minor
    pay_url = brand.pay_url.format(invoice=quote(lead.invoice_id, safe=""))
    return {
        "name": contact.name,
        "total": " + ".join(amount_text(minor, currency, language) for currency, minor in sorted(totals.items())),
        "items": [
            {
                "invoice": case.invoice_id,
                "date": day_text(case.failed_at, contact, language),
                "amount": amount_text(case.amount_minor, case.currency, language),
            }
            for case in cases
        ],
        "deadline": day_text(lead.deadline_at, contact, language) if lead.deadline_at else "",
        "next_attempt": day_text(lead.next_attempt_at, contact, language) if lead.next_attempt_at else "",
        "pay_url": pay_url,
        "pay_host": urlsplit(pay_url).hostname or "",
        "support_email": brand.support_email,
        "sender": brand.sender_name,
    }


def message_id(secret: bytes, notice_id: str, domain: str) -> str:
    """Return the Message-ID that a notice always has, so that a duplicate can be seen by anybody."""
    digest = hmac.new(secret, notice_id.encode(), hashlib.sha256).digest()[:15]
    return f"<{base64.b32encode(digest).decode().lower()}@{domain}>"


def build_message(
    letter: Letter,
    contact: Contact,
    brand: Brand,
    *,
    identity: str,
    tone: Tone,
    step: Step,
    invoices: list[str],
    at: datetime,
) -> bytes:
    """Return the exact bytes of a message; equal inputs give equal bytes.

    Args:
        identity: The Message-ID.
    Raises:
        ValueError: A header would span lines.
    """
    # The library would draw a random boundary, and two builds would differ.
    boundary = "=_dunwell_" + hashlib.sha256(identity.encode()).hexdigest()[:24]
    message = MIMEMultipart("alternative", boundary, policy=_WIRE)
    headers = {
        "From": formataddr((brand.sender_name, brand.sender_email)),
        "To": contact.email or "",
        "Subject": letter.subject,
        "Date": format_datetime(at),
        "Message-ID": identity,
        "References": identity,
        "Auto-Submitted": "auto-generated",
        "X-Dunwell-Kind": step.value,
        "X-Dunwell-Tone": tone.value,
        "X-Dunwell-Invoices": ",".join(invoices),
    }
    for name, value in headers.items():
        if "\r" in value or "\n" in value:
            raise ValueError(f"the header {name} must be one line, and it is {value!r}")
        message[name] = value if value.isascii() else Header(value, "utf-8", header_name=name).encode()
    message.attach(_part(letter.text, "plain"))
    message.attach(_part(letter.html, "html"))
    return message.as_bytes()


def _part(text: str, subtype: str) -> MIMENonMultipart:
    part = MIMENonMultipart("text", subtype, policy=_WIRE, charset="utf-8")
    # Readable by whoever looks at the source, and safe for servers that know seven bits only.
    part["Content-Transfer-Encoding"] = "quoted-printable"
    part.set_payload(b2a_qp(text.encode(), istext=True).decode("ascii"))
    return part

"""What is said: every step in every language, exact amounts, and nothing that does not belong there."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from liquid.exceptions import LiquidError

from dunwell_notify import letters
from dunwell_notify.letters import LANGUAGES, Brand, amount_text, build_message, language_of, message_id, render
from dunwell_notify.model import CaseView, Contact, Payer, PayerAction, Step, Tone

AT = datetime(2026, 3, 2, 10, tzinfo=UTC)
BRAND = Brand("Acme Billing", "billing@acme.example", "help@acme.example", "https://pay.acme.example/{invoice}")
CONTACT = Contact("ada@payer.example", "Ada Lovelace", "en", "Europe/Berlin", "DE")
CASE = CaseView(
    "rec_1", Payer("t", "stripe", "acct", "cus_1"), "in_1", "EUR", 123456, AT, "t:cus_1", "expired",
    PayerAction.UPDATE_METHOD, deadline_at=AT + timedelta(days=28), next_attempt_at=AT + timedelta(days=4),
)  # fmt: skip
EVERY = [(step, action, language) for step in Step for action in PayerAction for language in LANGUAGES]


@pytest.mark.parametrize(("step", "action", "language"), EVERY)
def test_every_step_renders_in_every_language_with_its_required_parts(
    step: Step, action: PayerAction, language: str
) -> None:
    letter = render(step, [replace(CASE, payer_action=action)], replace(CONTACT, language=language), BRAND)
    assert (letter.language, letter.template_id) == (language, f"{letters.kind_of(step)}/{language}")
    for body in (letter.text, letter.html):
        assert "in_1" in body
        assert "help@acme.example" in body
        assert "Acme Billing" in body
        assert "{{" not in body
        assert "{%" not in body
        assert ("https://pay.acme.example/in_1" in body) is (step is not Step.RECEIPT)
    assert "Ada Lovelace" in letter.text
    assert amount_text(123456, "EUR", language) in letter.text
    assert f'lang="{language}"' in letter.html
    assert letter.subject.strip()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_languages_say_the_same_parts(language: str) -> None:
    assert letters.texts(language).keys() == letters.texts("en").keys()
    for name in ("subject", "lead", "advice"):
        assert letters.texts(language)[name].keys() == letters.texts("en")[name].keys()


@pytest.mark.parametrize(
    ("minor", "currency", "language", "text"),
    [
        (123456, "EUR", "en", "€1,234.56"),
        (123456, "EUR", "de", "1.234,56\xa0€"),
        (123456, "EUR", "fr", "1\u202f234,56\xa0€"),
        (500, "JPY", "en", "¥500"),
        (1234, "KWD", "en", "KWD1.234"),
        (1, "USD", "en", "$0.01"),
        (9007199254740993, "USD", "en", "$90,071,992,547,409.93"),
    ],
)
def test_an_amount_is_exact_and_written_as_the_language_does(
    minor: int, currency: str, language: str, text: str
) -> None:
    assert amount_text(minor, currency, language) == text


@pytest.mark.parametrize(
    ("wanted", "language"), [("de-AT", "de"), ("fr_CA", "fr"), ("EN", "en"), ("pt-BR", "en"), ("", "en"), ("x", "en")]
)
def test_the_closest_language_is_spoken(wanted: str, language: str) -> None:
    assert language_of(wanted) == language


def test_several_invoices_are_listed_and_summed_per_currency() -> None:
    cases = [CASE, replace(CASE, invoice_id="in_2", amount_minor=44), replace(CASE, invoice_id="in_3", currency="USD")]
    letter = render(Step.FAILED, cases, CONTACT, BRAND)
    assert letter.text.count("- Invoice") == 3
    assert "€1,235.00 + $1,234.56" in letter.subject


def test_a_day_is_told_in_the_payers_zone() -> None:
    late = replace(CASE, failed_at=datetime(2026, 3, 2, 23, 30, tzinfo=UTC))
    assert "March 3, 2026" in render(Step.FAILED, [late], CONTACT, BRAND).text


def test_without_a_deadline_none_is_claimed() -> None:
    letter = render(Step.REMINDER_1, [replace(CASE, deadline_at=None)], CONTACT, BRAND)
    assert "Please do so by" not in letter.text


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x onerror=1>', "{{ pay_url }}", "{% raw %}"])
def test_a_payers_name_is_text_and_never_markup_or_template(name: str) -> None:
    letter = render(Step.FAILED, [CASE], replace(CONTACT, name=name), BRAND)
    assert name in letter.text
    assert "<script" not in letter.html
    assert "<img" not in letter.html
    assert letter.html.count("https://pay.acme.example/in_1") == 2


def test_an_invoice_id_cannot_change_where_the_link_leads() -> None:
    letter = render(Step.FAILED, [replace(CASE, invoice_id="../evil?x=1#y")], CONTACT, BRAND)
    assert "https://pay.acme.example/..%2Fevil%3Fx%3D1%23y" in letter.text


def built(step: Step = Step.FAILED, **more: str) -> EmailMessage:
    letter = render(step, [CASE], replace(CONTACT, **more), BRAND)
    identity = message_id(b"secret", "ntc_1", "acme.example")
    raw = build_message(
        letter, CONTACT, BRAND, identity=identity, tone=Tone.FRIENDLY, step=step, invoices=["in_1", "in_2"], at=AT
    )
    return message_from_bytes(raw, _class=EmailMessage, policy=policy.default)


def test_a_message_has_both_bodies_and_headers_that_name_nobody_but_its_recipient() -> None:
    message = built()
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert message["To"] == "ada@payer.example"
    assert (message["X-Dunwell-Invoices"], message["X-Dunwell-Kind"]) == ("in_1,in_2", "failed")
    assert message["Auto-Submitted"] == "auto-generated"
    others = [f"{name}: {value}" for name, value in message.items() if name != "To"]
    assert not any(word in line for line in others for word in ("Ada", "Lovelace", "ada@payer", "cus_1"))


def test_the_same_notice_gives_the_same_bytes_and_another_one_another_message_id() -> None:
    assert built().as_bytes() == built().as_bytes()
    one, two = (message_id(b"secret", name, "acme.example") for name in ("ntc_1", "ntc_2"))
    assert one == message_id(b"secret", "ntc_1", "acme.example") != two
    assert message_id(b"other", "ntc_1", "acme.example") != one


def of_letter(letter: letters.Letter) -> bytes:
    return build_message(
        letter, CONTACT, BRAND, identity="<a@b>", tone=Tone.FIRM, step=Step.FAILED, invoices=["in_1"], at=AT
    )


def bodies_of(message: EmailMessage) -> list[str]:
    """The texts of a message's parts, line ends as we write them."""
    return [part.get_content().replace("\r\n", "\n") for part in message.iter_parts()]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_message_carries_the_letter_to_the_letter(language: str) -> None:
    letter = render(Step.FAILED, [CASE], replace(CONTACT, language=language), BRAND)
    message = message_from_bytes(of_letter(letter), _class=EmailMessage, policy=policy.default)
    assert bodies_of(message) == [letter.text, letter.html]
    assert message["Subject"] == letter.subject
    assert of_letter(letter).isascii()
    assert max(len(line) for line in of_letter(letter).split(b"\r\n")) <= 78


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200) | st.sampled_from([".", "From x"]))
)
def test_no_text_is_changed_on_its_way(lines: list[str]) -> None:
    text = "\n".join([*lines, ""])
    letter = replace(render(Step.FAILED, [CASE], CONTACT, BRAND), text=text)
    message = message_from_bytes(of_letter(letter), _class=EmailMessage, policy=policy.default)
    assert bodies_of(message)[0] == text


@pytest.mark.parametrize("subject", ["Hello\nBcc: eve@x.example", "Hello\r\n\r\nanother body", "Hello\rthere"])
def test_a_subject_of_two_lines_is_refused(subject: str) -> None:
    letter = replace(render(Step.FAILED, [CASE], CONTACT, BRAND), subject=subject)
    with pytest.raises(ValueError, match="Subject must be one line"):
        of_letter(letter)


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_no_name_breaks_a_message(name: str) -> None:
    raw = of_letter(render(Step.FAILED, [CASE], replace(CONTACT, name=name), BRAND))
    message = message_from_bytes(raw, _class=EmailMessage, policy=policy.default)
    assert set(message.keys()) == set(built().keys())


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in (1..100000) %}x{% endfor %}",
        "{% for i in (1..400) %}{% for j in (1..400) %}x{% endfor %}{% endfor %}",
        "{% for i in (1..400) %}" + "y" * 500 + "{% endfor %}",
        "{% assign a = 'xxxxxxxxxxxxxxxx' %}" + "{% assign a = a | append: a %}" * 20 + "{{ a }}",
        "{{ nobody_said_this }}",
        "{% include 'secrets' %}",
        "{% render '/etc/passwd' %}",
    ],
)  # fmt: skip
def test_a_hostile_template_is_stopped_by_the_sandbox(template: str) -> None:
    with pytest.raises(LiquidError):
        letters._sandbox(False).from_string(template).render()


@pytest.mark.parametrize("probe", ["{{ name.__class__ }}", "{{ name.__init__.__globals__ }}"])
def test_a_template_cannot_reach_into_the_process(probe: str) -> None:
    with pytest.raises(LiquidError):
        letters._sandbox(False).from_string(probe).render(name="Ada")

"""The gate's JSON, its errors, and its data."""

import copy
import json
from datetime import date

import pytest

from dunwell_kit.errors import Invalid
from dunwell_retry.rules import RuleInputInvalid, rulebook
from dunwell_retry.rules.check import check

QUESTION = json.loads("""
{"attempt": {"at": "2026-11-22T10:00:00Z", "invoice_id": "in_1", "amount_minor": 1000, "currency": "USD",
             "initiator": "merchant", "gateway": "stripe", "merchant_country": "US", "authorization": null,
             "notified_at": null, "first_presented_at": null,
             "instrument": {"instrument_id": "pm_1", "kind": "card", "network": "visa", "funding": "debit",
                            "country": "US", "account_reference": "par_1", "token": "tok_a"}},
 "history": [{"at": "2026-11-20T10:00:00Z", "invoice_id": "in_1", "amount_minor": 1000, "currency": "USD",
              "initiator": "merchant", "instrument_id": "pm_1", "account_reference": "par_1", "token": "tok_a",
              "approved": false, "origin": "us", "network_code": "51", "advice_code": null, "gateway_code": null}]}
""")


def changed(path, value):
    document = copy.deepcopy(QUESTION)
    place = document
    *way, last = path
    for step in way:
        place = place[step]
    place[last] = value
    return document


def test_a_question_gives_a_verdict_and_a_list_gives_a_list():
    answer = check(QUESTION)
    assert list(answer) == ["permit", "rule", "reason", "not_before", "fee_if_sent", "counters", "sources"]
    assert (answer["permit"], answer["rule"], answer["not_before"]) == (True, "visa.cap", None)
    assert answer["counters"] == {"visa.reattempts_30d.merchant": 0}
    assert check([QUESTION, QUESTION]) == [answer, answer]
    assert check([]) == []
    json.dumps(answer)


def test_a_denial_tells_when_and_what_it_costs():
    document = changed(("attempt", "instrument", "network"), "mastercard")
    document["history"][0] |= {"advice_code": "27", "at": "2026-11-22T10:00:00+05:30"}
    answer = check(document)
    assert (answer["permit"], answer["rule"]) == (False, "mastercard.mac27")
    assert answer["not_before"] == "2026-11-26T04:30:00Z"
    lost = check(changed(("history", 0, "network_code"), "41"))
    assert lost["fee_if_sent"] == {"amount_minor": 10, "currency": "USD", "reason": "excessive reattempt"}
    assert lost["sources"][0].startswith("S4: ")


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("attempt", "amount_minor"), 0, "attempt.amount_minor"),
        (("attempt", "amount_minor"), -5, "attempt.amount_minor"),
        (("attempt", "amount_minor"), 10.0, "attempt.amount_minor"),
        (("attempt", "amount_minor"), True, "attempt.amount_minor"),
        (("attempt", "currency"), "USX", "attempt.currency"),
        (("attempt", "currency"), "usd", "attempt.currency"),
        (("attempt", "at"), "2026-11-22T10:00:00", "attempt.at"),
        (("attempt", "at"), "2026-11-22T10:00:00[Mars/Olympus]", "attempt.at"),
        (("attempt", "at"), "2026-11-31T10:00:00Z", "attempt.at"),
        (("attempt", "at"), None, "attempt.at"),
        (("attempt", "notified_at"), "yesterday", "attempt.notified_at"),
        (("attempt", "initiator"), "robot", "attempt.initiator"),
        (("attempt", "instrument"), None, "attempt.instrument"),
        (("attempt", "instrument", "kind"), "cheque", "attempt.instrument.kind"),
        (("attempt", "blocks"), [{"kind": "dispute"}], "attempt.blocks[0].since"),
        (("attempt", "caps"), {"per_invoice": -1}, "attempt.caps.per_invoice"),
        (("history", 0, "amount_minor"), 0, "history[0].amount_minor"),
        (("history", 0, "currency"), "XXY", "history[0].currency"),
        (("history", 0, "approved"), "no", "history[0].approved"),
        (("history", 0, "at"), "2026-11-20T10:00:00", "history[0].at"),
        (("history", 0), 7, "history[0]"),
        (("history",), {}, "history"),
    ],
)
def test_what_cannot_be_judged_names_its_field(path, value, field):
    with pytest.raises(RuleInputInvalid) as caught:
        check(changed(path, value))
    assert caught.value.field_name == field
    with pytest.raises(RuleInputInvalid) as caught:
        check([QUESTION, changed(path, value)])
    assert caught.value.field_name == f"[1].{field}"


@pytest.mark.parametrize("amount", [2**63, -(2**63), 10**40])
def test_an_amount_past_64_bits_is_refused(amount):
    for path in (("attempt", "amount_minor"), ("history", 0, "amount_minor")):
        with pytest.raises(RuleInputInvalid, match="64 bits"):
            check(changed(path, amount))


@pytest.mark.parametrize("document", [None, 1, "x", {}, {"attempt": []}])
def test_what_is_no_question_is_said(document):
    with pytest.raises(RuleInputInvalid):
        check(document)


def test_blocks_caps_and_loans_are_read():
    document = changed(("attempt", "blocks"), [{"kind": "hardship", "since": "2026-11-01T00:00:00Z"}])
    assert check(document)["rule"] == "block.hardship"
    assert check(changed(("attempt", "caps"), {"min_gap_hours": 72}))["rule"] == "tenant.min_gap"
    document = changed(("attempt", "high_cost_loan"), True)
    document["history"].append({**document["history"][0], "at": "2026-11-21T10:00:00Z"})
    assert check(document)["rule"] == "us.two_failed_debits"


def test_the_rule_book_is_whole():
    book = rulebook.default()
    everything = [*book.rules.values(), *book.visa.values(), *book.debits.values()]
    for row in [*(each for rows in everything for each in rows), *book.mastercard.values(), *book.blocks.values()]:
        assert row.sources, row.rule
        assert row.grade in "ABC"
    assert book.find("visa.cap", date(2025, 5, 18)).number("limit") == 15
    assert book.find("visa.cap", date(2025, 5, 19)).number("limit") == 20
    assert book.find("mastercard.fee", date(2026, 1, 1), "BR").text("currency") == "BRL"
    assert set(book.mastercard) >= {"01", "02", "03", "04", "21", "42", "99"} | {str(n) for n in range(24, 31)}


def test_two_rows_in_force_at_once_are_refused():
    row = {"rule": "r", "region": None, "from": None, "to": None, "sources": ["S"], "grade": "A"}
    cards = {
        "edition": "1", "rules": [row, row], "visa_categories": [], "mastercard_advice": [],
        "brazil_irreversible": {"codes": "", "sources": ["S"]},
    }  # fmt: skip
    debits = {"edition": "1", "rules": [], "bank_debit": [], "lifted_by_authorization": [], "blocks": {}}
    with pytest.raises(Invalid, match="'r' are in force at once"):
        rulebook.read(cards, debits, {"S": "somewhere"})
    with pytest.raises(Invalid, match="source"):
        rulebook.read({**cards, "rules": [row]}, debits, {})

"""The gate's JSON, its errors, and its data."""

import copy
import json
from datetime import date

import pytest

from dunwell_kit.errors import Invalid
from dunwell_retry.rules import RuleInputInvalid, rulebook
from dunwell_retry.rules.check import check
from dunwell_retry.rules.strict_json import read

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
        (("history",), None, "history"),
        (("histroy",), [], "histroy"),
        (("attempt", "amount"), 5, "attempt.amount"),
        (("attempt", "instrument", "netwrok"), "visa", "attempt.instrument.netwrok"),
        (("attempt", "caps"), {"per_invioce": 3}, "attempt.caps.per_invioce"),
        (
            ("attempt", "blocks"),
            [{"kind": "dispute", "since": "2026-11-01T00:00:00Z", "til": None}],
            "attempt.blocks[0].til",
        ),
        (("history", 0, "return_code"), "R01", "history[0].return_code"),
        (("attempt", "instrument", "network"), "ach", "attempt.instrument.network"),
        (("attempt", "instrument", "kind"), "bank_debit", "attempt.instrument.network"),
        (("attempt", "instrument", "kind"), "upi", "attempt.instrument.network"),
        (("attempt", "instrument", "country"), "ZZ", "attempt.instrument.country"),
        (("attempt", "merchant_country"), "USA", "attempt.merchant_country"),
        (("attempt", "at"), "0001-01-01T00:00:00Z", "attempt.at"),
        (("attempt", "at"), "9999-12-31T23:59:59Z", "attempt.at"),
        (("history", 0, "at"), "0001-01-01T00:00:00+14:00", "history[0].at"),
        (("history", 0, "at"), "9999-12-31T23:59:59-12:00", "history[0].at"),
        (("attempt", "notified_at"), "9999-12-31T00:00:00Z", "attempt.notified_at"),
        (("attempt", "caps"), {"min_gap_hours": 10**12}, "attempt.caps.min_gap_hours"),
        (("attempt", "first_presented_at"), "2026-11-22T10:00:01Z", "attempt.first_presented_at"),
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


def test_a_history_that_is_not_told_is_not_taken_for_an_empty_one():
    with pytest.raises(RuleInputInvalid, match="history: is missing") as caught:
        check({"attempt": QUESTION["attempt"]})
    assert caught.value.field_name == "history"
    assert check({"attempt": QUESTION["attempt"], "history": []})["permit"]


@pytest.mark.parametrize(
    ("network", "codes", "rule"),
    [
        ("visa", {"network_code": " 41 "}, "visa.cat1"),
        ("visa", {"network_code": "r1"}, "visa.stop_payment"),
        ("mastercard", {"advice_code": "3"}, "mastercard.mac03"),
        ("mastercard", {"advice_code": " 03\n"}, "mastercard.mac03"),
        (" Mastercard ", {"advice_code": "03"}, "mastercard.mac03"),
        ("ach", {"network_code": "r02"}, "ach.not_retryable"),
        ("sepa", {"network_code": "ac04 "}, "sepa.not_retryable"),
        ("visa", {"gateway_code": " lost_card "}, "general.never_retry.dead_card"),
    ],
)
def test_codes_are_read_as_people_write_them(network, codes, rule):
    document = changed(("attempt", "instrument", "network"), network)
    document["attempt"]["instrument"]["kind"] = "bank_debit" if network in ("ach", "sepa") else "card"
    document["history"][0] |= {"network_code": None} | codes
    answer = check(document)
    assert (answer["permit"], answer["rule"]) == (False, rule)


def test_a_country_in_small_letters_is_the_same_country():
    document = changed(("attempt", "merchant_country"), "gb")
    document["attempt"]["instrument"]["country"] = "us"
    document["history"][0]["network_code"] = "41"
    assert check(document)["fee_if_sent"]["amount_minor"] == 15, "across a border"


@pytest.mark.parametrize(
    ("text", "field", "rule"),
    [
        (b"\xff\xfe\x00", "question.json", "UTF-8"),
        (b"", "question.json", "not JSON"),
        (b"{", "question.json", "not JSON"),
        (b"[" * 100_000, "question.json", "nested too deeply"),
        (b'{"attempt": {"at": 1, "at": 2}, "history": []}', "at", "given twice"),
        (b'{"history": [], "history": []}', "history", "given twice"),
        (b'[{"attempt": NaN}]', "document", "NaN"),
        (b"1" * 5000, "question.json", "not JSON"),
    ],
)
def test_a_text_of_which_something_would_be_guessed_is_refused(text, field, rule):
    with pytest.raises(RuleInputInvalid, match=rule) as caught:
        read(text, "question.json")
    assert caught.value.field_name == field


def test_the_promised_question_is_read_to_the_letter():
    text = json.dumps(QUESTION)
    assert check(read(text)) == check(read(b"\xef\xbb\xbf" + text.encode())) == check(QUESTION)


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

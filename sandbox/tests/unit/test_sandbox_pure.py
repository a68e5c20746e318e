import hashlib
import hmac
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dunwell_kit.errors import Misconfigured
from dunwell_kit.settings import Environment
from dunwell_sandbox.declines import STRIPE_CODES, spoken
from dunwell_sandbox.faults import Fault, fault_of
from dunwell_sandbox.mail import read_message
from dunwell_sandbox.people import person
from dunwell_sandbox.settings import FaultRates, SandboxSettings, sandbox_settings
from dunwell_sandbox.stage import load_world
from dunwell_sandbox.store import Reply, Store
from dunwell_sandbox.webhooks import signature
from dunwell_worlds.protocol import Decline

RATES = FaultRates(timeout=0.05, error=0.1, reset_before=0.05, reset_after=0.05, slow=0.05)


@given(st.binary(max_size=200), st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=3))
def test_a_signature_verifies_with_every_secret(body, secrets):
    parts = [part.split("=", 1) for part in signature(body, secrets, 1_700_000_000).split(",")]
    assert parts[0] == ["t", "1700000000"]
    for secret, (scheme, digest) in zip(secrets, parts[1:], strict=True):
        # Written apart from the code under test: the scheme as Stripe documents it.
        mac = hmac.HMAC(secret.encode("utf-8"), digestmod=hashlib.sha256)
        mac.update(b"1700000000." + body)
        assert (scheme, digest) == ("v1", mac.hexdigest())


@given(st.text(min_size=1, max_size=40), st.integers(0, 99))
def test_a_fault_depends_on_seed_and_key_alone(key, seed):
    assert fault_of(key, seed, RATES) == fault_of(key, seed, RATES)
    assert fault_of(key, seed, FaultRates()) is None


def test_faults_come_at_their_rates():
    drawn = Counter(fault_of(f"key-{number}", 7, RATES) for number in range(4000))
    for fault in Fault:
        assert abs(drawn[fault] / 4000 - getattr(RATES, fault)) < 0.015
    assert fault_of("any", 7, FaultRates(timeout=1.0)) is Fault.TIMEOUT


@pytest.mark.parametrize(
    ("decline", "expected"),
    [
        (Decline("insufficient_funds", "51", None, None), ("card_declined", "insufficient_funds", None, None)),
        (Decline(None, "54", None, None), ("expired_card", "expired_card", None, None)),
        (Decline(None, "14", None, None), ("incorrect_number", "invalid_number", None, None)),
        (Decline(None, "05", "03", None), ("card_declined", "do_not_honor", "do_not_try_again", "03")),
        (Decline(None, "51", "26", None), ("card_declined", "insufficient_funds", "try_again_later", "26")),
        (
            Decline(None, "51", "try_again_later", None),
            ("card_declined", "insufficient_funds", "try_again_later", None),
        ),
        (Decline(None, "ZZ", "99", None), ("card_declined", "generic_decline", None, "99")),
    ],
)
def test_a_decline_is_told_as_stripe_tells_it(decline, expected):
    told = spoken(decline)
    assert (told["code"], told["decline_code"], told["advice_code"], told["network_advice_code"]) == expected
    assert told["network_decline_code"] == decline.network_code
    assert told["decline_code"] in STRIPE_CODES
    assert told["message"]


def test_people_are_invented_and_repeat():
    one = person("pay_1", 1, "FR")
    assert one == person("pay_1", 1, "FR")
    assert (one.email, one.locale) == ("payer-0001@example.com", "fr")
    assert person("pay_1", 2, "JP").locale == "en"


def test_a_message_tells_whom_it_reaches():
    raw = (
        b"From: billing@shop.example\r\nTo: payer-0001@example.com\r\nSubject: =?utf-8?q?F=C3=A4llig?=\r\n"
        b"Message-ID: <m1@dunwell>\r\nX-Dunwell-Invoices: in_1, in_2\r\nX-Dunwell-Tone: Firm\r\n"
        b"X-Dunwell-Kind: reminder_2\r\n\r\nPlease pay: https://pay.example.com/i/in_1\r\n"
    )
    message_id, message = read_message(raw, ["payer-0001@example.com"])
    assert message_id == "<m1@dunwell>"
    assert message["invoices"] == ["in_1", "in_2"]
    assert (message["tone"], message["kind"], message["channel"]) == ("firm", "reminder_2", "email")
    assert message["subject"] == "Fällig"
    assert "https://pay.example.com/i/in_1" in message["text"]


def test_a_message_without_our_headers_reaches_nobody():
    message_id, message = read_message(b"Subject: hello\r\n\r\nhi\r\n", ["a@example.com"])
    assert message["invoices"] == []
    assert message_id == read_message(b"Subject: hello\r\n\r\nhi\r\n", ["a@example.com"])[0]


def test_wrong_settings_are_told_all_at_once():
    wrong = {"DUNWELL_SANDBOX_DUPLICATE_RATE": "1.5", "DUNWELL_SANDBOX_PORT": "x", "DUNWELL_SANDBOX_WORLD_START": "?"}
    with pytest.raises(Misconfigured) as caught:
        sandbox_settings(Environment(wrong))
    for name in wrong:
        assert name in str(caught.value)


def test_settings_come_from_the_environment():
    settings = sandbox_settings(
        Environment({"DUNWELL_SANDBOX_WEBHOOK_SECRETS": "a,b", "DUNWELL_SANDBOX_API_VERSION": "2020-08-27"})
    )
    assert settings.webhook_secrets == ("a", "b")
    assert not settings.basil
    assert SandboxSettings(Path("d")).basil


@pytest.mark.parametrize("spec", ["no.such.module:make", "dunwell_worlds.base:nope", "nonsense", ""])
def test_an_unknown_world_is_refused_by_name(spec):
    with pytest.raises(Misconfigured, match="name one as module:factory"):
        load_world(SandboxSettings(Path("d"), world=spec))


def test_a_rolled_back_request_leaves_nothing(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(KeyError), store.transaction():
        store.append("truth", {"n": 1})
        store.keep_reply("k", Reply("f", 200, {}))
        raise KeyError
    assert store.lines("truth") == []
    assert store.reply("k") is None
    store.close()


def test_events_come_in_pages_newest_first(tmp_path):
    store = Store(tmp_path)
    with store.transaction():
        for number in range(5):
            event = {"id": f"evt_{number}", "type": "a" if number % 2 else "b", "created": number}
            store.add_event(event, holds=[(0.0, False), (0.1, True)])
            store.add_event(event, holds=[(0.0, False)])
    page, more = store.events(None, None, 0, 2)
    assert ([each["id"] for each in page], more) == (["evt_4", "evt_3"], True)
    page, more = store.events(None, "evt_3", 0, 10)
    assert ([each["id"] for each in page], more) == (["evt_2", "evt_1", "evt_0"], False)
    assert [each["id"] for each in store.events("a", None, 2, 10)[0]] == ["evt_3"]
    assert store.delivery_stats()["pending"] == store.pending() == 10
    store.close()

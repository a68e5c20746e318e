"""The webhook edge on the real app and the real store: who gets in, what is kept, and what each refusal says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from dunwell_gateways.stripe.signing import sign
from dunwell_gateways.stripe.specimens import NOW, declined_intent, event, invoice
from dunwell_kit.database import Database
from dunwell_kit.failpoints import arm

pytestmark = pytest.mark.integration
SECRET = "whsec_for_tests"
GOOD = event("payment_intent.payment_failed", declined_intent())
Ingest = Any


def problem_of(answer: httpx.Response) -> tuple[int, str]:
    """Return (status, last part of the type) of a problem document."""
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["status"] == answer.status_code
    assert found["title"]
    assert found["detail"]
    base, _, kind = found["type"].rpartition("/")
    assert base == "https://dunwell.dev/problems"
    return answer.status_code, kind


async def rows(ingest: Ingest) -> int:
    return int((await ingest.database.read("SELECT count(*) AS n FROM deliveries"))[0]["n"])


async def test_a_signed_webhook_is_stored_and_acknowledged(ingest: Ingest) -> None:
    answer = await ingest.post(GOOD)
    assert (answer.status_code, answer.json()["received"]) == (200, True)
    (row,) = await ingest.database.read("SELECT delivery_id, body, state, tenant_id, account FROM deliveries")
    assert bytes(row["body"]) == GOOD
    assert (row["delivery_id"], row["state"], row["tenant_id"], row["account"]) == (
        answer.json()["delivery_id"], "new", "default", "acct_1",
    )  # fmt: skip


async def test_a_repeated_webhook_is_acknowledged_and_kept_once(ingest: Ingest) -> None:
    answers = [await ingest.post(GOOD) for _ in range(3)]
    answers += await asyncio.gather(*(ingest.post(GOOD) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert await rows(ingest) == 1


async def test_one_id_on_two_things_is_two_deliveries_and_neither_is_lost(ingest: Ingest) -> None:
    told = json.loads(GOOD)
    other_type = {**told, "type": "invoice.voided"}
    other_object = {**told, "data": {"object": {**told["data"]["object"], "id": "in_other"}}}
    for body in (told, other_type, other_object):
        # Stripe changes the count of open deliveries between two tries of one event.
        for pending in (1, 3):
            answer = await ingest.post(json.dumps({**body, "pending_webhooks": pending}).encode())
            assert answer.status_code == 200
    assert await rows(ingest) == 3


def signature(when: timedelta = timedelta(0), secret: str = SECRET, body: bytes = GOOD) -> str:
    return sign(body, secret, NOW + when)


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ("", "missing"),
        ("nonsense", "malformed"),
        ("t=abc,v1=00", "malformed"),
        (f"t={int(NOW.timestamp())}", "malformed"),
        (signature(secret="whsec_other"), "mismatch"),
        (signature(body=GOOD + b" "), "mismatch"),
        (signature().replace("v1=", "v0="), "malformed"),
        (signature(timedelta(seconds=-301)), "too_old"),
        (signature(timedelta(seconds=301)), "too_new"),
    ],
)
async def test_what_is_not_signed_now_with_the_endpoints_secret_is_refused_and_not_kept(
    ingest: Ingest, header: str, fault: str
) -> None:
    answer = await ingest.post(GOOD, header=header)
    assert problem_of(answer) == (401, "signature-invalid")
    assert answer.json()["fault"] == fault
    assert await rows(ingest) == 0


@pytest.mark.parametrize("seconds", [-300, 300])
async def test_a_signature_at_the_edge_of_the_window_is_good(ingest: Ingest, seconds: int) -> None:
    assert (await ingest.post(GOOD, header=signature(timedelta(seconds=seconds)))).status_code == 200


async def test_while_a_secret_is_rotated_both_are_good(ingest: Ingest) -> None:
    both = f"{signature(secret='whsec_other')},{signature().partition(',')[2]}"
    assert (await ingest.post(GOOD, header=both)).status_code == 200
    await ingest.database.transact(
        lambda tx: tx.execute("UPDATE endpoints SET secrets = ARRAY['whsec_next', :old]", old=SECRET)
    )
    ingest.edge._endpoints.clear()
    for secret in ("whsec_next", SECRET):
        assert (await ingest.post(GOOD, header=signature(secret=secret))).status_code == 200


async def test_an_unknown_token_is_not_found_whatever_is_posted(ingest: Ingest) -> None:
    for token in ("unknown", "x" * 500, "%00", "..%2f..%2fetc"):
        answer = await ingest.post(GOOD, url=f"/v1/webhooks/{token}")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
    assert problem_of(await ingest.post(GOOD, url="/v1/webhooks/unknown")) == (404, "unknown-endpoint")
    assert await rows(ingest) == 0


@pytest.mark.parametrize("size", [256 * 1024 + 1, 10 * 1024 * 1024])
async def test_a_body_past_the_limit_is_refused_told_or_streamed(ingest: Ingest, size: int) -> None:
    assert problem_of(await ingest.post(b" " * size)) == (413, "body-too-large")

    async def stream() -> Any:
        for _ in range(size // 65_536 + 1):
            yield b" " * 65_536

    answer = await ingest.client.post(ingest.url, content=stream())
    assert problem_of(answer) == (413, "body-too-large")
    assert await rows(ingest) == 0


async def test_a_body_at_the_limit_is_taken(ingest: Ingest) -> None:
    body = GOOD + b" " * (256 * 1024 - len(GOOD))
    assert (await ingest.post(body)).status_code == 200


def deep(levels: int) -> bytes:
    return b'{"id":"evt_1","type":"x","a":' + b"[" * levels + b"]" * levels + b"}"


UNREADABLE = {
    "empty": b"",
    "truncated": GOOD[: len(GOOD) // 2],
    "not an object": b"[]",
    "deep": deep(100),
    "very deep": deep(100_000),
    "a key twice": b'{"id":"evt_1","id":"evt_2","type":"invoice.paid"}',
    "NaN": b'{"id":"evt_1","type":"invoice.paid","x":NaN}',
    "no id": b'{"type":"invoice.paid"}',
    "NUL": b'{"id":"evt_\\u0000","type":"invoice.paid"}',
    "lone surrogate": b'{"id":"evt_\\ud800","type":"invoice.paid"}',
    "not UTF-8": b'{"id":"\xff\xfe"}',
    "an endless id": event("invoice.paid", invoice(), id="evt_" + "x" * 300),
    "no time": event("invoice.paid", invoice(), created=None),
}


@pytest.mark.parametrize("name", sorted(UNREADABLE))
async def test_an_authentic_body_that_cannot_be_read_is_acknowledged_and_quarantined(ingest: Ingest, name: str) -> None:
    for _ in range(2):
        assert (await ingest.post(UNREADABLE[name])).status_code == 200
    (entry,) = (await ingest.client.get("/v1/quarantine")).json()
    assert entry["detail"]
    assert entry["bytes"] == len(UNREADABLE[name])
    assert "body" not in entry


IMPOSSIBLE = {
    "a currency that does not exist": event("invoice.payment_failed", invoice(currency="usx")),
    "a negative amount": event("invoice.payment_failed", invoice(amount_remaining=-5)),
    "an amount as text": event("invoice.payment_failed", invoice(amount_remaining="20.00")),
    "a broken amount": event("invoice.payment_failed", invoice(amount_remaining=20.5)),
    "an amount past 64 bits": event("invoice.payment_failed", invoice(amount_remaining=10**30)),
    "an endless object id": event("invoice.payment_failed", invoice(id="in_" + "x" * 5000)),
    "no object": b'{"id":"evt_1","type":"invoice.paid","created":1700000000,"data":{}}',
}


@pytest.mark.parametrize("name", sorted(IMPOSSIBLE))
async def test_an_authentic_event_that_cannot_be_true_is_quarantined_and_stops_nobody(
    ingest: Ingest, name: str
) -> None:
    assert (await ingest.post(IMPOSSIBLE[name])).status_code == 200
    assert (await ingest.post(event("gift_card.wrapped", {"id": "gc_1"}, id="evt_after"))).status_code == 200
    await ingest.read()
    assert [state for _, state in await ingest.states()] == ["quarantined", "ignored"]
    assert await ingest.emitted() == []
    (entry,) = (await ingest.client.get("/v1/quarantine")).json()
    assert entry["detail"]


async def test_a_quarantined_delivery_can_be_replayed_once_the_reason_is_gone(ingest: Ingest) -> None:
    await ingest.post(event("invoice.voided", invoice(currency="usx", status="void")))
    await ingest.read()
    (entry,) = (await ingest.client.get("/v1/quarantine")).json()
    replay = f"/v1/quarantine/{entry['delivery_id']}/replay"
    assert (await ingest.client.post(replay)).status_code == 202
    await ingest.read()
    assert [state for _, state in await ingest.states()] == ["quarantined"]
    # What a fixed reader would do, the other way round: the same delivery with a currency that is one.
    await ingest.database.transact(
        lambda tx: tx.execute("UPDATE deliveries SET body=:b", b=event("invoice.voided", invoice(status="void")))
    )
    assert (await ingest.client.post(replay)).json() == {"delivery_id": entry["delivery_id"], "state": "new"}
    await ingest.read()
    assert await ingest.states() == [("invoice.voided", "case")]
    assert len(await ingest.emitted()) == 1
    assert problem_of(await ingest.client.post(replay)) == (404, "not-found")


async def test_an_unknown_type_is_acknowledged_kept_and_ignored(ingest: Ingest) -> None:
    assert (await ingest.post(event("gift_card.wrapped", {"id": "gc_1"}))).status_code == 200
    await ingest.read()
    assert await ingest.states() == [("gift_card.wrapped", "ignored")]
    assert (await ingest.client.get("/v1/deliveries/counts")).json() == {"ignored": 1}


async def test_many_at_once_share_few_inserts_and_none_is_lost(ingest: Ingest) -> None:
    bodies = [event("gift_card.wrapped", {"id": "gc_1"}, id=f"evt_{number}") for number in range(200)]
    answers = await asyncio.gather(*(ingest.post(body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}
    (found,) = await ingest.database.read("SELECT count(*) AS n, count(DISTINCT xmin::text) AS inserts FROM deliveries")
    assert found["n"] == 200
    assert found["inserts"] <= 20


async def test_one_unreadable_delivery_does_not_fail_those_that_wait_beside_it(ingest: Ingest) -> None:
    bodies = [*UNREADABLE.values(), *(event("x", {}, id=f"evt_ok_{n}") for n in range(20))]
    answers = await asyncio.gather(*(ingest.post(body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize(
    ("point", "kept"), [("ingest.verified", 0), ("ingest.before_insert", 0), ("ingest.after_commit", 1)]
)
async def test_a_crash_at_the_edge_acknowledges_nothing_and_the_repeat_is_kept_once(
    ingest: Ingest, point: str, kept: int
) -> None:
    arm(f"{point}=raise")
    assert (await ingest.post(GOOD)).status_code == 500
    arm("")
    assert await rows(ingest) == kept
    assert (await ingest.post(GOOD)).status_code == 200
    assert await rows(ingest) == 1


async def test_without_a_database_the_answer_is_to_come_again(
    no_database: Database, ingest_over: Callable[[Database], Any]
) -> None:
    async with ingest_over(no_database) as ingest:
        answer = await ingest.post(GOOD, url="/v1/webhooks/any")
        assert problem_of(answer) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert problem_of(await ingest.client.get("/health/ready")) == (503, "unavailable")
        assert (await ingest.client.get("/health/live")).status_code == 200


async def test_an_endpoints_url_works_at_once_and_its_secrets_are_never_shown(ingest: Ingest) -> None:
    answer = await ingest.add_endpoint(account="acct_2", tenant_id="other")
    assert (await ingest.post(GOOD)).status_code == 200
    listed = await ingest.client.get("/v1/endpoints")
    assert [(e["account"], e["tenant_id"], e["secrets"]) for e in listed.json()] == [
        ("acct_1", "default", 1), ("acct_2", "other", 1),
    ]  # fmt: skip
    token = answer.json()["url"].rpartition("/")[2]
    assert SECRET not in listed.text
    assert token not in listed.text
    (row,) = await ingest.database.read("SELECT tenant_id, account FROM deliveries")
    assert (row["tenant_id"], row["account"]) == ("other", "acct_2")


async def test_the_same_event_of_two_accounts_is_two_deliveries(ingest: Ingest) -> None:
    await ingest.post(GOOD)
    await ingest.add_endpoint(account="acct_2")
    await ingest.post(GOOD)
    assert await rows(ingest) == 2


async def test_an_unknown_gateway_is_not_found_and_the_known_ones_are_named(ingest: Ingest) -> None:
    answer = await ingest.add_endpoint(gateway="paypigeon")
    assert problem_of(answer) == (404, "unknown-gateway")
    assert "stripe" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        json.dumps({"gateway": "stripe", "account": "", "secret": "s"}).encode(),
        json.dumps({"gateway": "stripe", "account": "a", "secret": ""}).encode(),
        json.dumps({"gateway": "stripe", "account": "a\x00", "secret": "s"}).encode(),
        json.dumps({"gateway": "stripe", "account": "a", "secret": "s", "tenant_id": "a b"}).encode(),
        json.dumps({"gateway": "stripe", "account": "a", "secret": "s", "tenant_id": "a:b"}).encode(),
        json.dumps({"gateway": "stripe", "account": "a", "secret": "s", "extra": 1}).encode(),
        json.dumps({"gateway": "stripe", "account": "a" * 129, "secret": "s"}).encode(),
    ],
)
async def test_a_bad_endpoint_is_a_problem_and_none_is_made(ingest: Ingest, body: bytes) -> None:
    answer = await ingest.client.post("/v1/endpoints", content=body, headers={"content-type": "application/json"})
    assert problem_of(answer) == (422, "invalid-input")
    assert len((await ingest.client.get("/v1/endpoints")).json()) == 1


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/v1/quarantine?limit=0", 422, "invalid-input"),
        ("GET", "/v1/quarantine?limit=x", 422, "invalid-input"),
        ("POST", "/v1/quarantine/%00/replay", 422, "invalid-input"),
        ("POST", "/v1/quarantine/dlv_none/replay", 404, "not-found"),
        ("GET", "/v1/webhooks/token", 405, "http"),
        ("GET", "/v1/none", 404, "http"),
    ],
)
async def test_a_bad_question_is_a_problem(ingest: Ingest, method: str, path: str, status: int, kind: str) -> None:
    assert problem_of(await ingest.client.request(method, path)) == (status, kind)

"""The program around the statistics: the load generator, the apps of P1, the reports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
import uvicorn

from bench import p1_ingest_cpu, p17_decisions, p19_backtest, results
from bench.__main__ import chosen, metrics
from bench.bodies import Bodies, paid_event
from bench.contest import Verified
from bench.cores import Cores, cpu_seconds, pinned
from bench.load import Load, Refused
from bench.p13_webhook_to_event import gaps, p99
from bench.pairs import Pair, Reading
from bench.parts import Parts, free_port
from bench.subjects import main as run_subject
from dunwell_kit.testing import wait_until


@asynccontextmanager
async def served(app: p1_ingest_cpu.App) -> AsyncIterator[int]:
    """Serve an app on a free port."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="off"))
    task = asyncio.ensure_future(server._serve())
    await wait_until(lambda: server.started)
    yield port
    server.should_exit = True
    await task


async def test_the_closed_loop_counts_what_a_real_server_accepted() -> None:
    async with served(p1_ingest_cpu.raw) as port:
        tally = await Load(port, "/v1/webhooks/token", connections=3).closed_loop(most=50)
    assert len(set(tally.accepted)) == len(tally.accepted) == tally.in_time == 50


async def test_the_open_loop_sends_once_for_each_gap() -> None:
    answers: list[tuple[float, float, bytes]] = []
    async with served(p1_ingest_cpu.raw) as port:
        load = Load(port, "/v1/webhooks/token", connections=4)
        await load.open_loop([0.001] * 20, lambda due, at, body: answers.append((due, at, body)))
    assert len(answers) == 20
    assert all(due <= at and json.loads(body) == {"received": True} for due, at, body in answers)


async def test_a_server_that_refuses_fails_the_run() -> None:
    async def refuse(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async with served(refuse) as port:
        with pytest.raises(Refused, match="503"):
            await Load(port, "/", connections=2).closed_loop(most=10)


async def test_both_apps_of_p1_accept_what_they_are_given(tmp_path: Path) -> None:
    async with p1_ingest_cpu.opened(Parts(tmp_path, Cores.of_machine())) as contest:
        ours, bare = await contest.subject(0.02), await contest.anchor(0.02)
    assert (ours.operations, bare.operations) == (40, 160)
    assert 0 < bare.figure < ours.figure


async def test_the_anchor_of_p1_refuses_a_wrong_signature() -> None:
    scope, _ = p1_ingest_cpu._call(b"{}")
    answers: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"body": b'{"id":"evt_forged"}'}

    async def send(message: dict[str, object]) -> None:
        answers.append(message)

    await p1_ingest_cpu.raw(scope, receive, send)
    assert answers[0]["status"] == 401


async def test_both_policies_decide_on_real_cases(tmp_path: Path) -> None:
    async with p17_decisions.opened(Parts(tmp_path, Cores.of_machine())) as contest:
        smart, uniform = await contest.subject(0.02), await contest.anchor(0.02)
    assert smart.operations == uniform.operations > 0
    assert smart.figure > 0 < uniform.figure


async def test_the_back_test_is_measured_all_in_and_the_plans_of_smart_beside_it(tmp_path: Path) -> None:
    async with p19_backtest.opened(Parts(tmp_path, Cores.of_machine())) as contest:
        uniform, smart = await contest.subject(0.02), await contest.anchor(0.02)
    assert (uniform.operations, smart.operations) == (40, 4)
    assert uniform.figure > 0 < smart.figure
    # Every case is planned once or more.
    assert contest.extra["smart_plans_per_second"] >= int(smart.operations / smart.seconds)


def test_bodies_have_the_size_of_real_ones_and_ids_of_their_own() -> None:
    made = [next(Bodies()), next(Bodies())]
    bodies = Bodies()
    made += [next(bodies) for _ in range(3)]
    assert len({event_id for event_id, _ in made}) == 5
    for event_id, body in made:
        assert json.loads(body)["id"] == event_id
        # Stripe's own examples of this event have 4.9 kB.
        assert 4_000 < len(body) < 6_000


def test_the_event_is_the_public_one_of_such_a_body() -> None:
    assert type(paid_event()).__name__ == "InvoicePaid"


def test_arrivals_repeat_and_have_the_rate_asked_for() -> None:
    assert gaps(100, 1, 7) == gaps(100, 1, 7) != gaps(100, 1, 8)
    assert sum(gaps(1_000, 10, 1)) == pytest.approx(10, rel=0.1)


def test_p99_is_the_value_that_one_in_a_hundred_exceeds() -> None:
    assert p99(list(range(1, 201))) == 198
    assert p99([3.0, 1.0]) == 3.0


def test_the_split_of_cores_covers_the_machine_and_pinning_ends_with_the_block() -> None:
    cores, before = Cores.of_machine(), Cores.of_machine()
    with pinned(cores.subject):
        assert Cores.of_machine().subject == Cores.of_machine().others == cores.subject
    assert Cores.of_machine() == before


async def test_the_cpu_time_of_a_process_grows_with_its_work_and_not_while_it_is_held(tmp_path: Path) -> None:
    parts = Parts(tmp_path, Cores.of_machine())
    with parts.process("-c", "while True: pass") as busy:
        await wait_until(lambda: busy.cpu_seconds() > 0.05)
        with busy.held():
            pid = busy._process.pid
            await wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "T")
            before = cpu_seconds(pid)
            assert sum(range(200_000)) > 0  # some time passes
            assert cpu_seconds(pid) == before


def test_metrics_are_chosen_by_name_and_a_wrong_name_is_told() -> None:
    assert [metric.id for metric in chosen("p4, P1")] == ["P4", "P1"]
    assert (
        [metric.id for metric in chosen("")] == list(metrics()) == ["P1", "P3", "P4", "P7", "P9", "P13", "P17", "P19"]
    )
    with pytest.raises(typer.BadParameter, match="P99"):
        chosen("P1,P99")


def test_an_unknown_subject_is_refused() -> None:
    with pytest.raises(KeyError):
        run_subject("nothing")


def document(ratio: float, verified: Verified | None) -> dict[str, Any]:
    pairs = [Pair(Reading(10 * ratio, 5, 1), Reading(10, 5, 1))] * 3
    metric = metrics()["P7"]
    return {
        "made_on": "2026-11-25",
        "machine": {"cores": 2, "pinned_apart": True, "python": "3.11", "libraries": {"aiokafka": "1"}},
        "options": {"pairs": 3, "slice_seconds": 0.5},
        "wall_seconds": 9,
        "metrics": [results.result_of(metric, pairs, verified, {"rate": 1234})],
    }


def test_the_readme_says_plainly_which_gate_does_not_hold() -> None:
    block = results.readme_block(document(3, Verified(15, 0, 0)))
    assert "- **P7 does not hold**: 3.00x, 30 us; the gate is <= 2x." in block
    assert "15 in, 0 lost, 0 doubled" in block
    assert "- P7 further: rate 1,234." in block
    assert "Every gate holds." in results.readme_block(document(1, Verified(15, 0, 0)))


def test_a_fast_run_that_lost_an_event_fails() -> None:
    good, lost = document(1, Verified(15, 0, 0)), document(1, Verified(15, 1, 0))
    assert results.lossless(good["metrics"][0])
    assert not results.lossless(lost["metrics"][0])
    assert "P7: accepted ids were lost" in results.readme_block(lost)


def test_a_readme_without_markers_is_not_written() -> None:
    with pytest.raises(ValueError, match="markers"):
        results.with_block("# Bench", "block")


def test_the_readmes_figures_are_those_of_the_newest_result() -> None:
    readme = results.README.read_text(encoding="utf-8")
    newest = json.loads(results.newest_published().read_text(encoding="utf-8"))
    assert results.with_block(readme, results.readme_block(newest)) == readme

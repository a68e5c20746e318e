"""The report as one HTML page without any outside part: charts are inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from dunwell_cli.demo.collect import Result
from dunwell_kit.money import Money

WIDTH, HEIGHT, PAD = 640, 240, 40
_CSS = """
:root{--ink:#1b2430;--soft:#5b6675;--line:#dfe4ea;--good:#0f7b55;--bad:#b3261e;--blue:#2457c5}
*{box-sizing:border-box}body{margin:0;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:#f5f6f8}
main{max-width:1080px;margin:0 auto;padding:32px 24px}h1{font-size:30px;margin:0 0 4px}h2{font-size:18px;margin:0 0 12px}
p.lead{color:var(--soft);margin:0 0 24px}.tiles{display:grid;grid-template-columns:repeat(3,1fr);gap:16px}
.tile,.card{background:#fff;border:1px solid var(--line);border-radius:12px;padding:16px 20px}
.tile b{display:block;font-size:28px}.tile span{color:var(--soft)}.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:16px;margin-top:16px}
svg{width:100%;height:auto}text{font:12px system-ui,sans-serif;fill:var(--soft)}table{border-collapse:collapse;width:100%;font-size:14px}
td,th{padding:6px 8px;border-bottom:1px solid var(--line);text-align:left}td.n{text-align:right}.ok{color:var(--good)}.no{color:var(--bad)}
ol{list-style:none;margin:0;padding:0;font-size:14px}ol li{padding:6px 0;border-bottom:1px solid var(--line)}ol small{color:var(--soft)}
time{color:var(--soft);margin-right:8px;font-variant-numeric:tabular-nums}
"""


def page(result: Result) -> str:
    """Return the whole page."""
    report = result.report
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Dunwell: what {report["days"]} days recovered</title><style>{_CSS}</style></head><body><main>
<h1>What {report["days"]} days recovered</h1>
<p class="lead">{report["invoices"]} failed invoices through real services on real Kafka and Postgres, in {report["wall_seconds"]} seconds. Seed {report["seed"]}.</p>
<div class="tiles">{_tiles(report)}</div>
<div class="grid">
<section class="card"><h2>Share recovered by days since the failure</h2>{_curve(result.cases)}</section>
<section class="card"><h2>Recovered of failed, by reason</h2>{_bars(_by_reason(result.cases))}</section>
<section class="card"><h2>Cases by number of attempts</h2>{_columns(_attempts(result.cases))}</section>
<section class="card"><h2>Messages</h2>{_messages(report)}</section>
<section class="card"><h2>Invariants</h2>{_invariants(report)}</section>
<section class="card"><h2>Does it work? Treated against holdout</h2>{_holdout(report["holdout"])}</section>
</div>
<section class="card" style="margin-top:16px"><h2>The story of {escape(report["story_case_id"])}</h2><ol>{_story(result.story)}</ol></section>
</main></body></html>
"""


def _tiles(report: Mapping[str, Any]) -> str:
    recovered = report["recovered"]
    tiles = [
        (f"{recovered['rate']:.1%}", f"recovered: {recovered['count']} of {report['invoices']}"),
        *(
            (
                str(Money(line["currency"], line["recovered_minor"])),
                f"of {Money(line['currency'], line['failed_minor'])} failed",
            )
            for line in report["money"]
        ),
        (str(report["attempts_per_recovery"]), "attempts per recovery"),
        (str(report["notices"]["sent"]), f"messages sent, {report['notices']['suppressed']} suppressed"),
        (str(report["gateway_truth"]["double_charges"]), "charges applied twice"),
        (str(report["ledger"]["unbalanced"]), f"of {report['ledger']['journals']} journals unbalanced"),
    ]
    return "".join(f'<div class="tile"><b>{escape(big)}</b><span>{escape(small)}</span></div>' for big, small in tiles)


def _curve(cases: Sequence[Mapping[str, Any]]) -> str:
    total = len(cases) or 1
    days = [(c["recovered_at"] - c["opened_at"]).total_seconds() / 86400 for c in cases if c["recovered_at"]]
    points = [(day, sum(1 for d in days if d <= day) / total) for day in range(31)]
    top = max(0.1, *(share for _, share in points)) * 1.1
    step_x, step_y = (WIDTH - 2 * PAD) / 30, (HEIGHT - 2 * PAD) / top
    path = " ".join(f"{PAD + day * step_x:.1f},{HEIGHT - PAD - share * step_y:.1f}" for day, share in points)
    ticks = "".join(
        f'<text x="{PAD + d * step_x:.0f}" y="{HEIGHT - 14}" text-anchor="middle">{d}</text>' for d in range(0, 31, 5)
    )
    marks = "".join(
        f'<line x1="{PAD}" x2="{WIDTH - PAD}" y1="{HEIGHT - PAD - s * step_y:.0f}" y2="{HEIGHT - PAD - s * step_y:.0f}" stroke="#dfe4ea"/>'
        f'<text x="{PAD - 6}" y="{HEIGHT - PAD - s * step_y + 4:.0f}" text-anchor="end">{s:.0%}</text>'
        for s in (top * k / 4 for k in range(5))
    )
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Recovery curve">{marks}<polyline points="{path}" fill="none" stroke="#2457c5" stroke-width="2.5"/>{ticks}</svg>'


def _by_reason(cases: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, int]]:
    found: dict[str, list[int]] = {}
    for case in cases:
        line = found.setdefault(case["decline_reason"], [0, 0])
        line[0] += 1
        line[1] += case["state"] == "recovered"
    return sorted(((name, n, won) for name, (n, won) in found.items()), key=lambda row: -row[1])


def _bars(rows: Sequence[tuple[str, int, int]]) -> str:
    top, height = max((n for _, n, _ in rows), default=1), 26 * len(rows) + 10
    scale = (WIDTH - 260) / top
    bars = "".join(
        f'<text x="150" y="{26 * i + 18}" text-anchor="end">{escape(name.replace("_", " "))}</text>'
        f'<rect x="158" y="{26 * i + 4}" width="{n * scale:.1f}" height="18" rx="3" fill="#dfe4ea"/>'
        f'<rect x="158" y="{26 * i + 4}" width="{won * scale:.1f}" height="18" rx="3" fill="#0f7b55"/>'
        f'<text x="{164 + n * scale:.0f}" y="{26 * i + 18}">{won} of {n}</text>'
        for i, (name, n, won) in enumerate(rows)
    )
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Funnel by reason">{bars}</svg>'


def _attempts(cases: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    counts: dict[int, int] = {}
    for case in cases:
        counts[case["attempts"]] = counts.get(case["attempts"], 0) + 1
    return [(str(n), counts.get(n, 0)) for n in range(max(counts, default=0) + 1)]


def _columns(rows: Sequence[tuple[str, int]]) -> str:
    top, step = max((n for _, n in rows), default=1) or 1, (WIDTH - 2 * PAD) / max(1, len(rows))
    scale = (HEIGHT - 2 * PAD) / top
    columns = "".join(
        f'<rect x="{PAD + i * step + 4:.1f}" y="{HEIGHT - PAD - n * scale:.1f}" width="{step - 8:.1f}" height="{n * scale:.1f}" rx="3" fill="#2457c5"/>'
        f'<text x="{PAD + (i + 0.5) * step:.1f}" y="{HEIGHT - PAD - n * scale - 5:.1f}" text-anchor="middle">{n}</text>'
        f'<text x="{PAD + (i + 0.5) * step:.1f}" y="{HEIGHT - 18}" text-anchor="middle">{name}</text>'
        for i, (name, n) in enumerate(rows)
    )
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Attempts">{columns}</svg>'


def _messages(report: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><td>{escape(name.replace(":", " · "))}</td><td class="n">{n}</td></tr>'
        for name, n in report["notices"]["by_step"].items()
    )
    return f"<table><tr><th>step · outcome</th><th></th></tr>{rows}</table>"


def _invariants(report: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><td>{name}</td><td class="{"ok" if said == "holds" else "no"}">{escape(said)}</td></tr>'
        for name, said in report["invariants"].items()
    )
    return f"<table>{rows}</table>"


def _holdout(lift: Mapping[str, Any]) -> str:
    return (
        f"<p>{lift['treated']} treated payers recovered {lift['treated_rate']:.1%}, {lift['holdout']} held out"
        f" {lift['holdout_rate']:.1%}.</p><p>Difference {lift['difference']:+.1%}, 95 % confidence sequence"
        f" [{lift['low']:+.1%}, {lift['high']:+.1%}]: <b>{escape(lift['answer'])}</b>.</p>"
    )


def _story(story: Sequence[Mapping[str, Any]]) -> str:
    return "".join(
        f"<li><time>{escape(line['at'][:16].replace('T', ' '))}</time>{escape(line['what'])}"
        + (f"<br><small>because {escape(line['reason']['rule'])}</small>" if line["reason"].get("rule") else "")
        + "</li>"
        for line in story
    )

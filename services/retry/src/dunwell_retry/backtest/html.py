"""The back-test as one HTML page with inline drawings.

Owns: the page; it needs no network and no script. Refuses: numbers that the report does not hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_COLOURS = ("#0b6e4f", "#c8553d", "#3d5a80", "#b08900", "#7b2d8e", "#4a4e69", "#118ab2", "#8d5524")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 640, 320, 52, 34, 14, 12
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1b1f24;max-width:1080px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .5rem}p.note{color:#57606a}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .6rem;text-align:right;border-bottom:1px solid #d8dee4}
th:first-child,td:first-child{text-align:left}td.good{color:#0b6e4f;font-weight:600}td.bad{color:#b42318;font-weight:600}
svg{max-width:100%;height:auto;background:#fff}.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(460px,1fr));gap:1rem}
text{font:12px system-ui,sans-serif;fill:#57606a}figure{margin:0}figcaption{font-weight:600;margin-bottom:.3rem}
@media (prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}svg{background:#0d1117}th,td{border-color:#30363d}}
"""

Series = tuple[str, Sequence[tuple[float, float]]]


def page(report: Mapping[str, Any]) -> str:
    """Return the page of a report."""
    policies: Mapping[str, Mapping[str, Any]] = report["policies"]
    mails = "with five e-mails" if report.get("emails") else "charges only, no messages"
    lead = f"{report['invoices']:,} failed invoices, seed {report['seed']}, {mails}."
    parts = [
        f"<h1>Back-test on {escape(str(report['world']))}</h1><p class='note'>{escape(lead)} Every policy met the same "
        "payers and the same luck; every charge passed the rule gate.</p>",
        _table(policies),
        _bound(report),
        "<h2>Difference to the baselines, paired, 95 % interval</h2>",
        _differences(report["differences"]),
        "<div class='grid'>",
        _figure("Recovered over days", _lines(_over_days(policies), "day after the failure", (0, 30), percent=True)),
        _figure("Approved by number of the charge", _lines(_by_number(policies), "charge", None, percent=True)),
        _figure("Recovered by hidden reason", _bars(policies, "by_hidden_reason")),
        _figure("Recovered by funding", _bars(policies, "by_funding")),
        _calibrated(policies),
        "</div>",
    ]
    head = "<meta charset='utf-8'><meta name='viewport' content='width=device-width,initial-scale=1'>"
    title = f"<title>Back-test on {escape(str(report['world']))}</title>"
    return f"<!doctype html><html lang='en'>{head}{title}<style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"


def _percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}%}"


def _table(policies: Mapping[str, Mapping[str, Any]]) -> str:
    heads = ("policy", "recovered", "of value", "charges / invoice", "charges / recovery", "median days", "p90 days",
             "fees / 1,000", "net value / invoice", "cancels", "violations")  # fmt: skip
    rows = []
    for name, entry in policies.items():
        count = sum(group["invoices"] for group in entry["by_funding"].values()) or 1
        cells = [
            _percent(entry["recovered_rate"]),
            _percent(entry["recovered_value_rate"]),
            f"{entry['attempts_per_invoice']:.2f}",
            "-" if entry["attempts_per_recovery"] is None else f"{entry['attempts_per_recovery']:.1f}",
            "-" if entry["median_days"] is None else f"{entry['median_days']:.1f}",
            "-" if entry["p90_days"] is None else f"{entry['p90_days']:.1f}",
            f"${entry['fees_minor_usd_per_1000'] / 100:,.0f}",
            f"${entry['net_value_minor_usd'] / count / 100:,.2f}",
            _percent(entry["cancels_rate"], 2),
        ]
        marked = "good" if entry["violations"] == 0 else "bad"
        body = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f"<tr><td>{escape(name)}</td>{body}<td class='{marked}'>{entry['violations']}</td></tr>")
    head = "".join(f"<th>{name}</th>" for name in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _bound(report: Mapping[str, Any]) -> str:
    bound = report.get("oracle_bound")
    if not bound:
        return ""
    text = (
        f"Bound: who knew the true chances would recover {bound['recovered_rate']:.1%} with "
        f"{bound['attempts_per_invoice']:.2f} charges an invoice (first {bound['invoices']:,} invoices)."
    )
    return f"<p class='note'>{text}</p>"


def _differences(differences: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, entry in differences.items():
        won, sent = entry["recovered_rate"], entry["attempts_per_invoice"]
        mark = "" if not won["significant"] else ("good" if won["mean"] > 0 else "bad")
        points = f"{won['mean'] * 100:+.2f} ({won['low'] * 100:+.2f} … {won['high'] * 100:+.2f})"
        worth = entry["net_value_minor_usd_per_invoice"]["mean"] / 100
        rows.append(
            f"<tr><td>{escape(name)}</td><td class='{mark}'>{points}</td><td>{sent['mean']:+.2f}</td>"
            f"<td>{worth:+.2f}</td><td>{'yes' if won['significant'] else 'not yet'}</td></tr>"
        )
    head = "<th>pair</th><th>recovered, points</th><th>charges / invoice</th><th>net value, $ / invoice</th><th>significant</th>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _figure(title: str, drawing: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{drawing}</figure>"


def _over_days(policies: Mapping[str, Mapping[str, Any]]) -> list[Series]:
    return [
        (name, [(float(day), share) for day, share in enumerate(entry["curve_by_day"])])
        for name, entry in policies.items()
    ]


def _by_number(policies: Mapping[str, Mapping[str, Any]]) -> list[Series]:
    return [
        (name, [(float(at), row["approved_rate"] or 0.0) for at, row in enumerate(entry["by_attempt_number"], start=1)])
        for name, entry in policies.items()
        if entry["by_attempt_number"]
    ]


def _calibrated(policies: Mapping[str, Mapping[str, Any]]) -> str:
    series: list[Series] = [
        (name, [(row["expected"], row["real"]) for row in entry["calibration"]])
        for name, entry in policies.items()
        if entry["calibration"]
    ]
    if not series:
        return ""
    series.append(("exact", [(0.0, 0.0), (1.0, 1.0)]))
    return _figure("Expected against real P(approve)", _lines(series, "expected", (0, 1), percent=True))


def _lines(series: Sequence[Series], label: str, span: tuple[float, float] | None, *, percent: bool) -> str:
    points = [point for _, row in series for point in row]
    if not points:
        return "<p class='note'>nothing to draw</p>"
    low, high = span or (min(x for x, _ in points), max(max(x for x, _ in points), min(x for x, _ in points) + 1))
    top = max(max(y for _, y in points) * 1.08, 1e-6)

    def place(x: float, y: float) -> str:
        across = _LEFT + (x - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)
        return f"{across:.1f},{_HEIGHT - _BOTTOM - y / top * (_HEIGHT - _BOTTOM - _TOP):.1f}"

    drawn = [_frame(low, high, top, label, percent)]
    for number, (name, row) in enumerate(series):
        colour = _COLOURS[number % len(_COLOURS)]
        dash = " stroke-dasharray='4 4'" if name == "exact" else ""
        path = " ".join(place(x, y) for x, y in row)
        drawn.append(f"<polyline fill='none' stroke='{colour}' stroke-width='2'{dash} points='{path}'/>")
        drawn.append(f"<text x='{_LEFT + 8}' y='{_TOP + 12 + number * 15}' style='fill:{colour}'>{escape(name)}</text>")
    return f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img'>{''.join(drawn)}</svg>"


def _frame(low: float, high: float, top: float, label: str, percent: bool) -> str:
    lines = []
    for step in range(5):
        y = _HEIGHT - _BOTTOM - step / 4 * (_HEIGHT - _BOTTOM - _TOP)
        value = f"{top * step / 4:.0%}" if percent else f"{top * step / 4:g}"
        lines.append(f"<line x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{y:.1f}' y2='{y:.1f}' stroke='#8884' />")
        lines.append(f"<text x='{_LEFT - 6}' y='{y + 4:.1f}' text-anchor='end'>{value}</text>")
        x = _LEFT + step / 4 * (_WIDTH - _LEFT - _RIGHT)
        lines.append(
            f"<text x='{x:.1f}' y='{_HEIGHT - 18}' text-anchor='middle'>{low + (high - low) * step / 4:g}</text>"
        )
    lines.append(f"<text x='{_WIDTH / 2}' y='{_HEIGHT - 3}' text-anchor='middle'>{escape(label)}</text>")
    return "".join(lines)


def _bars(policies: Mapping[str, Mapping[str, Any]], section: str) -> str:
    groups = sorted({name for entry in policies.values() for name in entry[section]})
    height = _TOP + len(groups) * (len(policies) * 9 + 12) + 22
    drawn, y = [], float(_TOP)
    for group in groups:
        drawn.append(f"<text x='{_LEFT + 44}' y='{y + 9}' text-anchor='end'>{escape(group)}</text>")
        for number, (name, entry) in enumerate(policies.items()):
            rate = (entry[section].get(group) or {}).get("recovered_rate") or 0.0
            width = rate * (_WIDTH - _LEFT - 110)
            colour = _COLOURS[number % len(_COLOURS)]
            drawn.append(
                f"<rect x='{_LEFT + 50}' y='{y:.1f}' width='{max(width, 0.5):.1f}' height='8' fill='{colour}'>"
                f"<title>{escape(name)}: {rate:.1%}</title></rect>"
                f"<text x='{_LEFT + 54 + width:.1f}' y='{y + 8:.1f}' style='font-size:9px'>{rate:.0%}</text>"
            )
            y += 9
        y += 12
    return f"<svg viewBox='0 0 {_WIDTH} {height}' role='img'>{''.join(drawn)}</svg>"

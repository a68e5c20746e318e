"""The model card: what a model file is, where it comes from, and how it did.

Owns: the text. Refuses: numbers that nobody measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dunwell_retry.planning.parameters import FUNDINGS, REASONS, Model


def model_card(model: Model, runs: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return the card in Markdown.

    Args:
        runs: Reports of back-tests that hold a policy named `smart`.
    """
    raw = model.raw
    lines = [
        f"# Model card: retry timing, edition `{model.edition}`",
        "",
        str(raw.get("origin", "")),
        "",
        "- **Use**: choosing when to charge a failed invoice again, inside the networks' rules. Not for credit "
        "decisions, not for judging people.",
        "- **Inputs**: refusal codes and advice, funding and network of the method, the payer's own past charges with "
        "this merchant, time zone and public holidays. No name, address, age or content of messages.",
        "- **Output**: a posterior over hidden reasons and a set of instants planned together, each with its chance.",
        "- **Unsure about**: payers without a past, bank debit (few public figures), countries whose pay customs "
        "differ from those of the sources.",
        "- **When it is missing or of another edition**: the pay-day rule plans instead, and the plan says so.",
    ]
    fitted = raw.get("fitted_on")
    if fitted:
        lines.append(
            f"- **Fitted on**: {fitted['cases']} cases, {fitted['charges']} charges, {fitted['from']} to {fitted['to']}."
        )
    lines += ["", "## Prior over hidden reasons", "", "| reason | " + " | ".join(FUNDINGS) + " |"]
    lines.append("|---|" + "---|" * len(FUNDINGS))
    for number, reason in enumerate(REASONS):
        shares = " | ".join(f"{model.prior[funding][number]:.3f}" for funding in FUNDINGS)
        lines.append(f"| {reason} | {shares} |")
    lines += _measured(runs)
    return "\n".join(lines) + "\n"


def _measured(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [(run, run["policies"]["smart"]) for run in runs if "smart" in run["policies"]]
    if not rows:
        return []
    lines = ["", "## Calibration and parity in back-tests", ""]
    for run, entry in rows:
        lines += [f"### {run['world']} ({run['invoices']:,} invoices, seed {run['seed']})", ""]
        lines += ["| expected | real | charges |", "|---|---|---|"]
        lines += [f"| {row['expected']:.3f} | {row['real']:.3f} | {row['attempts']} |" for row in entry["calibration"]]
        parity = ", ".join(f"{name} {group['recovered_rate']:.1%}" for name, group in entry["by_funding"].items())
        lines += ["", f"Recovered by funding: {parity}.", ""]
    return lines

"""Which model plans for `smart`: the one that ships, or the one that a platform fitted and promoted.

Owns: whether a model file may plan, the choice between models, and the names under which decisions keep them. Pure.
Refuses: reading files (`main` does), fitting (`planning.fit`), and a silent guess: whoever asks for a model that is not
here is told so, and the pay-day rule plans.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from dunwell_retry.planning.model import Case, Decline, Method, Past, Sent
from dunwell_retry.planning.parameters import FUNDINGS, Model, ModelUnusable, parse, shipped
from dunwell_retry.planning.planner import plan
from dunwell_retry.policies.document import Policy
from dunwell_retry.policies.presets import preset
from dunwell_retry.rules.past import RuleInputInvalid
from dunwell_retry.rules.strict_json import read

# A shipped file has 4,000 characters; what is larger by so much is no model file.
FILE_MAX = 1_000_000
# Stands in tables, file names and documents.
_EDITION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# So much of a reason is kept with each decision.
_REASON_MAX = 200
# What the file says about itself, and not to the planner.
_ABOUT = frozenset({"edition", "origin", "fitted_on"})
# Tables whose keys are the file's own: currencies, advice codes, hours.
_OPEN_TABLES = frozenset({"usd_per_unit", "advice_hours", "posted"})
# What are chances, by dotted path; other numbers may pass 1 (factors, hours, costs).
_CHANCES = re.compile(
    r"(prior|emission|limit|block|other_method)\..*|persistence|risk\.levels|funds\.posted\..*"
    r"|.*\.(open|shut|never|funds_code|generic_code|other_refusal)"
)
_TRIED_AT = datetime(2026, 3, 2, 10, tzinfo=UTC)


class ModelMissing(LookupError):
    """A decision of the past was made by a model that is not here, so that it cannot be made again."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Stands for a model that decisions name and nobody has given."""

    edition: str
    name: str


@dataclass(frozen=True, slots=True)
class Models:
    """The models that may plan.

    Args:
        promoted: The model of the configured file; None without one.
        unusable: Why the configured model may not plan; empty when it may, or none is configured.
        base: The model that ships; None takes the one of this version.
    """

    promoted: Model | Missing | None = None
    unusable: str = ""
    base: Model | Missing | None = None

    def of(self, policy: Policy) -> tuple[Model | None, str]:
        """Return the model by which a `smart` policy plans; or None and why the pay-day rule has to.

        Raises:
            ModelMissing: In a replay only: the model of then is not here.
        """
        wanted = policy.model_edition
        if wanted is None and self.unusable:
            return None, f"model not usable ({self.unusable})"
        if self.promoted is not None and wanted in (None, self.promoted.edition):
            return _here(self.promoted), ""
        base = self._base()
        if isinstance(base, str):
            return None, f"model not usable ({base})"
        if wanted in (None, base.edition):
            return _here(base), ""
        known = " and ".join(repr(edition) for edition in self.editions())
        more = f"; {self.unusable}" if self.unusable else ""
        return None, f"policy asks for model {wanted!r}, here is {known}{more}"

    def _base(self) -> Model | Missing | str:
        """Return the model that ships, or what is wrong with it: an installation may be damaged."""
        try:
            return self.base or shipped()
        except (ModelUnusable, FileNotFoundError) as error:
            return str(error)

    def editions(self) -> tuple[str, ...]:
        """Return the editions that a document may ask for: the promoted one first, then the shipped one."""
        found = [model for model in (self.promoted, self._base()) if isinstance(model, Model | Missing)]
        return tuple(dict.fromkeys(model.edition for model in found))

    def kept(self) -> dict[str, str]:
        """Return what a decision keeps of the models it was made under: names that no other content has."""
        base = self._base()
        found = {} if isinstance(base, str) else {"shipped": name_of(base)}
        if self.promoted is not None:
            found["promoted"] = name_of(self.promoted)
        if self.unusable:
            found["unusable"] = self.unusable
        return found

    def told(self) -> dict[str, Any]:
        """Return what operators ask: the edition that plans (None while pay days do), whose it is, and what is wrong."""
        model, _ = self.of(preset("smart"))
        source = "promoted" if self.promoted is not None else "shipped"
        return {
            "edition": model.edition if model else None,
            "source": source if model else "none",
            "unusable": self.unusable,
            "editions": list(self.editions()),
        }


def _here(model: Model | Missing) -> Model:
    if isinstance(model, Missing):
        raise ModelMissing(
            f"the decision was made by model {model.name!r}, which is not here; give its file to make it again"
        )
    return model


def unusable(reason: object) -> Models:
    """Return the models of a service whose configured one may not plan; the reason goes into every decision."""
    return Models(unusable=" ".join(str(reason).split())[:_REASON_MAX])


@lru_cache(maxsize=16)
def name_of(model: Model | Missing) -> str:
    """Return `edition#fingerprint`: two files that share an edition by mistake still differ in it."""
    if isinstance(model, Missing):
        return model.name
    text = json.dumps(model.raw, sort_keys=True, separators=(",", ":"))
    return f"{model.edition}#{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def models_then(kept: Mapping[str, str] | None, here: Sequence[Model]) -> Models:
    """Return the models that a decision was made under, as far as they are among those here.

    Args:
        kept: What the decision kept; None for one of the time when no model could be promoted.
    """
    if kept is None:
        return Models()
    known = {name_of(model): model for model in here}

    def found(name: str) -> Model | Missing:
        return known.get(name) or Missing(name.rpartition("#")[0], name)

    promoted = found(kept["promoted"]) if "promoted" in kept else None
    base = found(kept["shipped"]) if "shipped" in kept else None
    return Models(promoted, kept.get("unusable", ""), base)


def admitted_model(text: str, edition: str = "") -> Model:
    """Return the model of a file's text that may plan.

    Args:
        edition: The only edition that is expected; empty takes any.

    Raises:
        ModelUnusable: It is damaged, of another schema or edition, bears the shipped edition's name with other numbers,
            or a plan of it is none.
    """
    if len(text) > FILE_MAX:
        raise ModelUnusable(f"more than {FILE_MAX} characters are no model file")
    try:
        raw = read(text, "model file")
    except RuleInputInvalid as error:
        raise ModelUnusable(str(error)) from error
    model = parse(text)
    if not isinstance(raw["edition"], str) or not _EDITION.fullmatch(raw["edition"]):
        raise ModelUnusable("edition: must be 1 to 64 letters, digits, dots, hyphens and underscores")
    if edition and model.edition != edition:
        raise ModelUnusable(f"edition {model.edition!r} is not the expected {edition!r}")
    if model.edition == shipped().edition and name_of(model) != name_of(shipped()):
        raise ModelUnusable(f"edition {model.edition!r} is the shipped model's, and the numbers are others")
    for fault in _unlike(raw, shipped().raw, ""):
        raise ModelUnusable(fault)
    _tried(model)
    return model


def _unlike(found: Any, like: Any, path: str) -> Iterator[str]:
    """Yield where a file's content is not of the shipped one's shape, or a number is out of bounds."""
    name = path.rpartition(".")[2]
    if isinstance(like, dict):
        if not isinstance(found, dict):
            yield f"{path}: must be a table"
            return
        for key in found if name in _OPEN_TABLES else like:
            if not path and key in _ABOUT:
                continue
            below = f"{path}.{key}".strip(".")
            if key not in found:
                yield f"{below}: is missing"
            else:
                yield from _unlike(found[key], 1.0 if name in _OPEN_TABLES else like[key], below)
    elif isinstance(like, list):
        # The stories and their grid are the planner's; a fit moves weight between them.
        if not isinstance(found, list) or len(found) != len(like):
            yield f"{path}: must be a list of {len(like)}"
            return
        for entry in found:
            yield from _unlike(entry, like[0], path)
    elif isinstance(like, int | float):
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < math.inf:
            yield f"{path}: must be a number of at least 0"
        elif found > 1 and _CHANCES.fullmatch(path):
            yield f"{path}: is a chance and lies in 0..1"
    elif not isinstance(found, str):
        yield f"{path}: must be a text"


def _tried(model: Model) -> None:
    """Let the model plan a few cases that go through every part of it, so that what fails does so before it matters."""
    charges = 0
    for case in _cases():
        try:
            made = plan(case, preset("smart"), now=_TRIED_AT + timedelta(hours=1), seed=1, model=model)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ModelUnusable(f"it cannot plan: {type(error).__name__}: {error}") from error
        charges += len(made.attempts)
        told = [attempt.chance for attempt in made.attempts if attempt.chance is not None]
        for value in (*made.posterior.values(), *told, made.expected or 0.0):
            if not 0 <= value <= 1:
                raise ModelUnusable(f"it plans with a chance of {value}, which is none")
    if not charges:
        raise ModelUnusable("it plans no charge for any usual case")


def _cases() -> Iterator[Case]:
    poor, generic = Decline("insufficient_funds", "51"), Decline("generic_decline", "05")
    past = tuple(
        Past(_TRIED_AT - timedelta(days=30 * n), 2000, n != 2, poor if n == 2 else None) for n in range(4, 0, -1)
    )
    for funding in FUNDINGS:
        kind = "bank_debit" if funding == "none" else "card"
        network = "sepa" if funding == "none" else "visa"
        method = Method("pm_1", kind, network, funding, "US", "issuer", None, "fp_1", "pm_1")
        other = Method("pm_2", "card", "visa", "debit", "US", "issuer", None, "fp_2", "pm_2")
        for sent in ((), (Sent(_TRIED_AT + timedelta(minutes=30), "pm_1", "default", False, generic),)):
            yield Case(
                case_id="rec_1", invoice_id="in_1", payer_id="cus_1", tenant_id="t", amount_minor=2000, currency="USD",
                timezone="America/New_York", gateway="stripe", failed_at=_TRIED_AT,
                deadline=_TRIED_AT + timedelta(days=28), decline=poor, methods=(method, other), sent=sent,
                history=past if sent else (), country="US",
                first_presented_at=_TRIED_AT if kind == "bank_debit" else None,
            )  # fmt: skip

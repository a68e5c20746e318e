"""What a document must keep beside its own rules before it may be saved: other policies and the model exist.

Owns: names that stand for something that ships or is saved. Refuses: what one document says by itself; see `document`.
"""

from __future__ import annotations

from collections.abc import Collection

from dunwell_retry.planning.parameters import shipped
from dunwell_retry.policies.document import Policy, PolicyInvalid, parse
from dunwell_retry.policies.lines import line_of
from dunwell_retry.policies.presets import PRESETS


def admitted(policy: Policy, editions: Collection[str] = ()) -> Policy:
    """Return a policy that may be saved.

    Args:
        editions: Of models that it may ask for beside the shipped one.

    Raises:
        PolicyInvalid: It takes a shipped policy's name for another kind, or asks for a model that is not here.
    """
    preset = PRESETS.get(policy.name)
    if preset is not None and preset.kind != policy.kind:
        raise PolicyInvalid("name", f"{policy.name!r} is a shipped policy of kind {preset.kind!r}; take another name")
    if policy.model_edition is None or policy.model_edition in editions:
        return policy
    edition = shipped().edition
    if policy.model_edition != edition:
        others = "".join(f", {name!r} is promoted" for name in sorted({*editions} - {edition}))
        raise PolicyInvalid("model_edition", f"is no model that ships or is promoted; {edition!r} ships{others}")
    return policy


def parse_admitted(text: str, saved: Collection[str] = (), editions: Collection[str] = ()) -> Policy:
    """Return the policy of a YAML or JSON document that may be saved; PolicyInvalid names what is wrong, and the line.

    Args:
        saved: Names of saved policies, which a holdout may name beside the shipped ones.
        editions: Of models that the service has promoted.
    """
    policy = parse(text)
    try:
        if policy.holdout is not None and policy.holdout.policy not in {*PRESETS, *saved}:
            known = ", ".join(sorted({*PRESETS, *saved}))
            raise PolicyInvalid("holdout.policy", f"no policy {policy.holdout.policy!r} is known; known: {known}")
        return admitted(policy, editions)
    except PolicyInvalid as error:
        raise PolicyInvalid(error.path, error.rule, line_of(text, error.path)) from error

"""The policies that ship with the product.

Owns: reading `presets.yaml` once. Refuses: tenants' own policies.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

import yaml

from dunwell_retry.policies.document import Policy, PolicyInvalid, policy_of


def _read() -> Mapping[str, Policy]:
    text = (resources.files("dunwell_retry.policies") / "presets.yaml").read_text("utf-8")
    found = [policy_of(document) for document in yaml.load(text, Loader=yaml.CSafeLoader)]
    return MappingProxyType({policy.name: policy for policy in found})


PRESETS = _read()


def preset(name: str) -> Policy:
    """Return a shipped policy; PolicyInvalid names the known ones."""
    try:
        return PRESETS[name]
    except KeyError:
        raise PolicyInvalid("name", f"no shipped policy {name!r}; known: {', '.join(sorted(PRESETS))}") from None

from __future__ import annotations

import pytest

from dunwell_kit import errors
from dunwell_kit.errors import DunwellError, NotFound

KINDS = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, DunwellError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_a_problem_document(kind: type[DunwellError]) -> None:
    document = kind("what is wrong").problem()
    assert set(document) == {"type", "title", "status", "detail"}
    assert document["type"] == f"https://dunwell.dev/problems/{kind.slug}"
    assert document["detail"] == "what is wrong"
    assert 400 <= kind.status < 600


def test_every_error_has_its_own_slug() -> None:
    slugs = [kind.slug for kind in KINDS if kind.__name__ != "Misconfigured"]
    assert len(slugs) == len(set(slugs))


def test_an_error_without_words_speaks_by_its_docstring() -> None:
    assert NotFound().problem()["detail"] == "There is no such thing."

"""JSON of which nothing is guessed: no name twice, no NaN, no depth without end.

Owns: reading the text of a question to the gate. Refuses: what the question means; that is `check`.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from dunwell_retry.rules.past import RuleInputInvalid


def read(text: str | bytes, name: str = "document") -> Any:
    """Return what a JSON text holds; `name` is how errors call the text, e.g. a file's name.

    Raises:
        RuleInputInvalid: It is no JSON in UTF-8, is nested too deeply, or names a field twice.
    """
    try:
        told = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        return json.loads(told, object_pairs_hook=_once, parse_constant=_no_number)
    except RuleInputInvalid:
        raise
    except UnicodeDecodeError:
        raise RuleInputInvalid(name, "is not text in UTF-8") from None
    except RecursionError:
        raise RuleInputInvalid(name, "is nested too deeply") from None
    except ValueError as error:
        raise RuleInputInvalid(name, f"is not JSON: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise RuleInputInvalid(name, "is given twice in one object")
        found[name] = value
    return found


def _no_number(text: str) -> NoReturn:
    raise RuleInputInvalid("document", f"{text} is no number of JSON")

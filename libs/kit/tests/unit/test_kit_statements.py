from __future__ import annotations

import pytest

from dunwell_kit.statements import Written, numbered, written


@pytest.mark.parametrize(("named", "placed", "names"), [
    ("SELECT :a, :b, :a", "SELECT $1, $2, $1", ("a", "b")),
    ("SELECT :a::text, now()::date", "SELECT $1::text, now()::date", ("a",)),
    ("SELECT to_char(at, 'HH24:MI') WHERE x=:x", "SELECT to_char(at, 'HH24:MI') WHERE x=$1", ("x",)),
    (r"SELECT '\:no', :yes", "SELECT ':no', $1", ("yes",)),
    ("SELECT a[:from_1:2]", "SELECT a[$1:2]", ("from_1",)),
    ("SELECT 1", "SELECT 1", ()),
])  # fmt: skip
def test_a_name_becomes_its_number_and_a_cast_stays(named: str, placed: str, names: tuple[str, ...]) -> None:
    assert numbered(named) == (placed, names)


@pytest.mark.parametrize(("tag", "rows"), [("UPDATE 3", 3), ("INSERT 0 12", 12), ("SELECT 0", 0), ("LOCK TABLE", 0)])
def test_a_command_tag_tells_the_rows(tag: str, rows: int) -> None:
    assert written(tag) == Written(rows)

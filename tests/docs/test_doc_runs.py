"""The light commands of the pages are run, and print what the pages say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from doc_pages import Block, blocks, pages
from doc_shell import PageWrong, Shell, missing, run_page, steps

ROOT = Path(__file__).resolve().parents[2]
# A first `dunwell` of a cold machine imports everything.
SECONDS = 60


def _runnable() -> list[str]:
    found = []
    for page in pages(ROOT):
        marked = [b for b in blocks(page.read_text(encoding="utf-8")) if b.mark == "run" and not b.value]
        found += [str(page.relative_to(ROOT))] if marked else []
    return found


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell without a stack; its state lives in the test's folder."""
    with Shell(tmp_path, {"DUNWELL_VAR_DIR": str(tmp_path / "var"), "REPOSITORY": str(ROOT)}) as opened:
        yield opened


@pytest.mark.parametrize("page", _runnable())
def test_a_page_runs_and_prints_what_it_says(page: str, shell: Shell, tmp_path: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert run_page(text, {""}, shell, tmp_path, seconds=SECONDS) > 0


def test_several_pages_are_run() -> None:
    assert len(_runnable()) >= 4


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("<!-- run -->\n```console\n$ false\n```\n", "ended with 1"),
        ("<!-- run -->\n```console\n$ echo one\ntwo\n```\n", "did not print 'two'"),
        ("<!-- run -->\n```console\n$ printf 'b\\na\\n'\na\nb\n```\n", "did not print 'b'"),
        ("<!-- run -->\n```python\nassert 1 == 2\n```\n", "ended with 1"),
        ("<!-- run -->\n```console\n$ dunwell nothing-like-it\n```\n", "ended with 2"),
    ],
)
def test_a_page_that_says_what_is_not_so_is_found(block: str, said: str, shell: Shell, tmp_path: Path) -> None:
    with pytest.raises(PageWrong, match=said):
        run_page(block, {""}, shell, tmp_path, seconds=SECONDS)


def test_a_page_keeps_its_variables_and_files_and_leaves_unmarked_blocks_alone(shell: Shell, tmp_path: Path) -> None:
    text = (
        "<!-- file: a/told.txt -->\n```\nhello\n```\n\n```console\n$ false\n```\n\n<!-- run: stack -->\n```console\n"
        "$ false\n```\n\n<!-- run -->\n```console\n$ X=$(cat a/told.txt)\n$ echo $X \\\n>  there\nhel… there\n```\n"
    )
    assert run_page(text, {""}, shell, tmp_path, seconds=5) == 2


def test_a_command_that_never_ends_is_cut_off(shell: Shell, tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="longer than 0 s"):
        run_page("<!-- run -->\n```console\n$ sleep 1\n```\n", {""}, shell, tmp_path, seconds=0.2)


def test_tables_compare_by_their_words() -> None:
    assert missing(("│ a │ b …",), "┃ x ┃\n│ a    │ b    │\n") == ""
    assert missing(("a c",), "a b c") == "a c"
    assert [s.shown for s in steps(Block("console", "$ a\n1\n\n$ b\n…", 1))] == [("1",), ("…",)]

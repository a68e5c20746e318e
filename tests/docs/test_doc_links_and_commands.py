"""Every link of every page leads somewhere, and every command that a page names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from doc_pages import anchors, blocks, broken_links, commands, links, make_targets, pages, wrong_command

ROOT = Path(__file__).resolve().parents[2]
TARGETS = make_targets((ROOT / "Makefile").read_text(encoding="utf-8"))
PAGES = [str(page.relative_to(ROOT)) for page in pages(ROOT)]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: str) -> None:
    assert broken_links(ROOT / page, ROOT) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_names_exists_with_its_options(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    wrong = [
        f"line {n}: {command}: {said}" for n, command in commands(text) if (said := wrong_command(command, TARGETS))
    ]
    assert wrong == []


def test_the_pages_that_people_start_with_are_there_and_name_links_and_commands() -> None:
    for name in ("README.md", "docs/README.md", "docs/tutorial/first-recovery.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert list(links(text)) and list(commands(text)), name


def test_every_how_to_and_explanation_is_in_the_index() -> None:
    listed = {target for _, target in links((ROOT / "docs/README.md").read_text(encoding="utf-8"))}
    folders = ("tutorial", "howto", "explanation", "reference", "runbooks", "adr")
    there = {f"{folder}/{p.name}" for folder in folders[:4] for p in (ROOT / "docs" / folder).glob("*.md")}
    assert there - listed == set()


def test_every_test_that_a_page_names_as_proof_exists() -> None:
    named = {
        (str(page.relative_to(ROOT)), name)
        for page in pages(ROOT)
        for name in re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8"))
    }
    files = [
        path
        for folder in ("libs", "services", "sandbox", "cli", "tests")
        for path in (ROOT / folder).rglob("test_*.py")
    ]
    there = {name for path in files for name in re.findall(r"def (test_\w+)\(", path.read_text(encoding="utf-8"))}
    assert len(named) > 20
    assert [f"{page}: {name}" for page, name in sorted(named) if name not in there] == []


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("[x](gone.md)", "no such file"),
        ("[x](there.md#gone)", "no such heading"),
        ("[x](#gone)", "no such heading"),
        ("![x](pictures/gone.svg)", "no such file"),
        ('<img src="gone.png">', "no such file"),
        ("[x](../../outside)", "no such file"),
        ("[x](../outside.md)", "leaves the repository"),
    ],
)
def test_a_broken_link_is_found(link: str, said: str, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    (tmp_path / "outside.md").write_text("# Outside\n")
    (root / "there.md").write_text("# There is one\n\n## There is one\n")
    page = root / "page.md"
    page.write_text(f"# Page\n\n{link}\n")
    (found,) = broken_links(page, root)
    assert found.startswith("page.md:3:") and said in found


def test_a_right_link_is_left_alone_and_code_is_not_a_link(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A `b` (c): d\n\n# Same\n\n# Same\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n[a](there.md#a-b-c-d) [b](there.md#same-1) [c](#page) [d](https://example.org/x#y)\n"
        "`[no](gone.md)`\n\n```\n[no](gone.md)\n```\n"
    )
    assert broken_links(page, tmp_path) == []
    assert anchors((tmp_path / "there.md").read_text()) == {"a-b-c-d", "same", "same-1"}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("dunwell casez list", "no command 'casez'"),
        ("dunwell cases lost", "no command 'lost'"),
        ("dunwell cases list --colour red", "no option --colour"),
        ("dunwell cases show one two", "takes 1 words, not 2"),
        ("dunwell cases list|lost", "no command 'list|lost'"),
        ("dunwell up --trace", "no option --trace"),
        ("make demos", "no target 'demos'"),
        ('dunwell cases show "', "No closing quotation"),
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str, said: str) -> None:
    assert said in wrong_command(command, TARGETS)


@pytest.mark.parametrize(
    "command",
    [
        "dunwell",
        "dunwell --help",
        "dunwell cases list|show|why",
        "dunwell cases list --state waiting --json | jq .",
        "dunwell up --traces  # with a viewer",
        "dunwell events tail --until-idle=5 > events.jsonl",
        "dunwell cases show rec_…",
        "make demo DEMO_INVOICES=50",
        "make lint && make unit",
    ],
)
def test_a_command_that_exists_is_left_alone(command: str) -> None:
    assert wrong_command(command, TARGETS) == ""


def test_commands_are_found_in_every_kind_of_block() -> None:
    text = (
        "`dunwell a` and `make b`\n\n    dunwell c\n\n```console\n$ dunwell d\nprinted\n$ X=$(dunwell e --json | jq .)\n```\n"
        "\n```python\nmake = 1\n```\n\n- item:\n\n      dunwell f\n"
    )
    assert {command for _, command in commands(text)} == {
        "dunwell a", "make b", "dunwell c", "dunwell d", "dunwell e --json ", "dunwell f",
    }  # fmt: skip


def test_a_mark_belongs_to_the_block_right_after_it() -> None:
    text = "<!-- run: stack -->\n```console\n$ one\n```\n\n<!-- file: a/b.py -->\n\n```python\ntwo\n```\n\n```\nthree\n```\n"
    found = [(b.mark, b.value, b.text, b.line) for b in blocks(text)]
    assert found == [("run", "stack", "$ one", 3), ("file", "a/b.py", "two", 9), ("", "", "three", 13)]

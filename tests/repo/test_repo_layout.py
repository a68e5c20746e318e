from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from dunwell_contracts.catalogue import topics
from dunwell_kit.settings import PORTS, SERVICES


def packages(root: Path) -> list[str]:
    return (root / "tools/packages.txt").read_text().split()


def test_every_package_is_on_the_list(root: Path) -> None:
    found = {p.parent.relative_to(root).as_posix() for p in root.glob("*/pyproject.toml")}
    found |= {p.parent.relative_to(root).as_posix() for p in root.glob("*/*/pyproject.toml")}
    assert sorted(packages(root)) == sorted(found)


def test_every_package_is_typed(root: Path) -> None:
    missing = [p for p in packages(root) if not list((root / p / "src").glob("*/py.typed"))]
    assert missing == []


def without_readme(root: Path) -> list[str]:
    return [package for package in packages(root) if not (root / package / "README.md").exists()]


def test_every_package_says_what_it_is(root: Path) -> None:
    assert without_readme(root) == []


def test_every_owner_and_consumer_is_a_service_that_exists(root: Path) -> None:
    there = {p.name for p in (root / "services").iterdir() if (p / "pyproject.toml").exists()}
    assert there == set(SERVICES) == set(PORTS)
    for topic in topics().values():
        assert topic.owner in there
        for carried in topic.carried:
            assert set(carried.producers) | set(carried.consumers) <= there


def unlisted_adrs(folder: Path) -> list[str]:
    """Return the decisions that the index does not link, and links to decisions that are not there."""
    files = {path.name for path in folder.glob("*.md")} - {"README.md"}
    index = folder / "README.md"
    linked = set(re.findall(r"\(([^)#/]+\.md)\)", index.read_text())) if index.exists() else set()
    return sorted(files ^ (linked - {"README.md"}))


def test_the_index_of_decisions_is_complete(root: Path) -> None:
    assert unlisted_adrs(root / "docs/adr") == []


def test_the_check_of_the_index_bites(tmp_path: Path) -> None:
    (tmp_path / "0001-kafka.md").write_text("# Kafka")
    assert unlisted_adrs(tmp_path) == ["0001-kafka.md"]
    (tmp_path / "README.md").write_text("[Kafka](0001-kafka.md) [gone](0002-gone.md)")
    assert unlisted_adrs(tmp_path) == ["0002-gone.md"]


@pytest.mark.parametrize("kind", ["unit", "integration"])
def test_test_files_have_names_of_their_own_within_a_package(root: Path, kind: str) -> None:
    for package in packages(root):
        names = Counter(path.name for path in (root / package / "tests").rglob("test_*.py"))
        assert [name for name, count in names.items() if count > 1] == []
        assert not list((root / package / "tests" / kind).glob("__init__.py"))


# They poll processes and a server of their own, and may not know the kit's `wait_until`.
POLLING_ALONE = ("libs/stack/tests/", "sandbox/tests/")


def test_no_test_is_skipped_and_none_waits_blindly(root: Path) -> None:
    skipped, slept = re.compile(r"pytest\.skip|mark\.skip|mark\.xfail"), re.compile(r"\b(time|asyncio)\.sleep\(")
    found = []
    for folder in ("tests", *(f"{package}/tests" for package in packages(root))):
        for path in (root / folder).rglob("test_*.py"):
            place, text = path.relative_to(root).as_posix(), path.read_text()
            if path.name == Path(__file__).name:
                continue
            if skipped.search(text) or (slept.search(text) and not place.startswith(POLLING_ALONE)):
                found.append(place)
    assert found == []


def import_walls(root: Path, configuration: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--config", str(configuration), "--no-cache"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_the_import_walls_stand(root: Path) -> None:
    done = import_walls(root, root / ".importlinter")
    assert done.returncode == 0, done.stdout


def test_the_import_walls_bite(root: Path, tmp_path: Path) -> None:
    walls = (root / ".importlinter").read_text()
    # The same walls with one more forbidden: what the kit surely imports.
    walls += "\n[importlinter:contract:bite]\nname = bite\ntype = forbidden\nsource_modules = dunwell_kit.database\nforbidden_modules = sqlalchemy\n"
    (tmp_path / ".importlinter").write_text(walls)
    done = import_walls(root, tmp_path / ".importlinter")
    assert done.returncode == 1
    assert "bite BROKEN" in done.stdout

from __future__ import annotations

from pathlib import Path

import pytest

from tools.lint.run import all_rules, allowed, check_repository, check_source, sources
from tools.lint.source import Source

PATH = "services/retry/src/dunwell_retry/anything.py"
LONG = "def long():\n" + "    x = 1\n" * 60

# What each rule bites.
BITES = {
    "clock_calls": [
        "from datetime import datetime\ndatetime.now()",
        "from datetime import UTC, datetime as dt\ndt.now(UTC)",
        "import datetime\ndatetime.datetime.utcnow()",
        "import time as t\nt.time()",
        "from time import time\ntime()",
        "from datetime import date\ndate.today()",
    ],
    "new_ids": ["import uuid\nuuid.uuid4()", "from uuid import uuid4\nuuid4()", "from uuid import uuid1 as new\nnew()"],
    "unseeded_chance": [
        "import random",
        "from random import choice",
        "import numpy as np\nnp.random.default_rng()",
        "import numpy as np\nnp.random.normal(0, 1)",
        "from numpy.random import default_rng\ndefault_rng()",
    ],
    "commits": ["async def f(tx):\n    await tx.connection.commit()"],
    "float_money": [
        "def f(amount_minor: float): ...",
        "def f(amount: float | None): ...",
        "amount = cents / 100",
        "self.minor = float(raw)",
        "amount_minor: float = 0",
        "f(amount_minor=9.99)",
    ],
    "naive_datetimes": [
        "from datetime import datetime\ndatetime(2026, 3, 1)",
        "import datetime as d\nd.datetime(2026, 3, 1, 9)",
        "from datetime import datetime\ndatetime.utcfromtimestamp(0)",
        "from datetime import datetime\ndatetime.fromtimestamp(0)",
    ],
    "topic_literals": ["T = 'dunwell.retry.recovery.v1'", "T = 'dunwell.retry.recovery.v1.ledger.dlq'"],
    "http_clients": ["import httpx\nhttpx.AsyncClient()", "from httpx import AsyncClient\nAsyncClient()", "import httpx\nhttpx.get('')", "import aiohttp\naiohttp.ClientSession()"],
    "loose_tasks": [
        "import asyncio\nasyncio.create_task(f())",
        "loop.create_task(f())",
        "import asyncio\nasyncio.ensure_future(f())",
    ],
    "sizes": [LONG, "x = 1\n" * 401],
}  # fmt: skip
# What looks like it and is right.
PASSES = {
    "clock_calls": ["def f(clock): return clock.now()", "import time\ntime.monotonic()"],
    "new_ids": ["from uuid import UUID\nUUID(int=1)", "ids.uuid()"],
    "unseeded_chance": ["import numpy as np\nnp.random.default_rng(7)", "import random_forest"],
    "commits": ["x = commit", "def commit(): ..."],
    "float_money": [
        "amount_minor = cents // 100",
        "amount_ratio = a / b",
        "def f(amount_minor: int, seconds: float): ...",
        "minority = 1 / 3",
    ],
    "naive_datetimes": [
        "from datetime import UTC, datetime\ndatetime(2026, 3, 1, tzinfo=UTC)",
        "from datetime import UTC, datetime\ndatetime.fromtimestamp(0, UTC)",
        "from datetime import UTC, datetime\ndatetime(2026, 3, 1, 0, 0, 0, 0, UTC)",
    ],
    "topic_literals": [
        "TABLE = {'dunwell.recovery.opened.v1': 1}",
        '"""About dunwell.retry.recovery.v1."""',
        "T = 'dunwell.retry'",
    ],
    "http_clients": ["from dunwell_kit.http import gateway_client\ngateway_client()"],
    "loose_tasks": [
        "import asyncio\nasync def f():\n    async with asyncio.TaskGroup() as group:\n        group.create_task(g())",
        "import asyncio\ntask = asyncio.ensure_future(f())",
    ],
    "sizes": [LONG[: -len("    x = 1\n")], "x = 1\n" * 400],
}


def bitten(text: str, path: str = PATH) -> set[str]:
    return {finding.split()[1] for finding in check_source(Source.of(path, text))}


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, texts in BITES.items() for text in texts])
def test_a_rule_bites(rule: str, text: str) -> None:
    assert bitten(text) == {rule}


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, texts in PASSES.items() for text in texts])
def test_a_rule_leaves_what_is_right_alone(rule: str, text: str) -> None:
    assert rule not in bitten(text)


@pytest.mark.parametrize("name", ["utils.py", "helpers/x.py", "common.py", "misc.py", "service.py", "manager.py"])
def test_a_module_that_owns_nothing_bites(name: str) -> None:
    assert bitten("", f"services/retry/src/dunwell_retry/{name}") == {"module_names"}


def test_a_history_of_migrations_is_not_measured() -> None:
    assert bitten(LONG, "services/retry/src/dunwell_retry/migrations/versions/0001_pre_kit.py") == set()


def test_every_rule_has_a_text_that_proves_its_bite() -> None:
    assert set(all_rules()) == {*BITES, "module_names"}


def test_a_finding_names_its_file_line_and_rule() -> None:
    (finding,) = check_source(Source.of(PATH, "import time\n\ntime.time()\n"))
    assert finding.startswith(f"{PATH}:3 clock_calls ")


def test_a_rule_does_not_hold_where_it_says_so_and_only_there() -> None:
    assert allowed("cli/src/dunwell_cli/main.py", {"cli/src/": "why"})
    assert not allowed("cli/src/dunwell_cli/main.py", {"cli/src/dunwell_cli/main": "why"})
    assert bitten("import random", "libs/kit/src/dunwell_kit/chance.py") == set()
    for _, places in all_rules().values():
        assert all(len(reason) > 10 for reason in places.values())


def test_every_package_is_looked_at(root: Path) -> None:
    seen = {source.path.split("/src/")[0] for source in sources(root)}
    assert seen == set((root / "tools/packages.txt").read_text().split())


def test_the_repository_keeps_its_own_rules(root: Path) -> None:
    assert check_repository(root) == []

from __future__ import annotations

import json

import pytest
import structlog
from asyncpg import exceptions as pg
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from dunwell_kit import chance, logging
from dunwell_kit.database import is_transient
from dunwell_kit.pool import asyncpg_url


@settings(max_examples=50)
@given(st.text(max_size=10), st.integers())
def test_equal_parts_give_equal_chance(text: str, number: int) -> None:
    assert chance.uniform(text, number) == chance.uniform(text, number)
    assert 0 <= chance.uniform(text, number) < 1
    assert chance.rng(text, number).random() == chance.rng(text, number).random()
    assert 0 <= chance.jitter() < 1


def test_a_field_that_is_not_allowed_never_reaches_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    logging.setup("test")
    try:
        logging.logger().info("something happened", case_id="rec_1", email="someone@example.com")
        line = json.loads(capsys.readouterr().err)
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    assert line["event"] == "something happened"
    assert line["case_id"] == "rec_1"
    assert "someone@example.com" not in json.dumps(line)


def _wrapped(kind: type[DBAPIError], cause: BaseException) -> DBAPIError:
    original = Exception("refused")
    original.__cause__ = cause
    return kind("SELECT 1", {}, original)


@pytest.mark.parametrize("error", [
    ConnectionRefusedError(), TimeoutError(), pg.DeadlockDetectedError(), pg.AdminShutdownError(),
    pg.LockNotAvailableError(), pg.TooManyConnectionsError(), pg.InterfaceError("closed"),
    pg.ConnectionDoesNotExistError(), pg.InvalidCachedStatementError(), pg.InternalClientError("another operation"),
    _wrapped(DBAPIError, pg.CannotConnectNowError()),
])  # fmt: skip
def test_what_the_database_caused_is_transient(error: BaseException) -> None:
    assert is_transient(error)


@pytest.mark.parametrize("error", [
    ValueError(), pg.UniqueViolationError(), pg.CheckViolationError(), pg.DataError("invalid input for query argument"),
    _wrapped(DBAPIError, pg.InvalidPasswordError()),
])  # fmt: skip
def test_what_the_message_caused_is_not_transient(error: BaseException) -> None:
    assert not is_transient(error)


def test_a_plain_url_is_opened_with_asyncpg() -> None:
    assert asyncpg_url("postgresql://u@h/d") == "postgresql+asyncpg://u@h/d"
    assert asyncpg_url("postgresql+psycopg://u@h/d") == "postgresql+psycopg://u@h/d"

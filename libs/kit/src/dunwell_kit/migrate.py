"""Migrations: one database and two roles a service, made and moved by the migrator.

Owns: creating the database and roles, running alembic, and the grants. The service's role owns nothing and has
no DDL; a migration may take rights away from it (`REVOKE UPDATE, DELETE`), never add DDL.
"""

from __future__ import annotations

import asyncio
import secrets
from importlib import resources
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
from alembic import command, context, op
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util import await_only

from dunwell_kit.errors import Unavailable
from dunwell_kit.outputs import SHARD_COUNT
from dunwell_kit.pool import asyncpg_url
from dunwell_kit.settings import SERVICES

MIGRATOR = "dunwell_migrator"
# The outbox's shards are rows, made at migration; a new one starts before the first transaction a database can
# have (3), so that it misses nothing that was written before it existed.
SHARDS = """INSERT INTO outbox_cursor (shard, lo) SELECT s, '3:3:' FROM generate_series(0, CAST(:last AS int)) s
            ON CONFLICT DO NOTHING"""


def database_url(admin_url: str, database: str, user: str, password: str) -> str:
    """Return the URL of a service's role at the server that `admin_url` names."""
    parts = urlsplit(admin_url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, f"{user}:{quote(password)}@{host}", f"/{database}", "", ""))


async def provision(admin_url: str, service: str, *, database: str | None = None, password: str | None = None) -> str:
    """Create a service's database and role where they are missing and migrate; returns the role's URL.

    Args:
        admin_url: A superuser's URL.
        password: Set on the role; a random one when None.
    """
    name = database or f"dunwell_{service}"
    role = f"dunwell_{service}"
    secret = password or secrets.token_urlsafe(18)
    try:
        connection = await asyncpg.connect(admin_url, timeout=10)
    except (OSError, asyncpg.exceptions.PostgresError, TimeoutError) as error:
        raise Unavailable(f"Postgres does not answer ({type(error).__name__}: {error})") from error
    try:
        # Several services may be provisioned at once; roles are the server's, so one at a time.
        await connection.execute("SELECT pg_advisory_lock(7261)")
        await _ensure_role(connection, MIGRATOR, None)
        await _ensure_role(connection, role, secret)
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname=$1", name):
            await connection.execute(f'CREATE DATABASE "{name}" OWNER {MIGRATOR}')
            await connection.execute(f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC')
        await connection.execute(f'GRANT CONNECT ON DATABASE "{name}" TO {role}')
    finally:
        await connection.close()
    target = urlunsplit(urlsplit(admin_url)._replace(path=f"/{name}"))
    await migrate(target, service)
    return database_url(admin_url, name, role, secret)


async def _ensure_role(connection: asyncpg.Connection, role: str, password: str | None) -> None:
    if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname=$1", role):
        await connection.execute(f"CREATE ROLE {role}")
    if password is not None:
        literal = await connection.fetchval("SELECT quote_literal($1::text)", password)
        await connection.execute(f"ALTER ROLE {role} LOGIN PASSWORD {literal}")


async def migrate(admin_url: str, service: str, revision: str = "head") -> None:
    """Run a service's migrations as the migrator role."""
    engine = create_async_engine(asyncpg_url(admin_url))
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SET statement_timeout = '60s'"))
            await connection.execute(text(f"GRANT ALL ON SCHEMA public TO {MIGRATOR}"))
            await connection.execute(text(f"GRANT USAGE ON SCHEMA public TO dunwell_{service}"))
            await connection.execute(text(f"SET ROLE {MIGRATOR}"))
            await connection.execute(
                text(
                    "ALTER DEFAULT PRIVILEGES IN SCHEMA public"
                    f" GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO dunwell_{service}"
                )
            )
            await connection.execute(
                text(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO dunwell_{service}")
            )
            await connection.commit()
            await connection.run_sync(_upgrade, service, revision)
            await connection.execute(text(SHARDS), {"last": SHARD_COUNT - 1})
            await connection.commit()
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, service: str, revision: str) -> None:
    config = Config()
    location = resources.files(f"dunwell_{service}").joinpath("migrations")
    config.set_main_option("script_location", str(location))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    connection.commit()


def run_env() -> None:
    """Run from a service's `migrations/env.py`: migrate over the connection that `migrate` opened."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


def kit_schema() -> str:
    """Return the kit's own tables as SQL, for a service's first migration."""
    return resources.files("dunwell_kit").joinpath("schema.sql").read_text(encoding="utf-8")


def run_sql(script: str) -> None:
    """Run a script of several statements inside a migration."""
    raw = op.get_bind().connection.driver_connection
    # Without parameters asyncpg sends the whole script in one simple query, inside the open transaction.
    await_only(raw.execute(script))  # type: ignore[union-attr]


def script_beside(file: str, name: str) -> str:
    """Return the SQL script of that name beside a migration file."""
    return Path(file).with_name(name).read_text(encoding="utf-8")


async def provision_all(admin_url: str, password: str | None = None) -> dict[str, str]:
    """Provision and migrate every service; returns their URLs."""
    urls = {}
    for service in SERVICES:
        urls[service] = await provision(admin_url, service, password=password)
    return urls


def provision_all_now(admin_url: str, password: str | None = None) -> dict[str, str]:
    """Provision everything from synchronous code."""
    return asyncio.run(provision_all(admin_url, password))

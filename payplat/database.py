"""Sessions and transaction retry: one way to write, one way to read, the same verdicts on SQLite and MariaDB/MySQL."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import pymysql
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Table,
    event,
    func,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects.mysql import insert as mysql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from payplat import metrics, seam, traces
from payplat.errors import DatabaseUnavailable
from payplat.retry import Backoff
from payplat.settings import Settings

T = TypeVar("T")
Body = Callable[[AsyncConnection], Awaitable[T]]

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "mysql": "mysql+aiomysql", "mariadb": "mysql+aiomysql"}
# Deadlock, lock wait, record changed since the snapshot: another try of the whole body may succeed.
_TRY_AGAIN = {1213, 1205, 1020}
# Too many connections, refused login, no such database or not for us, not ready, shutting down, read only,
# killed, cannot connect, gone, lost, disk full, statement too slow.
_UNAVAILABLE = {
    1040,
    1203,
    1226,
    1045,
    1044,
    1049,
    1047,
    1053,
    1290,
    1317,
    1927,
    2003,
    2006,
    2013,
    1021,
    1114,
    1969,
    3024,
}
# Without a majority, or read only: a server that has lost its place says so on this connection for ever, while a new one
# leads to the server that took it.
_ELSEWHERE = {1047, 1290}
_BACKOFF = Backoff(base=0.02, factor=2, cap=0.5, jitter=1.0, attempts=6)
# Seconds that a unit of work may take in all, so that a provider has its answer within five; and one statement of it on
# a server whose caller has gone.
DEADLINE = 4.5
_STATEMENT_LIMIT = 5.5
# Seconds for the answer of a connection that has been idle, which leave time for a new one.
_PING_LIMIT = 1.0
# Whole seconds after which a server gives up a transaction whose caller has vanished, and with it the rows it holds.
_IDLE_LIMIT = 5
# A COMMIT whose caller gave up may still take effect; what was begun this long ago is over (seconds).
LONGEST_TRANSACTION = DEADLINE + _STATEMENT_LIMIT
_SESSION = (
    "SET time_zone='+00:00', sql_mode='TRADITIONAL', innodb_lock_wait_timeout=4"
    f" /*M! , max_statement_time={_STATEMENT_LIMIT}, idle_transaction_timeout={_IDLE_LIMIT} */"  # MariaDB only
)


def database_url(url: str) -> URL:
    """Read a database URL; ``sqlite:///file``, ``mysql://…`` and ``mariadb://…`` get their asyncio driver."""
    parsed = make_url(url)
    return parsed.set(drivername=_DRIVERS[parsed.get_backend_name()])


class Database:
    """The installation's database. Every unit of work has a deadline in seconds, and no network call inside it."""

    def __init__(self, url: str, *, pool_size: int = 8, deadline: float = DEADLINE) -> None:
        self.url = database_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _make_engine(self.url, pool_size, deadline)
        self._deadline = deadline
        # The pool's own queue is unfair; a first-come gate in front keeps the tail short.
        self._gate = asyncio.Semaphore(pool_size)

    async def transaction(self, body: Body[T]) -> T:
        """Run ``body(connection)`` and commit; all of it again after a deadlock, a conflict or a lost connection.

        A lost reply to COMMIT leaves the outcome unknown, so ``body`` must be safe to repeat after it took effect: it
        reads by key before it writes. Raises DatabaseUnavailable after the deadline or the last try.
        """
        with traces.tracer.span("database transaction"):
            return await self._within_deadline(self._retried(body))

    async def read(self, body: Body[T]) -> T:
        """Run ``body(connection)`` without taking SQLite's write lock; raises like ``transaction``."""
        with traces.tracer.span("database read"):
            return await self._within_deadline(self._once(body, read_only=True))

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()

    def insert_new(self, table: Table) -> Any:
        """Return an INSERT that leaves existing rows as they are instead of failing on their keys."""
        if self.is_sqlite:
            return sqlite_insert(table).on_conflict_do_nothing()
        key = next(iter(table.primary_key.columns))
        return mysql_insert(table).on_duplicate_key_update({key.name: key})

    def insert_or_correct(
        self, table: Table, key: Sequence[str], columns: Sequence[str], when: Callable[[Any], Any]
    ) -> Any:
        """Return an INSERT that gives an existing row of that ``key`` the new ``columns`` where ``when(new)`` holds.

        MySQL assigns from left to right: a column whose old value ``when`` asks for must be the last of ``columns``.
        """
        if self.is_sqlite:
            lite = sqlite_insert(table)
            changes: dict[str, Any] = {name: lite.excluded[name] for name in columns}
            return lite.on_conflict_do_update(key, set_=changes, where=when(lite.excluded))
        my = mysql_insert(table)
        in_order = [
            (name, func.if_(when(my.inserted), my.inserted[name], table.c[name]))
            for name in columns
        ]
        return my.on_duplicate_key_update(in_order)

    def insert_or_change(
        self, table: Table, key: Sequence[str], changes: Callable[[Any], Mapping[str, Any]]
    ) -> Any:
        """Return an INSERT that changes an existing row of that ``key`` by ``changes(new)``: values by column.

        MySQL assigns from left to right: a column whose old value others ask for must be the last.
        """
        if self.is_sqlite:
            lite = sqlite_insert(table)
            return lite.on_conflict_do_update(key, set_=changes(lite.excluded))
        my = mysql_insert(table)
        return my.on_duplicate_key_update(list(changes(my.inserted).items()))

    async def _retried(self, body: Body[T]) -> T:
        failures = 0
        while True:
            try:
                return await self._once(body)
            except (IntegrityError, OperationalError, DBAPIError) as error:
                failures += 1
                if not _worth_another_try(error) or failures >= _BACKOFF.attempts:
                    raise
            await seam.sleep(_BACKOFF.delay(failures))

    async def _once(self, body: Body[T], *, read_only: bool = False) -> T:
        async with self._gate, self.engine.connect() as connection:
            await connection.execution_options(read_only=read_only)
            with metrics.CONNECTIONS_IN_USE.track_inprogress():
                async with connection.begin():
                    result = await body(connection)
                    await seam.reach("before_commit")
                await seam.reach("after_commit")
            return result

    async def _within_deadline(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._deadline):
                return await work
        except (TimeoutError, PoolTimeout, OSError) as error:
            raise DatabaseUnavailable from error
        except DBAPIError as error:
            if _is_unavailable(error):
                raise DatabaseUnavailable from error
            raise


def _make_engine(url: URL, pool_size: int, deadline: float) -> AsyncEngine:
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(url, pool_size=pool_size, max_overflow=0, hide_parameters=True)
        _listen_sqlite(engine.sync_engine, int(deadline * 800))
        return engine
    engine = create_async_engine(
        url,
        hide_parameters=True,  # receivers and evidence are no matter for a log
        isolation_level="READ COMMITTED",
        pool_size=pool_size,
        max_overflow=0,
        pool_recycle=1800,
        pool_reset_on_return=None,  # every checkout goes through begin(), which ends by itself or is left
        connect_args={"connect_timeout": 3, "charset": "utf8mb4", "init_command": _SESSION},
    )
    event.listen(engine.sync_engine, "handle_error", _look_elsewhere)
    event.listen(engine.sync_engine, "handle_error", _leave_nothing_open)
    event.listen(engine.sync_engine, "checkout", _ping)
    event.listen(engine.sync_engine, "connect", _write_hexadecimal)
    return engine


def _write_hexadecimal(connection: Any, _record: Any) -> None:
    """Let the driver write values as hexadecimal literals: nothing in them needs escaping, which took it longest."""
    driver = connection.driver_connection
    others = driver.escape

    def escape(value: Any) -> str:
        kind = type(value)
        if kind is bytes:
            return f"x'{value.hex()}'"
        if kind is int:
            return str(value)
        if value is None:
            return "NULL"
        if isinstance(value, str):
            return f"_utf8mb4 x'{value.encode().hex()}'"
        return str(others(value))

    driver.escape = escape


def _ping(connection: Any, _record: Any, _proxy: Any) -> None:
    """Let the pool give up all its connections with one that has died; a network may have dropped it in silence."""

    async def ping(driver: Any) -> None:
        async with asyncio.timeout(_PING_LIMIT):
            await driver.ping(reconnect=False)

    try:
        connection.run_async(ping)
    except (OSError, pymysql.err.Error) as error:  # TimeoutError is an OSError
        raise InvalidatePoolError from error


def _look_elsewhere(context: ExceptionContext) -> None:
    """Let the pool give up its connections to a server that has lost its place, as it does lost ones."""
    error = context.sqlalchemy_exception
    if isinstance(error, DBAPIError) and _code(error) in _ELSEWHERE:
        context.is_disconnect = True


def _leave_nothing_open(context: ExceptionContext) -> None:
    """Let the pool give up a connection whose COMMIT failed: its next user would commit what may still be open."""
    ends_transaction = context.connection is not None and context.statement is None
    if ends_transaction and not context.is_disconnect:
        context.is_disconnect, context.invalidate_pool_on_disconnect = True, False


def _listen_sqlite(engine: Engine, busy_timeout: int) -> None:
    # A wait for the lock cannot be cancelled, so it ends by itself before the deadline (milliseconds).
    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions by itself: it would not before a SELECT.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"busy_timeout={busy_timeout}",
            "foreign_keys=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _began(connection: Connection) -> None:
        read_only = connection.get_execution_options().get("read_only")
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _code(error: DBAPIError) -> Any:
    arguments = getattr(error.orig, "args", ()) or ("",)
    return arguments[0]


def _worth_another_try(error: DBAPIError) -> bool:
    # A violated key means that another transaction came first: the next try reads what it wrote.
    if isinstance(error, IntegrityError) or error.connection_invalidated:
        return True
    return _code(error) in _TRY_AGAIN | _UNAVAILABLE


def _is_unavailable(error: DBAPIError) -> bool:
    code = _code(error)
    locked = isinstance(code, str) and any(w in code for w in ("locked", "disk", "full", "unable"))
    return error.connection_invalidated or code in _UNAVAILABLE | _TRY_AGAIN or locked


def database_of(settings: Settings) -> Database:
    """Return the configured database; a SQLite file's relative name counts from the configuration's folder."""
    url: URL = database_url(settings.database.url.get_secret_value())
    if url.get_backend_name() == "sqlite" and url.database:
        url = url.set(database=str(settings.folder / url.database))
    return Database(
        url.render_as_string(hide_password=False), pool_size=settings.database.pool_size
    )


async def each_value(connection: AsyncConnection, column: ColumnElement[str]) -> AsyncIterator[str]:
    """Yield a column's different values in order, each by one look into its index, however many rows there are."""
    value = ""
    while found := await connection.scalar(select(func.min(column)).where(column > value)):
        value = str(found)
        yield value


async def ping(database: Database) -> None:
    """Ask the database for one; raises DatabaseUnavailable."""
    await database.read(lambda connection: connection.execute(text("SELECT 1")))

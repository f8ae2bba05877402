"""A private MariaDB server for one test run: its own folder, a free port, gone afterwards."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pymysql
from pymysql.cursors import Cursor

# Users' PATH lacks the folder in which Debian keeps the server.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


@dataclass
class MariaDB:
    """A running server."""

    host: str
    port: int
    user: str
    password: str
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        """Its address, without a database."""
        secret = f":{self.password}" if self.password else ""
        return f"mariadb://{self.user}{secret}@{self.host}:{self.port}"

    @contextlib.contextmanager
    def fresh_database(self) -> Iterator[str]:
        """Make an empty database and drop it afterwards; yields its address."""
        name = f"payplat_{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        try:
            yield f"{self.url}/{name}"
        finally:
            self.execute(f"DROP DATABASE IF EXISTS {name}")

    @contextlib.contextmanager
    def copied_database(self, template: str) -> Iterator[str]:
        """Make a database with the tables of the one at ``template``, without rows; much faster than migrating it."""
        source = template.rpartition("/")[2]
        with self.fresh_database() as url:
            copy = url.rpartition("/")[2]
            with self._cursor() as cursor:
                cursor.execute(f"SHOW TABLES FROM {source}")
                for (table,) in cursor.fetchall():
                    cursor.execute(f"CREATE TABLE {copy}.{table} LIKE {source}.{table}")
                cursor.execute(
                    f"INSERT INTO {copy}.alembic_version SELECT * FROM {source}.alembic_version"
                )
            yield url

    def execute(self, statement: str, *arguments: object) -> list[tuple]:
        """Run one statement as administrator."""
        with self._cursor() as cursor:
            cursor.execute(statement, arguments or None)
            return list(cursor.fetchall())

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[Cursor]:
        connection = pymysql.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, autocommit=True
        )
        with contextlib.closing(connection), connection.cursor() as cursor:
            yield cursor

    def stop(self) -> None:
        """End the server, if it is ours."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)


@contextlib.contextmanager
def private_mariadb() -> Iterator[MariaDB | None]:
    """A server for the length of the block, in memory where there is room: a new table waits for the disk ten times."""
    with kept_folder(roomy_memory()) as folder:
        server = start_mariadb(folder)
        try:
            yield server
        finally:
            if server is not None:
                server.stop()


def start_mariadb(folder: Path, *, durable: bool = False) -> MariaDB | None:
    """Start a server in ``folder``; None when there is no MariaDB on this machine.

    ``durable`` syncs every commit to disk, as production must; tests do without.
    """
    given = os.environ.get("PAYPLAT_TEST_MYSQL_URL")
    if given:
        parts = urlsplit(given)
        return MariaDB(parts.hostname, parts.port or 3306, parts.username, parts.password or "")
    daemon, install = (
        shutil.which(name, path=_PATH) for name in ("mariadbd", "mariadb-install-db")
    )
    if not daemon or not install:
        return None
    # Root may not run the server as itself unless told so.
    as_user = ["--user=root"] if os.geteuid() == 0 else []
    data = folder / "data"
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(
        [
            install,
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            *as_user,
        ],
        **quiet,
    )
    port = _free_port()
    arguments = [
        daemon,
        "--no-defaults",
        f"--datadir={data}",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        f"--socket={folder / 'sock'}",
        f"--pid-file={folder / 'pid'}",
        "--skip-log-bin",
        "--skip-name-resolve",
        f"--innodb-flush-log-at-trx-commit={int(durable)}",
        f"--log-error={folder / 'log'}",
        *as_user,
    ]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = MariaDB("127.0.0.1", port, "root", "", process)
    _wait(server)
    return server


@contextlib.contextmanager
def kept_folder(parent: Path | None) -> Iterator[Path]:
    """A folder that is gone after the block with the server in it, also when this process is killed in between."""
    folder = tempfile.mkdtemp(prefix="payplat-mariadb-", dir=parent)
    keeper = subprocess.Popen(
        ["sh", "-c", 'read -r _; kill -9 "$(cat "$1/pid")"; rm -rf "$1"', "keeper", folder],
        stdin=subprocess.PIPE,  # which ends with us
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield Path(folder)
    finally:
        keeper.communicate()


def roomy_memory() -> Path | None:
    """Where files are kept in memory, if a few servers of 200 MB and programs find room there."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or os.statvfs(memory).f_flag & os.ST_NOEXEC:
        return None
    return memory if shutil.disk_usage(memory).free > 4 << 30 else None


def _wait(server: MariaDB) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            server.execute("SELECT 1")
        except pymysql.err.OperationalError:
            if time.monotonic() > until or server.process.poll() is not None:
                raise
            time.sleep(0.05)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

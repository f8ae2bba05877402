"""A MariaDB Galera cluster of three nodes on this machine: in a folder of its own, killed and healed at will."""

import asyncio
import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pymysql

from tests.galera.patience import Failed, until

# A user's PATH lacks the folder in which Debian keeps servers.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
_PROGRAMS = "mariadbd mariadb-install-db wsrep_sst_rsync rsync haproxy"
_NO_MAJORITY = 1047
_PROVIDERS = ("lib/galera", "lib64/galera-4", "lib64/galera")
# From 32768 on the kernel gives ports to clients, which may then sit on one of ours.
_PORTS = range(20000, 32768)
_PORTS_OF_A_NODE = 4
_CONFIGURATION = """\
[mariadbd]
datadir={folder}/data
tmpdir={folder}/tmp
socket={folder}/socket
pid-file={folder}/pid
log-error={folder}/server.err
bind-address=127.0.0.1
port={sql}
skip-name-resolve
skip-log-bin
binlog_format=ROW
default_storage_engine=InnoDB
innodb_autoinc_lock_mode=2
innodb_buffer_pool_size=64M
innodb_log_file_size=32M
# Once a second is enough: before a commit is acknowledged, every node of the cluster has received it.
innodb_flush_log_at_trx_commit=2
wsrep_on=ON
wsrep_provider={provider}
wsrep_cluster_name=payplat
wsrep_cluster_address=gcomm://{members}
wsrep_node_name={name}
wsrep_node_address=127.0.0.1:{group}
wsrep_provider_options="base_port={group};gmcast.listen_addr=tcp://127.0.0.1:{group};ist.recv_addr=127.0.0.1:{increments};gcache.size=32M"
wsrep_sst_method=rsync
wsrep_sst_receive_address=127.0.0.1:{snapshot}
"""


def missing() -> list[str]:
    """Return what a cluster needs and this machine lacks."""
    lacking = [name for name in _PROGRAMS.split() if not shutil.which(name, path=PATH)]
    return lacking if next(_providers(), None) else [*lacking, "libgalera_smm.so"]


def free_ports(count: int) -> list[int]:
    """Return ports on which nothing listens."""
    found: list[int] = []
    with ExitStack() as held:
        for port in random.sample(_PORTS, len(_PORTS)):
            with contextlib.suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
            if len(found) == count:
                break
    return found


class Node:
    """One server of the cluster; ``name`` is what it is called, ``port`` where it takes SQL."""

    def __init__(self, folder: Path, name: str, ports: list[int]) -> None:
        self.name, self._folder = name, folder / name
        self.port, self.group, increments, snapshot = ports
        self._settings = {
            "name": name,
            "folder": self._folder,
            "sql": self.port,
            "group": self.group,
            "increments": increments,
            "snapshot": snapshot,
        }
        self._process: subprocess.Popen | None = None

    async def prepare(self, members: str) -> None:
        """Make an empty data directory and the configuration."""
        (self._folder / "tmp").mkdir(parents=True)
        for path in (self._folder, self._folder / "tmp"):
            os.chown(path, *_account())
        others = {"members": members, "provider": next(_providers())}
        self._configuration.write_text(_CONFIGURATION.format(**self._settings, **others))
        install = [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={self._folder}/data",
            f"--tmpdir={self._folder}/tmp",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ]
        if await asyncio.to_thread(self._run(install).wait):
            raise Failed(f"mariadb-install-db failed, {self._folder}/output says why")

    async def start(self, *arguments: str) -> None:
        """Start the server and wait until it has all that the cluster has."""
        command = ["mariadbd", f"--defaults-file={self._configuration}", *arguments]
        self._process = self._run(command)
        await until(f"{self.name} is synced", self._is_synced, 60)

    async def kill(self) -> None:
        """End the server as a failing machine would: at once."""
        self._process.kill()
        await asyncio.to_thread(self._process.wait)

    async def is_without_majority(self) -> bool:
        """Whether it refuses both to read and to write because it has lost the others."""
        statements = ("SELECT count(*) FROM payplat.orders", "DELETE FROM payplat.sweeps WHERE 0")
        return [await self._error(each) for each in statements] == [_NO_MAJORITY] * 2

    async def ask(self, *statements: str) -> list[tuple]:
        """Run statements in one session as administrator and return the rows of the last."""
        return await asyncio.to_thread(self._ask, statements)

    def remove(self) -> None:
        """End the server and whatever it has started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    async def _is_synced(self) -> bool:
        """Whether it is a member of the cluster and as far as the others; raises Failed when it has ended."""
        if self._process.poll() is not None:
            raise Failed(f"{self.name} ended, {self._folder}/server.err says why")
        with contextlib.suppress(pymysql.err.OperationalError):
            told = await self.ask("SHOW GLOBAL STATUS LIKE 'wsrep_local_state_comment'")
            return told[0][1] == "Synced"
        return False

    async def _error(self, statement: str) -> int:
        """Return the code of the error that a statement meets, 0 for none."""
        try:
            await self.ask(statement)
        except pymysql.err.MySQLError as error:
            return error.args[0]
        return 0

    @property
    def _configuration(self) -> Path:
        return self._folder / "my.cnf"

    def _run(self, command: list[str]) -> subprocess.Popen:
        """Start a program of the node: in a session of its own, as Ctrl-C is not meant for it, and not as root."""
        uid, gid = _account()
        environ = {"PATH": PATH, "TMPDIR": str(self._folder / "tmp")}
        with (self._folder / "output").open("ab") as log:
            return subprocess.Popen(
                command, env=environ, stdout=log, stderr=log, start_new_session=True,
                user=uid, group=gid,
            )  # fmt: skip

    def _ask(self, statements: tuple[str, ...]) -> list[tuple]:
        connection = pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user="root",
            autocommit=True,
            connect_timeout=2,
            read_timeout=20,
        )
        with contextlib.closing(connection), connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[list[Node]]:
    """Run three nodes until the block ends; the first one has begun the cluster."""
    ports, size = free_ports(3 * _PORTS_OF_A_NODE), _PORTS_OF_A_NODE
    nodes = [Node(folder, f"n{i + 1}", ports[size * i : size * (i + 1)]) for i in range(3)]
    members = ",".join(f"127.0.0.1:{node.group}" for node in nodes)
    try:
        await asyncio.gather(*(node.prepare(members) for node in nodes))
        first, *others = nodes
        await first.start("--wsrep-new-cluster")
        for node in others:  # one after the other: nobody can give his data to two
            await node.start()
        yield nodes
    finally:
        for node in nodes:
            node.remove()


def _providers() -> Iterator[Path]:
    libraries = (Path("/usr") / folder / "libgalera_smm.so" for folder in _PROVIDERS)
    return filter(Path.is_file, libraries)


def _account() -> tuple[int, int]:
    """Return whose the servers are: ours, but not root's, whom both mariadbd and rsync refuse to serve."""
    if os.geteuid():
        return os.geteuid(), os.getegid()
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid

"""Make the peers' environments: ``python -m benchmarks.peers.install [PEER ...]``; nothing else installs them.

Python peers get an environment each under ``.peers/``, since the two Alipay packages overwrite each other; the Node peers
share ``benchmarks/peers/node/node_modules``. The exit code is 3 where a program is missing that they are built with.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence

from benchmarks.peers.commands import ENVIRONMENTS, HERE, NEEDS

_CLIENT_LIBRARIES = ("mysqlclient", "mariadb", "libmariadb")


def main(arguments: Sequence[str] | None = None) -> int:
    """Install the named peers, all by default; raises CalledProcessError when a package manager fails."""
    parser = argparse.ArgumentParser(prog="benchmarks.peers.install", description=__doc__)
    parser.add_argument("peers", nargs="*", metavar="PEER", help=", ".join(NEEDS))
    named = parser.parse_args(arguments).peers or list(NEEDS)
    if unknown := set(named) - set(NEEDS):
        parser.error(f"no such peer: {', '.join(unknown)}")
    environments = {"node" if name in ("express", "fastify") else name for name in named}
    if missing := [line for name in sorted(environments) for line in _missing(name)]:
        sys.stderr.write("\n".join(missing) + "\n")
        return 3
    for name in sorted(environments):
        _install_node() if name == "node" else _install_python(name)
    return 0


def _missing(environment: str) -> Iterator[str]:
    """Yield what the machine lacks, and what brings it."""
    if environment == "node":
        for program in ("node", "npm"):
            if not shutil.which(program):
                yield f"express and fastify need {program}: install Node.js 20 or newer"
    if environment == "django":
        if not shutil.which("cc"):
            yield "django builds mysqlclient, which needs a C compiler: apt-get install gcc"
        if not any(map(_is_packaged, _CLIENT_LIBRARIES)):
            yield (
                "django builds mysqlclient, which needs pkg-config and the database client's headers:"
                " apt-get install pkg-config libmariadb-dev"
            )


def _is_packaged(library: str) -> bool:
    asked = ["pkg-config", "--exists", library]
    return bool(shutil.which("pkg-config")) and subprocess.run(asked, check=False).returncode == 0  # noqa: S603


def _install_python(name: str) -> None:
    environment = ENVIRONMENTS / name
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--requirement"]
    _run([sys.executable, "-m", "venv", "--clear", str(environment)])
    _run([*pip, str(HERE / name / "requirements.txt")])


def _install_node() -> None:
    _run(["npm", "ci", "--no-audit", "--no-fund", f"--prefix={HERE / 'node'}"])


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True)  # noqa: S603 - made of our own names


if __name__ == "__main__":
    sys.exit(main())

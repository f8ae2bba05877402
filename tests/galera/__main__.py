"""``./run galera``: purchases on a MariaDB Galera cluster whose nodes are killed; nothing acknowledged may be lost."""

import argparse
import asyncio
import logging
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.galera.nodes import missing
from tests.galera.patience import Failed
from tests.galera.play import play
from tests.galera.telling import Teller


def main() -> int:
    """Read the arguments, play, tell; return the exit code."""
    parser = argparse.ArgumentParser(prog="./run galera", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of peace between the faults")
    seconds, teller = parser.parse_args().seconds, Teller()
    # Requests that are cut off when all is taken down are no news.
    logging.getLogger("tornado.application").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    if lacking := missing():
        teller.say(f"this machine lacks {', '.join(lacking)}")
        return 3
    folder = Path(tempfile.mkdtemp(prefix="payplat-galera-"))
    folder.chmod(0o711)  # whose the servers are must get through
    if _is_well(folder, seconds, teller):
        shutil.rmtree(folder)
        return 0
    teller.say(f"FAILED; data and logs lie in {folder}")
    return 1


def _is_well(folder: Path, seconds: float, teller: Teller) -> bool:
    try:
        judges = asyncio.run(play(folder, seconds, teller.say))
    except (Failed, KeyboardInterrupt) as failure:
        teller.say(str(failure) or "stopped before the end")
        return False
    return teller.verdict(judges)


if __name__ == "__main__":
    sys.exit(main())

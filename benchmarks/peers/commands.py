"""How the peers are started, once ``benchmarks.peers.install`` has made their environments."""

from pathlib import Path

from benchmarks.fixed import APP_ID, SELLER_ID
from benchmarks.ground import ROOT, Ground

HERE = Path(__file__).parent
ENVIRONMENTS = ROOT / ".peers"
# What each peer runs on, which is there once it is installed.
NEEDS = {
    "django": ENVIRONMENTS / "django" / "bin" / "gunicorn",
    "fastapi": ENVIRONMENTS / "fastapi" / "bin" / "uvicorn",
    "express": HERE / "node" / "node_modules" / "express",
    "fastify": HERE / "node" / "node_modules" / "fastify",
}
_GUNICORN = "--workers=1 --worker-class=gthread --threads=16 --keep-alive=75 --log-level=warning"
_UVICORN = "--loop=uvloop --http=httptools --no-access-log --log-level=warning"


def absent(names: list[str]) -> list[str]:
    """Return those of ``names`` that are peers and not installed."""
    return [name for name in names if name in NEEDS and not NEEDS[name].exists()]


def command(name: str, ground: Ground, database_url: str, port: int) -> list[str]:
    """Return how a peer is started: one worker process, told by its environment what it stands on."""
    told = {
        "PORT": port,
        "DATABASE_URL": database_url,
        "ALIPAY_PUBLIC_KEY": ground.folder / "alipay.pem",
        "APP_PRIVATE_KEY": ground.folder / "app.pem",
        "APP_ID": APP_ID,
        "SELLER_ID": SELLER_ID,
        "NODE_ENV": "production",
    }
    return ["env", *(f"{key}={value}" for key, value in told.items()), *_program(name, port)]


def _program(name: str, port: int) -> list[str]:
    if name == "django":
        where = [f"--chdir={HERE / name}", f"--bind=127.0.0.1:{port}"]
        return [str(NEEDS[name]), *_GUNICORN.split(), *where, "server:application"]
    if name == "fastapi":
        where = [f"--app-dir={HERE / name}", f"--port={port}"]
        return [str(NEEDS[name]), *_UVICORN.split(), *where, "server:app"]
    return ["node", str(HERE / "node" / f"{name}.mjs")]

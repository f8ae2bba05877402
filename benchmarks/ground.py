"""What the servers stand on: a configuration with keys made for it, and a database that is fresh for each run."""

import base64
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import Engine, create_engine, insert, make_url, text

from benchmarks.fixed import APP_ID, SELLER_ID
from benchmarks.notices import Sale, order_rows
from payplat.models import Base
from tests.mariadb import MariaDB

ROOT = Path(__file__).parent.parent
_CONFIGURATION = f"""\
environment = "sandbox"
public_url = "http://127.0.0.1:1"
[outbound]
networks = ["127.0.0.0/8"]
[apps.default.endpoints.main]
url = "http://127.0.0.1:1/"
secret = "file:endpoint"
[channels.alipay]
app_id = "{APP_ID}"
seller_id = "{SELLER_ID}"
private_key = "file:app.pem"
alipay_public_key = "file:alipay.pem"
"""
Row = Mapping[str, object]
# All that one payment leaves behind, and that it belongs together.
PAID = {
    "paid orders": "SELECT count(*) FROM orders WHERE status = 'paid'",
    "payments": "SELECT count(*) FROM payments",
    "pieces of evidence": "SELECT count(*) FROM evidence WHERE state = 'used'",
    "events": "SELECT count(*) FROM events WHERE type = 'order.paid'",
    "deliveries": "SELECT count(*) FROM deliveries WHERE status = 'due'",
    "timeline rows": "SELECT count(*) FROM timeline WHERE what = 'paid'",
    "complete payments": "SELECT count(*) FROM orders o JOIN payments p USING (order_no)"
    " JOIN evidence e ON e.sha256 = p.evidence_sha256 AND e.order_no = o.order_no"
    " JOIN events v ON v.order_no = o.order_no JOIN deliveries d ON d.event_id = v.event_id"
    " JOIN timeline t ON t.order_no = o.order_no AND t.at = o.settled_at"
    " WHERE p.amount = o.amount AND p.quantity = o.quantity AND p.product = o.sku",
}


class Void(Exception):
    """What this run measured counts for nothing."""


@dataclass(frozen=True)
class Ground:
    """A folder with everything that a server reads, and the database server, where there is one."""

    folder: Path
    mariadb: MariaDB | None

    @property
    def catalogue(self) -> Path:
        """What is sold."""
        return self.folder / "products.toml"

    def configure(self, more: str) -> None:
        """Add TOML tables to the configuration, which has one channel: Alipay."""
        with (self.folder / "payplat.toml").open("a") as file:
            file.write(more)

    @contextmanager
    def database(self, sales: Sequence[Sale], checkout: Path = ROOT) -> Iterator[str]:
        """Make a database with ``checkout``'s schema in which ``sales`` are pending; yields its address."""
        with self.mariadb.fresh_database() as url:
            self.install(url, {"orders": list(order_rows(sales))}, checkout)
            yield url

    def install(
        self, database_url: str, rows: Mapping[str, Iterable[Row]], checkout: Path = ROOT
    ) -> None:
        """Give an empty database ``checkout``'s schema and these rows, by table."""
        environ = {**self.environ(database_url), "PYTHONDONTWRITEBYTECODE": "1"}
        migrate = [sys.executable, "-m", "payplat", "migrate"]
        subprocess.run(  # noqa: S603 - our own program
            migrate, env=environ, cwd=checkout, check=True, stdout=subprocess.DEVNULL
        )
        engine = blocking_engine(database_url)
        with engine.begin() as connection:
            for table, given in rows.items():
                connection.execute(insert(Base.metadata.tables[table]), list(given))
        with engine.connect() as connection:
            for table in rows:
                analyze = "ANALYZE" if engine.dialect.name == "sqlite" else "ANALYZE TABLE"
                connection.execute(text(f"{analyze} {table}"))
        engine.dispose()

    def environ(self, database_url: str) -> dict[str, str]:
        """Return the environment of a payplat process."""
        given = {k: v for k, v in os.environ.items() if not k.startswith("PAYPLAT_")}
        named = {"CONFIG": str(self.folder / "payplat.toml"), "DATABASE__URL": database_url}
        return given | {f"PAYPLAT_{name}": value for name, value in named.items()}


def lay_ground(folder: Path, mariadb: MariaDB | None, alipay: rsa.RSAPrivateKey) -> Ground:
    """Write the configuration and its secrets into ``folder``."""
    pem, public = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / "alipay.pem").write_bytes(alipay.public_key().public_bytes(pem, public))
    ours = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "app.pem").write_bytes(ours.private_bytes(pem, *private))
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    (folder / "endpoint").write_text(secret)
    shutil.copy(ROOT / "config" / "products.toml", folder)
    (folder / "payplat.toml").write_text(_CONFIGURATION)
    return Ground(folder, mariadb)


def check(database_url: str, expected: int, checks: Mapping[str, str] = PAID) -> None:
    """Raise Void unless each of ``checks`` counts exactly ``expected``; by default, payments with all that is theirs."""
    engine = blocking_engine(database_url)
    with engine.connect() as connection:
        counts = {what: connection.scalar(text(query)) for what, query in checks.items()}
    engine.dispose()
    wrong = [f"{count} {what}" for what, count in counts.items() if count != expected]
    if wrong:
        raise Void(f"{', '.join(wrong)} instead of {expected}")


def blocking_engine(database_url: str) -> Engine:
    """Return an engine for a process that has nothing else to do."""
    url = make_url(database_url)
    driver = "sqlite" if url.get_backend_name() == "sqlite" else "mysql+pymysql"
    return create_engine(url.set(drivername=driver))

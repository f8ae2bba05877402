"""What the console's pages work with, and how its addresses, cookies and numbers look."""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from payplat import money
from payplat.addresses import Network
from payplat.channel_health import Health
from payplat.database import Database
from payplat.explanation import Explanations
from payplat.operators import Operators
from payplat.orders import Orders
from payplat.reconcile import Reconciler
from payplat.settings import Settings
from payplat.statistics import Statistics
from payplat.timeline import Timeline

HERE = Path(__file__).parent
ROOT = "/console"
_ORDER_NO = re.compile(r"[0-9a-f]{32}")
LANGUAGE_COOKIE = "payplat_console_language"


@dataclass(frozen=True)
class Desk:
    """One platform as its operators see it."""

    settings: Settings
    database: Database
    orders: Orders
    reconciler: Reconciler
    operators: Operators
    explanations: Explanations
    timeline: Timeline
    statistics: Statistics
    health: Health
    wake: Callable[[], None]
    endpoints: Collection[str]
    accounts: Collection[tuple[str, str, str]]

    @property
    def networks(self) -> list[Network]:
        """From where the console can be opened."""
        return self.settings.console.networks

    @property
    def is_secure(self) -> bool:
        """Whether browsers come by TLS, as they must in production."""
        return self.settings.public_url.startswith("https://")

    @property
    def cookie(self) -> str:
        """The name of the session's cookie; browsers take the first kind from this host by TLS alone (RFC 6265bis)."""
        return "__Host-payplat_console" if self.is_secure else "payplat_console"


def seal_of(token: str) -> str:
    """Return what each form of a session carries, and what no other site can know."""
    return hashlib.sha256(f"form {token}".encode()).hexdigest()


def amount_text(amount: int | None, currency: str | None) -> str:
    """Return an amount of minor units with its currency as people read it, a dash where the store sets it."""
    if amount is None or currency is None:
        return "–"
    return f"{money.to_text(amount, currency)} {currency}"


def moment_text(at: str | None) -> str:
    """Return a time (RFC 3339, UTC) with seconds, for a table."""
    return at[:19].replace("T", " ") if at else "–"


def detail_text(detail: Mapping[str, Any]) -> str:
    """Return what a line says beside its sentence, a key a line."""
    told = {
        k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in detail.items()
    }
    return "\n".join(f"{key}: {value}" for key, value in told.items())


def message_text(message: Any) -> str:
    """Return a masked message as it is read: text as it is, all else as JSON."""
    return (
        message if isinstance(message, str) else json.dumps(message, ensure_ascii=False, indent=2)
    )


def is_number(text: str) -> bool:
    """Tell whether the text can be the number of a row."""
    return text.isascii() and text.isdecimal() and len(text) < 19


def link_of(subject: str) -> str:
    """Return the page of what an act was done to, empty where it has none."""
    return f"{ROOT}/orders/{subject}" if _ORDER_NO.fullmatch(subject) else ""

"""An application in the Play Console: what it sells, and where its notifications go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Product:
    """Prices in micros (millionths of the currency's unit); `regions` are those that differ."""

    micros: int
    currency: str = "USD"
    title: str = ""
    regions: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    def price(self, region: str) -> tuple[int, str]:
        """Micros and currency in a region (ISO 3166-1 alpha-2)."""
        micros, currency = self.regions.get(region, (self.micros, self.currency))
        return micros, currency


@dataclass(frozen=True)
class App:
    """`push_url` None: no notifications are set up. No audience: that of the endpoint is meant."""

    package: str
    products: Mapping[str, Product]
    push_url: str | None
    push_audience: str
    push_email: str
    subscription: str

    @property
    def audience(self) -> str:
        """What the pushes' tokens are made out to ("Authentication for push subscriptions")."""
        return self.push_audience or self.push_url or ""

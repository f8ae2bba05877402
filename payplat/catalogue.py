"""The catalogue: what each app sells and for how much; the client never names a price."""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from payplat import money
from payplat.errors import ConfigurationError, InvalidRequest, UnknownProduct

ProductId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]


class Product(BaseModel):
    """One product. ``prices`` are minor units by currency; ``store`` is its id at a store, by kind of channel.

    A ``subscription`` may be listed, but is not sold yet.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field(min_length=1, max_length=120)
    prices: dict[str, Annotated[int, Field(gt=0, lt=money.MAX_AMOUNT, strict=True)]] = {}
    consumable: bool = True
    subscription: bool = False
    store: dict[str, Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,150}$")]] = {}

    @field_validator("prices")
    @classmethod
    def _known_currencies(cls, prices: dict[str, int]) -> dict[str, int]:
        for currency in prices:
            try:
                money.exponent(currency)
            except InvalidRequest as error:
                raise ValueError(str(error)) from None
        return prices

    def price(self, quantity: int, currency: str) -> int:
        """Return the amount in minor units; raises UnknownProduct when it is not sold in ``currency``."""
        if currency not in self.prices:
            raise UnknownProduct(f"The product is not sold in {currency}.", field="product_id")
        return self.prices[currency] * quantity

    def sku(self, kind: str, product_id: str) -> str:
        """Return what channels of ``kind`` call this product."""
        return self.store.get(kind, product_id)


_Apps = TypeAdapter(dict[str, dict[ProductId, Product]])


class Catalogue:
    """The products of every app."""

    def __init__(self, products: dict[str, dict[str, Product]]) -> None:
        self.products = products

    def product(self, app: str, product_id: str) -> Product:
        """Return the product; raises UnknownProduct, for subscriptions too."""
        try:
            product = self.products[app][product_id]
        except KeyError:
            raise UnknownProduct("There is no such product.", field="product_id") from None
        if product.subscription:
            raise UnknownProduct("Subscriptions are not sold here yet.", field="product_id")
        return product


def read_catalogue(path: Path) -> Catalogue:
    """Read ``products.toml``; raises ConfigurationError with every fault and the full name of its key."""
    try:
        return Catalogue(_Apps.validate_python(tomllib.loads(path.read_text("utf-8"))))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(_faults(path, error)) from None


def _faults(path: Path, error: Exception) -> list[str]:
    if not isinstance(error, ValidationError):
        return [f"{path.name}: {error}"]
    return [f"{path.name}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]

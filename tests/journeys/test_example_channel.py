"""The channel of docs/writing-a-channel.md: installed from the page, bought through, and cheated."""

import hashlib
import hmac
import json
import secrets
import sys
import tomllib

import pytest

from payplat.registry import installed_doors
from tests.documents import DOCS, blocks

SECRET = secrets.token_hex(32)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PAGE = {
    block.marks.removeprefix("run "): block.code for block in blocks(DOCS / "writing-a-channel.md")
}


@pytest.fixture
def overrides(tmp_path, monkeypatch) -> dict[str, str]:
    """The package is installed as pip would: its module and what it offers; its table opens it."""
    project = tomllib.loads(PAGE["pyproject.toml"])["project"]
    offers = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in offered.items())
        for group, offered in project["entry-points"].items()
    )
    site = tmp_path / "site"
    about = site / f"payplat_cards-{project['version']}.dist-info"
    about.mkdir(parents=True)
    (site / "payplat_cards.py").write_text(PAGE["payplat_cards.py"])
    (about / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    (about / "entry_points.txt").write_text(offers)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "payplat_cards", raising=False)
    table = tomllib.loads(PAGE["payplat.toml"])["channels"]["cards"]
    assert table.pop("secret").startswith("file:")
    named = {f"PAYPLAT_CHANNELS__CARDS__{name.upper()}": value for name, value in table.items()}
    yield {**named, "PAYPLAT_CHANNELS__CARDS__SECRET": SECRET}
    sys.modules.pop("payplat_cards", None)


def sign(signed: bytes, secret: str = SECRET) -> str:
    """What the company, or who has that secret, signs it with."""
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def card(number: str = "000000000001", fen: int = 600, secret: str = SECRET) -> str:
    """A card's code."""
    return f"{number}.{fen}.{sign(f'{number}.{fen}'.encode(), secret)}"


async def submits(client, order_no: str, code: str):
    """A player types a code for an order."""
    return await client.call("POST", "/v1/verify/cards", {"order_no": order_no, "code": code})


@on_sqlite
async def test_a_card_pays_one_order_of_its_worth(client, stage):
    """A genuine card buys and is delivered; forged, of another worth, or used already, it does not."""
    assert "cards" in installed_doors()
    orders = [(await client.create(channel="cards")).json["order_no"] for _ in range(2)]
    refused = await submits(client, orders[0], card(secret="x" * 64))
    assert (refused.status, refused.json["code"]) == (400, "not_authentic")
    refused = await submits(client, orders[0], card(number="000000000002", fen=1))
    assert (refused.status, refused.json["code"]) == (409, "mismatch")
    paid = await submits(client, orders[0], card())
    assert (paid.status, paid.json["status"]) == (200, "paid")
    assert (await submits(client, orders[0], card())).status == 200
    used = await submits(client, orders[1], card())
    assert used.status == 409
    assert (await client.order(orders[1]))["status"] == "pending"
    await client.until(lambda: stage.merchant.fulfilled[orders[0]])
    assert dict(stage.merchant.fulfilled) == {orders[0]: 1}


@on_sqlite
async def test_a_till_tells_of_a_card(client, stage):
    """A signed notice pays its order; one that is not signed is refused, one not understood pays nothing."""
    order_no = (await client.create(channel="cards")).json["order_no"]
    notice = {"order_no": order_no, "number": "000000000003", "fen": 600}
    body = json.dumps(notice).encode()
    path = "/v1/callback/cards"
    assert (await client.call("POST", path, body, X_Signature=sign(body, "x" * 64))).status == 400
    odd = b'{"lottery": true}'
    assert (await client.call("POST", path, odd, X_Signature=sign(odd))).status == 204
    assert (await client.order(order_no))["status"] == "pending"
    assert (await client.call("POST", path, body, X_Signature=sign(body))).status == 204
    assert (await client.order(order_no))["status"] == "paid"

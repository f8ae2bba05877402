"""What the console's pages show and do, without a browser: search, deliveries, endpoints, the queue, files, figures."""

import csv
import io

import pytest
from sqlalchemy import text

from payplat.models import AUDIT, EVIDENCE
from tests.people import Person, person


@pytest.fixture
def overrides() -> dict[str, str]:
    """Late money is held."""
    return {
        "PAYPLAT_CHANNELS__ALIPAY__LATE": "hold",
    }


@pytest.fixture
async def ann(stage) -> Person:
    """An operator who has signed in."""
    return await person(stage, "ann")


async def paid(client, stage, **fields) -> str:
    """An order that was paid; no worker delivers it here."""
    order_no = await client.entered(**fields)
    await stage.alipay.pay(order_no)
    await client.until(lambda: client.count("payments", f"order_no='{order_no}'"))
    return order_no


async def change(client, statement: str) -> None:
    """Change rows as time would."""
    database = client.stage.platform.database
    await database.transaction(lambda c: c.execute(text(statement)))


async def acts(stage) -> list[tuple[str, str, str]]:
    """What is on record but sign-ins, oldest first."""
    rows = await stage.platform.database.read(lambda c: c.execute(AUDIT.select()))
    mine = [(row.operator, row.act, row.subject) for row in rows]
    return [act for act in mine if act[1] not in ("sign_in", "operator_created")]


def cells(reply) -> list[list[str]]:
    """A CSV file's rows, which begins with the mark that spreadsheets look for."""
    assert reply.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert reply.headers["Content-Disposition"].startswith("attachment")
    assert reply.body.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(reply.body.decode("utf-8-sig"), newline="")))


async def test_an_order_is_found_by_whatever_number(stage, client, ann):
    """Order, transaction, event, delivery: each leads to the order's page; a receiver to a list; nonsense to nothing."""
    order_no = await paid(client, stage)
    (transaction,) = (trade.trade_no for trade in stage.alipay.ledger.trades.values())
    database = stage.platform.database
    sent = (
        await database.read(lambda c: c.execute(text("SELECT id, event_id FROM deliveries")))
    ).one()
    event_id = sent.event_id if isinstance(sent.event_id, str) else sent.event_id.decode()
    for number in (order_no, transaction, event_id, str(sent.id), f" {order_no.upper()} "):
        reply = await ann.open(f"/search?q={number.replace(' ', '%20')}")
        assert reply.headers.get("Location") == f"/console/orders/{order_no}", number
    listed = await ann.open("/search?q=player-1")
    assert listed.status == 200
    assert order_no in listed.body.decode()
    assert "Nothing here bears that number." in (await ann.open("/search?q=nobody")).body.decode()
    assert (await ann.open("/search?q=x&q=y")).status == 400
    assert (await ann.open(f"/search?q={'x' * 5000}")).status == 400


async def test_an_orders_page_tells_all(stage, client, ann):
    """Why it is there, the transaction, the checks, the masked message and the deliveries; in Chinese too."""
    order_no = await paid(client, stage)
    page = (await ann.open(f"/orders/{order_no}")).body.decode()
    for told in (
        "has not acknowledged order.paid yet",
        "6.00 CNY",
        "signature: passed",
        "order.paid",
        "default/main",
    ):
        assert told in page
    (trade,) = stage.alipay.ledger.trades.values()
    assert trade.trade_no in page
    assert trade.buyer.logon_id not in page
    chinese = (await ann.open(f"/orders/{order_no}?lang=zh")).body.decode()
    assert "已支付" in chinese
    assert "签名" in chinese


async def test_what_users_wrote_stays_text(stage, client, ann):
    """A receiver and metadata that look like HTML or a script are shown, not run, and no formula reaches a file."""
    evil = '<script>alert(1)</script>"'
    created = await client.create(receiver="=cmd.1", metadata={"note": evil})
    order_no = created.json["order_no"]
    found = cells(await ann.open("/search.csv?q=%3Dcmd.1"))
    assert found[1][-1] == "'=cmd.1"
    for path in (f"/orders/{order_no}", "/search?q=%3Cscript%3E", f"/acts?before={evil}"):
        reply = await ann.open(path.replace('"', "%22").replace("<", "%3C").replace(">", "%3E"))
        assert b"<script>alert" not in reply.body


async def test_deliveries_are_filtered_and_sent_again(stage, client, ann):
    """By state, endpoint and type, page by page; ticked ones and all of a time go out again, each on record."""
    numbers = [await paid(client, stage) for _ in range(3)]
    await change(client, "UPDATE deliveries SET status='exhausted' WHERE id < 3")
    page = (
        await ann.open("/deliveries?status=exhausted&endpoint=default/main&type=order.paid")
    ).body.decode()
    assert [number in page for number in numbers] == [True, True, False]
    assert "Nothing here." in (await ann.open("/deliveries?type=order.refunded")).body.decode()
    assert (await ann.open("/deliveries?status=lost")).status == 400
    found = cells(await ann.open("/deliveries.csv?status=exhausted"))
    assert found[0][:4] == ["id", "status", "type", "order_no"]
    assert {row[3] for row in found[1:]} == set(numbers[:2])
    sent = await ann.press("/deliveries", "/deliveries/resend", delivery=["1"])
    assert b"It goes out again now." in sent.body
    assert await client.count("deliveries", "status='exhausted'") == 1
    await ann.press(
        "/deliveries", "/deliveries/resend", status="exhausted", span="hour", endpoint=""
    )
    assert await client.count("deliveries", "status='exhausted'") == 0
    for wrong in (
        {},
        {"delivery": "x"},
        {"status": "due", "span": "hour"},
        {"status": "exhausted", "span": "x"},
    ):
        assert (await ann.press("/deliveries", "/deliveries/resend", **wrong)).status == 400
    assert await acts(stage) == [
        ("ann", "resend", "delivery 1"),
        ("ann", "resend_all", "all endpoints"),
    ]


async def test_an_order_resends_its_own(stage, client, ann):
    """A delivery goes out again from its order's page; another order's does not, nor one that is on its way."""
    mine, other = [await paid(client, stage) for _ in range(2)]
    await change(client, "UPDATE deliveries SET status='exhausted'")
    here = f"/orders/{mine}"
    for wrong in ("2", "x", ""):
        assert (await ann.press(here, f"{here}/resend", delivery=wrong)).status == 400
    assert b"It goes out again now." in (await ann.press(here, f"{here}/resend", delivery="1")).body
    assert (await ann.press(here, f"{here}/resend", delivery="1")).status == 409
    assert await client.count("deliveries", f"status='exhausted' AND order_no='{other}'") == 1


async def test_an_endpoint_is_paused_and_resumed(stage, ann):
    """The page says so, and who did it is on record; an endpoint that is none is refused."""
    page = await ann.press("/deliveries", "/endpoints", endpoint="default/main", act="pause")
    assert b"Paused" in page.body
    page = await ann.press("/deliveries", "/endpoints", endpoint="default/main", act="resume")
    assert b"What waited goes out now." in page.body
    for wrong in (
        {"endpoint": "default/other", "act": "pause"},
        {"endpoint": "default/main", "act": "sell"},
    ):
        assert (await ann.press("/deliveries", "/endpoints", **wrong)).status == 400
    assert await acts(stage) == [
        ("ann", "pause", "default/main"),
        ("ann", "resume", "default/main"),
    ]


async def test_what_was_put_aside_is_resolved_with_a_reason(stage, client, ann):
    """A second payment of an order waits in the queue until an operator says why nothing is left to do."""
    order_no = await paid(client, stage)
    await change(
        client, f"UPDATE evidence SET state='excess', reason='excess' WHERE order_no='{order_no}'"
    )
    page = (await ann.open("/quarantine?kind=excess")).body.decode()
    assert "Paid twice" in page
    assert order_no in page
    assert cells(await ann.open("/quarantine.csv"))[1][1:4] == ["excess", "excess", order_no]
    (row,) = (await stage.platform.database.read(lambda c: c.execute(EVIDENCE.select()))).all()
    nothing = await ann.press("/quarantine", "/quarantine/resolve", evidence=row.id, reason=" ")
    assert nothing.status == 400
    page = await ann.press(
        "/quarantine", "/quarantine/resolve", evidence=row.id, reason="given back at the desk"
    )
    assert b"Nothing to decide." in page.body
    again = await ann.press("/acts", "/quarantine/resolve", evidence=row.id, reason="again")
    assert again.status == 409
    assert await acts(stage) == [("ann", "resolve_evidence", f"evidence {row.id}")]
    assert (await ann.open("/quarantine?kind=lost")).status == 400


async def test_nobody_decides_alone(stage, client, ann):
    """Who proposed may not approve, not even by a form of one's own; a colleague may, once."""
    order_no = await client.entered()
    await change(
        client,
        f"UPDATE orders SET expires_at=1, status='closed', settled_at=2 WHERE order_no='{order_no}'",
    )
    await stage.alipay.pay(order_no)
    await client.until(lambda: client.count("orders", "status='held'"))
    here = f"/orders/{order_no}"
    assert (await ann.press(here, f"{here}/propose", act="sell", reason="x")).status == 400
    page = await ann.press(here, f"{here}/propose", act="release", reason="the bank was slow")
    assert b"the bank was slow" in page.body
    assert (await ann.press(here, "/proposals/1", decision="approved")).status == 403
    assert (await ann.press(here, "/proposals/1", decision="perhaps")).status == 400
    assert (await client.order(order_no))["status"] == "held"
    bob = await person(stage, "bob")
    assert (
        b"Approved and done." in (await bob.press(here, "/proposals/1", decision="approved")).body
    )
    assert (await client.order(order_no))["status"] == "paid"
    assert (await bob.press(here, "/proposals/1", decision="approved")).status == 409
    assert [act for _, act, _ in await acts(stage)] == ["propose", "approved"]


async def test_the_provider_is_asked_when_an_operator_wants(stage, client, ann):
    """A payment whose notice was lost is found by the button."""
    stage.alipay.faults.notification(drop=True)
    order_no = await client.entered()
    await stage.alipay.pay(order_no)
    page = await ann.press(f"/orders/{order_no}", f"/orders/{order_no}/verify")
    assert b"The provider was asked." in page.body
    assert (await client.order(order_no))["status"] == "paid"
    assert ("ann", "verify", order_no) in await acts(stage)


async def test_the_start_page_counts_and_charts(stage, client, ann):
    """What waits is counted, and each chart has its numbers in a table beside it; the live part is the same."""
    await paid(client, stage)
    page = (await ann.open("")).body.decode()
    assert (
        page.count("data-chart=")
        == page.count("data-series=")
        == page.count('<details id="table-')
        == 4
    )
    assert "<b>1</b> deliveries on their way" in page
    part = (await ann.open("/live")).body.decode()
    assert "<b>1</b> deliveries on their way" in part
    assert "<html" not in part


async def test_channels_are_judged(stage, ann):
    """Every channel of the configuration is there with its verdict."""
    page = (await ann.open("/channels")).body.decode()
    for channel in stage.platform.channels:
        assert f'id="channel-{channel}"' in page


async def test_acts_are_a_file_too(stage, ann):
    """The audit log can be taken away as CSV."""
    found = cells(await ann.open("/acts.csv"))
    assert found[0] == ["at", "operator", "act", "subject", "detail"]
    assert ["ann", "sign_in", "ann", ""] in [row[1:] for row in found]


async def test_files_are_served_for_good_and_only_they(stage):
    """Scripts and styles are cached for ever under an address of their own; nothing else is read."""
    guest = Person(stage)
    page = (await guest.open("/sign-in")).body.decode()
    address = page.partition('href="/console')[2].partition('"')[0]
    reply = await guest.open(address)
    assert (reply.status, "immutable" in reply.headers["Cache-Control"]) == (200, True)
    for path in ("/static/nothing.css", "/static/..%2Fwords.py", "/static/%2e%2e/words.py"):
        assert (await guest.open(path)).status in (303, 404)

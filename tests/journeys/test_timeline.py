"""An order's timeline explains itself: each question, each check and each message stand in it, told in two languages."""

import asyncio
import json
import re

import pytest

from payplat import seam
from payplat.audit import list_acts
from payplat.errors import Conflict
from payplat.events import Events
from payplat.lanes import LEASE
from payplat.reconcile import QUEUE
from payplat.terminal import operator
from tests.doors import apple, google
from tests.ledger.build import in_world
from tests.ledger.test_lost_commit import replies_lost
from tests.processes import run, run_here


@pytest.fixture
def works() -> bool:
    """No job asks, delivers or tries."""
    return False


@pytest.fixture
def overrides(request) -> dict[str, str]:
    """The schedule's own checks are far away."""
    return {"PAYPLAT_CHECKS__BASE_SECONDS": "600", "PAYPLAT_CHECKS__JITTER": "0"}


@pytest.fixture
def typed(stage, database_url):
    """Runs a payplat command in here on the stage's database."""

    async def typed(*arguments: str, **environ: str):
        environ = {"PAYPLAT_DATABASE__URL": database_url, **environ}
        return await asyncio.to_thread(run_here, stage, *arguments, **environ)

    return typed


@pytest.fixture
def asked(stage, database_url):
    """Runs `payplat orders verify` as a process; returns its exit code and what it printed."""

    async def asked(order_no: str, *arguments: str) -> tuple[int, str]:
        environ = {"PAYPLAT_DATABASE__URL": database_url, "LANG": "C"}
        ended = await asyncio.to_thread(
            run, stage, "orders", "verify", order_no, *arguments, **environ
        )
        return ended.returncode, ended.stdout + ended.stderr

    return asked


async def read(client, order_no: str, what: str) -> list[dict]:
    """The lines of that name."""
    timeline = (await client.order(order_no))["timeline"]
    assert all(set(line["told"]) == {"en", "zh"} for line in timeline)
    return [line for line in timeline if line["what"] == what]


async def outcomes(client, order_no: str) -> list[str]:
    """What came of each question."""
    return [line["detail"]["outcome"] for line in await read(client, order_no, "queried")]


async def check(client, order_no: str) -> None:
    """Ask as the job does, whatever the schedule says."""
    await client.stage.platform.reconciler.verify(await client.stage.platform.orders.get(order_no))


class Later(seam.World):
    """A world whose clock is ahead."""

    def now(self) -> int:
        """The real time and more."""
        return super().now() + 2000 * seam.SECOND


async def test_each_question_is_told_with_its_outcome(client, stage):
    """Unpaid, no answer, not understood, paid: a line each, with its milliseconds, before what follows from it."""
    stage.alipay.faults.notification(drop=True)
    order_no = await client.entered()
    await check(client, order_no)
    stage.alipay.next_answers(*["http_500"] * 3)
    await check(client, order_no)
    await stage.alipay.pay(order_no)
    await check(client, order_no)
    assert await outcomes(client, order_no) == ["unpaid", "unavailable", "paid"]
    timeline = (await client.order(order_no))["timeline"]
    assert [line["what"] for line in timeline] == ["opened", *["queried"] * 3, "paid"]
    unpaid, silent, paid = timeline[1:4]
    assert re.fullmatch(
        r"The provider was asked and said after \d+ ms: not paid yet\.", unpaid["told"]["en"]
    )
    assert re.fullmatch(r"已向渠道查询（\d+ 毫秒）：已支付。", paid["told"]["zh"])
    assert silent["detail"]["error"] in silent["told"]["en"]
    assert {line["actor"] for line in timeline[1:]} == {"reconcile"}
    await check(client, order_no)
    assert len(await outcomes(client, order_no)) == 3


async def test_a_question_is_told_once(client):
    """Also when the reply to the commit that tells of it is lost; the schedule stands as it did."""
    order_no = await client.entered()
    with in_world(replies_lost(skip=4)):  # it was read, taken, and the answer settled
        await check(client, order_no)
    assert await outcomes(client, order_no) == ["unpaid"]
    assert await client.count("orders", "lease_token IS NULL AND checked_at IS NOT NULL") == 1


async def test_an_order_that_expires_shows_both_questions(client, stage, monkeypatch):
    """Before the order is closed there Alipay is asked, and afterwards again."""
    order_no = await client.entered()
    monkeypatch.setattr(seam, "world", Later())
    await check(client, order_no)
    assert await outcomes(client, order_no) == ["unpaid", "closed"]
    (closed,) = await read(client, order_no, "closed")
    assert [each["result"] for each in closed["checks"]] == [
        "passed",
        "not_stated",
        "not_stated",
        "passed",
    ]


async def test_where_only_the_clock_answers_nobody_was_asked(client, stage, monkeypatch):
    """A store's order that ends without a purchase is closed, and no question is told that nobody put."""
    order_no = (await client.create(channel="google")).json["order_no"]
    monkeypatch.setattr(seam, "world", Later())
    await client.stage.platform.database.transaction(
        lambda c: c.exec_driver_sql("UPDATE orders SET next_check_at=1")
    )
    (row,) = await QUEUE.claim(stage.platform.database, "google", limit=1, lease=LEASE)
    await stage.platform.reconciler.check(row)
    told = (await client.order(order_no))["timeline"]
    assert [line["what"] for line in told] == ["opened", "closed"]


async def test_a_notice_is_shown_masked_with_its_checks(client, stage):
    """The paid line shows what Alipay sent, readable but for who paid and the signature, and four checks that passed."""
    order_no = await client.entered()
    await stage.alipay.pay(order_no)
    await client.until(lambda: client.count("payments"))
    (paid,) = await read(client, order_no, "paid")
    assert [(c["check"], c["result"]) for c in paid["checks"]] == [
        ("order", "passed"),
        ("product", "passed"),
        ("amount", "passed"),
        ("signature", "passed"),
    ]
    message = paid["message"]
    assert (message["source"], message["state"]) == ("callback", "used")
    raw = message["raw"]
    assert (raw["out_trade_no"], raw["total_amount"]) == (order_no, "6.00")
    assert raw["trade_no"] == paid["detail"]["transaction_id"]
    assert all("…" in raw[name] and len(raw[name]) < 12 for name in ("sign", "buyer_id"))
    assert paid["told"]["en"] == (
        f"Paid 6.00 CNY by transaction {raw['trade_no']}, learnt from the provider's notice."
    )


async def test_what_was_put_aside_names_the_check_that_failed(client, stage):
    """A genuine notice about less money: the amount failed, the order and the signature passed."""
    stage.alipay.faults.notification(drop=True)
    order_no = await client.entered()
    await stage.alipay.pay(order_no)
    assert (
        await client.callback(stage.alipay.notification_body(order_no, amount_off=1))
    ).body == b"fail"
    (line,) = await read(client, order_no, "quarantined")
    results = {check["check"]: check["result"] for check in line["checks"]}
    assert (results["order"], results["amount"], results["signature"]) == (
        "passed",
        "failed",
        "passed",
    )
    assert line["message"]["state"] == "quarantined"


async def test_receipts_of_stores_are_shown_masked(client):
    """A receipt shows what the device sent, and once it is known what the store answered; no token is whole."""
    android = google.Player(client)
    order_no, purchase = await android.bought()
    android.google.next_answers(*["internalError"] * 3, path=purchase.purchase_token)
    assert (await android.submits(order_no, purchase)).status == 202
    (waiting,) = await read(client, order_no, "evidence_waiting")
    assert waiting["message"]["state"] == "waiting"
    await check(client, order_no)
    assert await outcomes(client, order_no) == ["paid"]
    (paid,) = await read(client, order_no, "paid")
    assert paid["message"]["answer"]["orderId"].startswith("GPA.")
    shown = json.dumps([paid["told"], paid["message"], waiting["message"]])
    assert purchase.purchase_token not in shown
    assert purchase.purchase_token[:4] in shown
    iphone = apple.Player(client)
    order_no, receipt = await iphone.bought()
    assert (await iphone.submits(order_no, receipt.jws)).status == 200
    (paid,) = await read(client, order_no, "paid")
    assert paid["message"]["raw"]["payload"]["transactionId"] == receipt.transaction_id
    assert receipt.jws.rsplit(".", 1)[1] not in json.dumps(await client.order(order_no))


async def test_a_message_that_changed_nothing_is_shown(client, stage):
    """A genuine notice of a state that nobody knows leaves no line of the ledger, and is told all the same."""
    order_no = await client.entered()
    body = stage.alipay.notification_body(order_no, trade_status="TRADE_ODD")
    await client.callback(body)
    (kept,) = await read(client, order_no, "evidence_kept")
    assert kept["detail"]["state"] == "quarantined"
    assert kept["message"]["raw"]["trade_status"] == "TRADE_ODD"


async def test_an_operator_reads_the_timeline(client, stage, typed):
    """`orders timeline` tells in his language what the API tells; only --raw shows messages, --json is the API's list."""
    order_no = await client.entered()
    await stage.alipay.pay(order_no)
    await client.until(lambda: client.count("payments"))
    timeline = (await client.order(order_no))["timeline"]
    narrow = {"COLUMNS": "400"}
    for language, environ in (
        ("en", {"LANG": "C"}),
        ("zh", {"LC_ALL": "zh_CN.UTF-8", "LANG": "C"}),
    ):
        ended = await typed("orders", "timeline", order_no, **environ, **narrow)
        assert ended.returncode == 0, ended.stderr
        assert all(line["told"][language] in ended.stdout for line in timeline)
        assert "✓ amount" in ended.stdout
        assert "total_amount" not in ended.stdout
    shown = (await typed("orders", "timeline", order_no, "--raw", **narrow)).stdout
    assert '"total_amount": "6.00"' in shown
    listed = await typed("orders", "timeline", order_no, "--raw", "--json")
    assert json.loads(listed.stdout) == timeline
    bare = json.loads((await typed("orders", "timeline", order_no, "--json")).stdout)
    assert [line.keys() | {"message"} for line in bare] == [line.keys() for line in timeline]
    for unknown in ("0" * 32, "x" * 99):
        ended = await typed("orders", "timeline", unknown)
        assert (ended.returncode, "no such order" in ended.stderr) == (1, True)


async def test_an_operator_asks_now(client, stage, asked):
    """`orders verify` settles what nobody told of, says how it stands, and is on record; a paid one asks nobody."""
    stage.alipay.faults.notification(drop=True)
    order_no = await client.entered()
    code, told = await asked(order_no)
    assert (code, "not paid yet" in told, "No payment is known yet" in told) == (0, True, True)
    await stage.alipay.pay(order_no)
    code, told = await asked(order_no, "--json")
    assert code == 0, told
    assert json.loads(told)["status"] == "paid"
    assert [q["outcome"] for q in json.loads(told)["questions"]] == ["paid"]
    code, told = await asked(order_no, "--lang", "zh")
    assert (code, "订单已于" in told) == (0, True)
    acts = await list_acts(stage.platform.database, subject=order_no)
    assert [(act.act, act.detail["outcomes"]) for act in acts] == [
        ("verify", []),
        ("verify", ["paid"]),
        ("verify", ["unpaid"]),
    ]
    assert {act.operator for act in acts} == {operator()}
    stage.alipay.faults.answer("http_500", times=None)
    code, told = await asked(await client.entered())
    assert (code, "no answer that can be believed" in told) == (1, True)


async def test_only_one_asks(client, stage):
    """An order that somebody is asking about is not asked about again meanwhile."""
    order_no = await client.entered()
    await client.stage.platform.database.transaction(
        lambda c: c.exec_driver_sql("UPDATE orders SET lease_token='another'")
    )
    with pytest.raises(Conflict, match="just now"):
        await check(client, order_no)
    assert await outcomes(client, order_no) == []


async def test_an_operator_reads_events(client, stage, typed, monkeypatch):
    """`events list` pages through what merchants pull, by app and type; `show` tells one with its deliveries."""
    monkeypatch.setattr("payplat.events.SETTLED_AFTER", -1)
    numbers = [await client.entered() for _ in range(2)]
    for order_no in numbers:
        await stage.alipay.pay(order_no)
    await client.until(lambda: client.count("payments"))
    page = await Events(stage.platform.database).page("default", "", "", 10)
    assert [event["order_no"] for event in page.events] == numbers
    listed = await typed("events", "list", "--json")
    assert json.loads(listed.stdout) == page.events
    first, second = (event["id"] for event in page.events)
    shown = (await typed("events", "list", "--limit", "1")).stdout
    assert (first in shown, f"more with --after {first}" in shown, second in shown) == (
        True,
        True,
        False,
    )
    assert second in (await typed("events", "list", "--after", first)).stdout
    assert (
        json.loads((await typed("events", "list", "--type", "order.refunded", "--json")).stdout)
        == []
    )
    assert (await typed("events", "list", "--app", "nobody")).returncode == 2
    told = json.loads((await typed("events", "show", first, "--json")).stdout)
    assert {name: value for name, value in told.items() if name != "deliveries"} == page.events[0]
    assert [(d["endpoint"], d["status"]) for d in told["deliveries"]] == [("default/main", "due")]
    assert (
        "to default/main: due, 0 failed attempts" in (await typed("events", "show", first)).stdout
    )
    for unknown in (f"evt_{'0' * 32}", "x" * 99):
        ended = await typed("events", "show", unknown)
        assert (ended.returncode, "no such event" in ended.stderr) == (1, True)

"""The judge: compares what the provider and the merchant know with the database, and asks nobody of payplat's code."""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from payplat.simulators.alipay.wire import fen
from tests.prove.alipay import Alipay, Trade
from tests.prove.merchant import Merchant, Sent
from tests.prove.wire import Call, Reply

KINDS = ("lost", "double", "early", "unexplained")
EDGES = {
    ("pending", "paid"),
    ("pending", "closed"),
    ("pending", "refunded"),
    ("closed", "paid"),
    ("closed", "held"),
    ("closed", "refunded"),
    ("held", "paid"),
    ("held", "refunded"),
    ("paid", "refunded"),
}
# Written by the judge into the database under test: what became of rows, seen from below.
WITNESSES = """
CREATE TABLE witnessed (order_no TEXT, old TEXT, new TEXT);
CREATE TRIGGER order_moved AFTER UPDATE OF status ON orders WHEN old.status IS NOT new.status
  BEGIN INSERT INTO witnessed VALUES (new.order_no, old.status, new.status); END;
CREATE TRIGGER order_gone AFTER DELETE ON orders
  BEGIN INSERT INTO witnessed VALUES (old.order_no, old.status, 'deleted'); END;
CREATE TRIGGER line_gone AFTER DELETE ON timeline
  BEGIN INSERT INTO witnessed VALUES (old.order_no, 'timeline', 'deleted'); END;
CREATE TRIGGER line_changed AFTER UPDATE ON timeline
  BEGIN INSERT INTO witnessed VALUES (old.order_no, 'timeline', 'changed'); END;
CREATE TRIGGER event_gone AFTER DELETE ON events
  BEGIN INSERT INTO witnessed VALUES (old.order_no, 'event', 'deleted'); END;
CREATE TRIGGER event_changed AFTER UPDATE ON events
  BEGIN INSERT INTO witnessed VALUES (old.order_no, 'event', 'changed'); END;
CREATE TRIGGER delivery_gone AFTER DELETE ON deliveries
  BEGIN INSERT INTO witnessed VALUES (old.order_no, 'delivery', 'deleted'); END;
CREATE TRIGGER payment_changed AFTER UPDATE ON payments
  BEGIN INSERT INTO witnessed VALUES (old.order_no, 'payment', 'changed'); END;
"""


@dataclass(frozen=True)
class Finding:
    """Something that must not be."""

    kind: str
    order_no: str
    says: str


class Judge:
    """Looks as it goes and in the end; ``findings`` are what it found."""

    def __init__(self, file: Path, alipay: Alipay, clock: Callable[[], float]) -> None:
        self.findings: list[Finding] = []
        self._clock = clock
        self.troubles: defaultdict[str, list[float]] = defaultdict(list)
        self._alipay = alipay
        self._database = sqlite3.connect(file, isolation_level=None, timeout=0)
        self._database.row_factory = sqlite3.Row
        self._clean: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)

    def find(self, kind: str, order_no: str, says: str) -> None:
        """Take down a finding."""
        self.findings.append(Finding(kind, order_no, says))

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """Read what is committed."""
        return self._database.execute(query, values).fetchall()

    # --- As it goes ---

    def replied(self, call: Call, reply: Reply) -> None:
        """We gave an answer; what it says is on record already, or it may be lost."""
        if reply.status == 200 and reply.body == b"success":
            self._acknowledged(dict(parse_qsl(call.body.decode(), keep_blank_values=True)))
        elif reply.status in (200, 201) and call.target.startswith(("/v1/orders/", "/v1/verify/")):
            order = reply.json
            known = self.rows("SELECT status FROM orders WHERE order_no = ?", order["order_no"])
            if not known or (known[0]["status"] == "pending" and order["status"] != "pending"):
                self.find("lost", order["order_no"], f"told as {order['status']} before the commit")
        elif reply.status == 201:
            known = self.rows("SELECT 1 FROM orders WHERE order_no = ?", reply.json["order_no"])
            if not known:
                self.find("lost", reply.json["order_no"], "opened, and not on record")

    def _acknowledged(self, notice: dict[str, str]) -> None:
        """The provider got our word that money is on record; it will not tell us again."""
        number, transaction = notice["out_trade_no"], notice["trade_no"]
        paid = "SELECT 1 FROM payments WHERE order_no = ? AND transaction_id = ?"
        if self.rows(paid, number, transaction):
            back = fen(notice.get("refund_fee", "0.00"))
            known = "SELECT 1 FROM orders WHERE order_no = ? AND refunded >= ?"
            if not self.rows(known, number, back):
                self.find("lost", number, "a refund was acknowledged, and is not on record")
        elif not self._is_aside(number, transaction):
            self.find("lost", number, "a payment was acknowledged, and is not on record")

    def delivered(self, event_id: str, event: dict[str, Any]) -> None:
        """A merchant learns of an event: its order was paid, and that was committed."""
        order_no = event["data"]["order_no"]
        trade = self._alipay.trades.get(order_no)
        if trade is None or not trade.paid:
            self.find("early", order_no, f"{event['type']} before anybody paid")
        elif not self.rows("SELECT 1 FROM payments WHERE order_no = ?", order_no):
            self.find("early", order_no, f"{event['type']} before it was on record")
        elif event["data"]["amount"] != trade.total or event["data"]["currency"] != "CNY":
            self.find("unexplained", order_no, "the merchant was told another amount")

    def answered(self, endpoint: str, event_id: str, process: str) -> None:
        """A process received the 2xx of an endpoint."""
        self._clean[endpoint, event_id].append((process, self._clock()))

    def trouble(self, process: str) -> None:
        """Something happened to a process, or to all without a name, that may make it do things again."""
        self.troubles[process].append(self._clock())

    # --- In the end ---

    def is_settled(self) -> bool:
        """Tell whether nothing is left to be done."""
        queries = (
            "SELECT 1 FROM orders WHERE status = 'pending' OR next_check_at IS NOT NULL LIMIT 1",
            "SELECT 1 FROM deliveries WHERE status != 'delivered' LIMIT 1",
            "SELECT 1 FROM duties WHERE status IN ('due', 'exhausted') LIMIT 1",
        )
        return self._alipay.unsent == 0 and not any(self.rows(query) for query in queries)

    def close(self, merchants: Iterable[Merchant]) -> None:
        """Check everything that can be checked when all had the time to become quiet."""
        orders = {row["order_no"]: row for row in self.rows("SELECT * FROM orders")}
        payments = {row["order_no"]: row for row in self.rows("SELECT * FROM payments")}
        for order_no, trade in self._alipay.trades.items():
            self._check_money(trade, orders.get(order_no), payments.get(order_no))
        for order_no, row in orders.items():
            self._check_order(row, payments.get(order_no))
        self._check_events(orders, payments)
        self._check_deliveries({m.name: m for m in merchants})
        for row in self.rows(_STALE):
            self.find(
                "unexplained", row["order_no"], "a try was recorded after the one that succeeded"
            )
        self._check_witnesses()
        self._check_timelines(orders)

    def _check_money(self, trade: Trade, order: Any, payment: Any) -> None:
        number = trade.order_no
        if order is None:
            return self.find("lost", number, "the provider knows an order that we do not")
        if not trade.paid:
            if payment is not None or order["status"] in ("paid", "held", "refunded"):
                self.find("early", number, f"{order['status']}, and nobody paid")
            return None
        if payment is None:
            return self.find("lost", number, f"paid at the provider, here {order['status']}")
        numbers = {n for n, _, _ in trade.paid}
        if payment["transaction_id"] not in numbers:
            self.find("unexplained", number, "a payment that the provider does not know")
        if (payment["amount"], payment["currency"]) != (trade.total, "CNY"):
            self.find("unexplained", number, "another amount than the provider took")
        for other in numbers - {payment["transaction_id"]}:
            if not self._is_aside(number, other):
                self.find("lost", number, "paid twice, and the second payment is nowhere")
        return self._check_refunds(trade, order)

    def _check_refunds(self, trade: Trade, order: Any) -> None:
        number = trade.order_no
        if order["refunded"] != trade.refunded:
            self.find("lost", number, f"refunded {order['refunded']} of {trade.refunded}")
        is_back = trade.refunded == trade.total
        if is_back != (order["status"] == "refunded"):
            self.find("unexplained", number, f"{order['status']} with {trade.refunded} refunded")

    def _is_aside(self, order_no: str, transaction: str) -> bool:
        rows = self.rows(
            "SELECT raw FROM evidence WHERE order_no = ? AND state = 'excess'", order_no
        )
        return any(transaction.encode() in bytes(row["raw"]) for row in rows)

    def _check_order(self, order: Any, payment: Any) -> None:
        number, status = order["order_no"], order["status"]
        if (payment is not None) != (status in ("paid", "held", "refunded")):
            self.find("unexplained", number, f"{status}, payment {payment is not None}")
        if status == "pending":
            self.find("unexplained", number, "still pending")
        if payment is None:
            return
        proof = "SELECT 1 FROM evidence WHERE sha256 = ? AND order_no = ? AND state = 'used'"
        if not (payment["verifier"] and self.rows(proof, payment["evidence_sha256"], number)):
            self.find("unexplained", number, "a payment without its proof")
        if (payment["amount"], payment["currency"]) != (order["amount"], order["currency"]):
            self.find("unexplained", number, "the payment differs from its order")

    def _check_events(self, orders: dict[str, Any], payments: dict[str, Any]) -> None:
        paid, refunded = Counter[str](), Counter[str]()
        for row in self.rows("SELECT order_no, type, body FROM events"):
            data = json.loads(row["body"])["data"]
            if row["type"] == "order.paid":
                paid[row["order_no"]] += 1
            elif row["type"] == "order.refunded":
                refunded[row["order_no"]] += data["refund"]["amount"]
        told = Counter(row["order_no"] for row in self.rows(_TOLD))
        for number, order in orders.items():
            # Held money and money that went back before it came are nobody's business yet.
            must = order["status"] == "paid" or bool(told[number])
            if paid[number] != must or (must and number not in payments):
                self.find(
                    "unexplained", number, f"{order['status']} with {paid[number]} order.paid"
                )
            if refunded[number] != order["refunded"]:
                self.find("unexplained", number, "the refund events do not add up")

    def _check_deliveries(self, merchants: dict[str, Merchant]) -> None:
        for row in self.rows(
            "SELECT d.*, e.type FROM deliveries d JOIN events e ON e.event_id = d.event_id"
        ):
            merchant = merchants[row["endpoint"]]
            sent = merchant.attempts.get(row["event_id"], [])
            if row["status"] != "delivered":
                self.find("lost", row["order_no"], f"{row['type']} is {row['status']}")
            elif row["event_id"] not in merchant.effects:
                self.find("lost", row["order_no"], f"{row['type']} delivered, and nobody has it")
            self._check_repeats(row, sent)

    def _check_repeats(self, row: Any, sent: list[Sent]) -> None:
        """After a 2xx that arrived nothing is sent again, unless its receiver was in trouble."""
        for process, at in self._clean[row["endpoint"], row["event_id"]]:
            again = [s for s in sent if s.at > at]
            troubles = self.troubles[process] + self.troubles[""]
            if again and not any(at - 60 <= t <= again[0].at for t in troubles):
                said = f"{row['type']} sent again after a 2xx that {process} had"
                return self.find("double", row["order_no"], said)
        return None

    def _check_witnesses(self) -> None:
        for row in self.rows("SELECT * FROM witnessed"):
            if (row["old"], row["new"]) not in EDGES:
                self.find("unexplained", row["order_no"], f"{row['old']} → {row['new']}")

    def _check_timelines(self, orders: dict[str, Any]) -> None:
        """The last line that names a state names the order's."""
        last: dict[str, str] = {}
        for row in self.rows("SELECT order_no, detail FROM timeline ORDER BY id"):
            moved = json.loads(row["detail"]).get("to")
            if moved:
                last[row["order_no"]] = moved
        for number, order in orders.items():
            if last.get(number, "pending") != order["status"]:
                says = f"{order['status']}, but its timeline says {last.get(number)}"
                self.find("unexplained", number, says)


_STALE = """SELECT d.order_no FROM attempts late JOIN attempts ok
  ON ok.delivery_id = late.delivery_id AND ok.ok = 1 AND ok.id < late.id
  JOIN deliveries d ON d.id = late.delivery_id"""
_TOLD = "SELECT order_no FROM timeline WHERE what IN ('paid', 'paid_late', 'released')"

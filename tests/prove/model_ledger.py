"""What a verdict must do: the ledger told a second time, from the design and not from its code.

Only the input is shared with the ledger: a verdict's fields. What follows from them is written down here once more, the
short way: no database, no batches, one thing after the other.
"""

from typing import Any

from payplat.purchase import Verdict
from tests.prove.model_books import Books, transaction_of
from tests.prove.model_state import Back, Sold

_MONEY = ("paid", "refunded")
_NO_NEWS = ("repeated", "unchanged")


class Ledger(Books):
    """Decides what comes of verdicts."""

    def settle(self, told: Verdict) -> str:
        """Let a verdict do to its order what it must; return what came of it."""
        state, transaction = self.state, transaction_of(told)
        owner = next((n for n, o in state.orders.items() if o.paid_by == transaction), None)
        number = told.order_no or (owner if transaction else None) or ""
        order = state.orders.get(number)
        if order is None:
            return self._keep_a_stranger(told)
        if self._misfits(order, told) or self._contradicts(number, order, told, owner):
            self.keep(told, number, "quarantined")
            return "mismatch"
        if order.paid_by and transaction and told.state in _MONEY and transaction != order.paid_by:
            self.keep(told, number, "excess")
            return "excess"
        if self._has_a_taken_name(number, told):
            self.keep(told, number, "quarantined")
            return "mismatch"
        result = self._apply(number, order, told)
        if told.notice:
            noticed = self._notice(number, order, told)
            result = noticed if result in _NO_NEWS else result
        if result not in _NO_NEWS:
            self.keep(told, number, "used")
        elif told.state == "unknown" and told.evidence.source == "callback" and not told.notice:
            self.keep(told, number, "quarantined")
        return result

    def _keep_a_stranger(self, told: Verdict) -> str:
        is_purchase = bool(told.order_no or told.transaction_id)
        self.keep(told, told.order_no, "unclaimed" if is_purchase else "used")
        pays = told.state == "paid" and _states_payment(told)
        is_alarming = pays or not (told.refund or told.notice)
        return "unknown_order" if is_purchase and is_alarming else "recorded"

    # --- Does it fit? ---

    def _misfits(self, order: Sold, told: Verdict) -> bool:
        goods, is_ours = order.goods, transaction_of(told) == order.paid_by is not None
        stated = {
            (goods.kind, goods.environment, goods.account)
            == (told.kind, told.environment, told.account),
            told.product in (None, goods.sku),
            told.quantity in (None, goods.quantity),
            told.consumable in (None, goods.consumable),
            self._fits_in_money(order, told) or (is_ours and told.amount is None),
            self._refund_makes_sense(order, told),
            not told.objection or is_ours,
        }
        return False in stated

    def _fits_in_money(self, order: Sold, told: Verdict) -> bool:
        if not _states_payment(told):
            return told.state != "paid" or told.refund is not None
        if order.amount is not None:
            return (told.amount, told.currency) == (order.amount, order.currency)
        return told.amount is None or (told.amount > 0 and told.currency is not None)

    def _refund_makes_sense(self, order: Sold, told: Verdict) -> bool:
        if told.refund is None:
            return told.state != "refunded"
        most = max(told.refund.total or 0, told.refund.amount or 0)
        return bool(told.transaction_id) and (order.amount is None or most <= order.amount)

    def _contradicts(self, number: str, order: Sold, told: Verdict, owner: str | None) -> bool:
        if transaction_of(told) and owner not in (None, number):
            return True
        return self._refund_contradicts(number, order, told)

    def _refund_contradicts(self, number: str, order: Sold, told: Verdict) -> bool:
        transaction, backs = transaction_of(told), self.state.backs[number]
        came = order.amount
        if came is None and _states_payment(told):
            came = told.amount
        back, refund = self.sum_back(number, transaction), told.refund
        if refund is not None:
            if refund.key in backs and backs[refund.key].of != transaction:
                return True
            if refund.key not in backs and not refund.reversed:
                back += self.part(number, told) or 0
        return came is not None and back > came

    def _has_a_taken_name(self, number: str, told: Verdict) -> bool:
        """Tell whether it would enter a refund under a name that another order's refund has."""
        if told.refund is None or told.state not in _MONEY or self._is_entered(number, told):
            return False
        name, account = _mark(told), (told.kind, told.environment, told.account)
        backs = (others.get(name) for others in self.state.backs.values())
        return any(back is not None and back.of[:3] == account for back in backs)

    def _is_entered(self, number: str, told: Verdict) -> bool:
        assert told.refund is not None
        part = self.part(number, told)
        is_nothing = not told.refund.reversed and part is not None and part <= 0
        return is_nothing or _mark(told) in self.state.backs[number]

    # --- What it does ---

    def _apply(self, number: str, order: Sold, told: Verdict) -> str:
        if told.state == "closed":
            return self._close(number, order, told)
        if told.state not in _MONEY:
            return "unchanged"
        result, was_paid = "unchanged", order.paid_by is not None
        if told.refund:
            undo = self._reverse if told.refund.reversed else self._refund
            result = undo(number, order, told)
        if not was_paid and _states_payment(told):
            paid = self._pay(number, order, told)
            return result if result not in _NO_NEWS else paid
        if not was_paid or result not in _NO_NEWS:
            return result
        return "repeated"

    def _close(self, number: str, order: Sold, told: Verdict) -> str:
        if order.status == "paid":
            self.keep(told, number, "quarantined")
        if order.status != "pending":
            return "unchanged"
        order.status = "closed"
        self.owe_nothing_more_to_ask(order)
        return "closed"

    def _pay(self, number: str, order: Sold, told: Verdict) -> str:
        is_late = order.status == "closed" and self._late_policy(order) != "deliver"
        order.paid_by = transaction_of(told)
        if order.amount is None and told.amount:
            order.amount, order.currency = told.amount, told.currency
        order.refunded = self.refunded(number, order)
        if self.is_all_back(number, order):
            order.status = "refunded"
        elif is_late:
            order.status = "held"
        else:
            self.deliver(number, order)
        if told.is_claimed:
            self.find_owner(order.paid_by, number)
        self._owe_all(number, order, told)
        for key in self.standing(number, order.paid_by):
            self.tell(number, "order.refunded", key)
        self.owe_nothing_more_to_ask(order)
        return order.status

    def _owe_all(self, number: str, order: Sold, told: Verdict) -> None:
        status = "held" if order.status == "held" else "due"
        for owed in told.owes if order.status != "refunded" else ():
            self.owe(number, owed.what, "", status, owed.seconds)
        if order.status == "held" and self._late_policy(order) == "refund":
            self.owe(number, "refund", "late", "due")

    def _late_policy(self, order: Sold) -> str:
        return self.terms[order.goods.channel].late.value

    def _refund(self, number: str, order: Sold, told: Verdict) -> str:
        refund, backs = told.refund, self.state.backs[number]
        assert refund is not None
        if self._is_entered(number, told):
            return "repeated"
        part = self.part(number, told)
        taken_back = refund.at is not None and any(
            back.is_mark and back.of == transaction_of(told) and back.at >= refund.at
            for back in backs.values()
        )
        backs[refund.key] = self._back(told, part, is_reversed=taken_back)
        if taken_back:
            return "reversed"
        if not order.paid_by:
            return "refunded"
        order.refunded = self.refunded(number, order)
        if self.is_all_back(number, order):
            if order.status == "held":
                self.turn(number, "void")
            order.status = "refunded"
        self.tell(number, "order.refunded", refund.key)
        self.owe_nothing_more_to_ask(order)
        return "refunded"

    def _reverse(self, number: str, order: Sold, told: Verdict) -> str:
        refund, backs, transaction = told.refund, self.state.backs[number], transaction_of(told)
        assert refund is not None
        if refund.key:
            meant = [refund.key] if refund.key in backs else []
        else:
            until = refund.at or 0
            meant = [k for k, b in backs.items() if b.of == transaction and b.at <= until]
        standing = [key for key in meant if not backs[key].reversed]
        is_new = _mark(told) not in backs
        if is_new:
            mark = self._back(told, refund.amount, is_reversed=True)
            mark.is_mark = not refund.key
            backs[_mark(told)] = mark
        for key in standing:
            backs[key].reversed = True
            if order.paid_by:
                self.tell(number, "order.refund_reversed", key)
        if order.paid_by:
            order.refunded = self.refunded(number, order)
        if order.status == "refunded" and not self.is_all_back(number, order):
            self._come_back(number, order)
        return "reversed" if is_new or standing else "repeated"

    def _come_back(self, number: str, order: Sold) -> None:
        if (number, "order.paid", "") in self.state.events:
            order.status = "paid"
        elif self._late_policy(order) == "deliver":
            self.deliver(number, order)
        else:
            order.status = "held"
            self.turn(number, "held")
        self.owe_nothing_more_to_ask(order)

    def _notice(self, number: str, order: Sold, told: Verdict) -> str:
        assert told.notice is not None
        kind = f"order.{told.notice.what}"
        if (number, kind, told.notice.key) in self.state.events:
            return "repeated"
        if told.notice.is_event and order.paid_by:
            self.tell(number, kind, told.notice.key)
        return "noticed"

    def _back(self, told: Verdict, part: int | None, *, is_reversed: bool) -> Back:
        refund, transaction = told.refund, transaction_of(told)
        assert refund is not None
        assert transaction is not None
        return Back(transaction, part, told.state == "refunded", is_reversed, refund.at or 0)


def _states_payment(told: Verdict) -> bool:
    says_what = told.amount is not None or told.product is not None
    return told.state in _MONEY and bool(told.transaction_id) and says_what


def _mark(told: Verdict) -> str:
    refund: Any = told.refund
    return refund.key or f"{told.transaction_id}/{refund.reversal or refund.at}/reversed"

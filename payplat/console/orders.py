"""The page of one order: why it is where it is, what is on record, what happened, and what an operator can do."""

from payplat import audit
from payplat.audit import Act
from payplat.console.base import Page
from payplat.deliveries import resend
from payplat.errors import InvalidRequest, OrderNotFound
from payplat.orders import fits
from payplat.particulars import particulars
from payplat.purchase import Order, Status


class OrderPage(Page):
    """``/console/orders/<order_no>``."""

    async def get(self, order_no: str) -> None:
        """Show the order."""
        await self.show("order.html", await self.order(order_no))

    async def order(self, order_no: str) -> Order:
        """Return the order; raises OrderNotFound."""
        if not fits(order_no):
            raise OrderNotFound
        return await self.desk.orders.get(order_no)

    async def show(self, template: str, order: Order) -> None:
        """Render a page of the order, or the part of it that changes."""
        explanation = await self.desk.explanations.explain(order)
        self.render(
            template,
            order=order,
            explanation=explanation[self.t.language],
            moments=await self.desk.timeline.read(order),
            particulars=await particulars(self.desk.database, order.order_no),
            acts=await audit.list_acts(self.desk.database, subject=order.order_no),
            is_pending=order.status is Status.PENDING,
            is_held=order.status is Status.HELD,
        )


class OrderPart(OrderPage):
    """``/console/orders/<order_no>/live``: the part of the page that changes."""

    async def get(self, order_no: str) -> None:
        """Answer the part's HTML."""
        await self.show("order_live.html", await self.order(order_no))


class OrderCheck(OrderPage):
    """``/console/orders/<order_no>/verify``: the provider is asked, and only that is believed."""

    async def post(self, order_no: str) -> None:
        """Ask, then show the order."""
        self.read_act()
        order = await self.order(order_no)
        await self.record(Act(self.signed_in.name, "verify", order_no))
        await self.desk.reconciler.verify(order)
        self.done(f"/orders/{order_no}", "done_verified")


class OrderResend(OrderPage):
    """``/console/orders/<order_no>/resend``: one of the order's deliveries goes out again."""

    async def post(self, order_no: str) -> None:
        """Make it due, then show the order."""
        form = self.read_act()
        wanted = form.get("delivery", [""])[-1]
        found = (await particulars(self.desk.database, order_no)).deliveries
        if wanted not in {str(delivery.id) for delivery in found}:
            raise InvalidRequest("The order has no such delivery.", field="delivery")
        await self.record(Act(self.signed_in.name, "resend", order_no, {"delivery": int(wanted)}))
        await resend(self.desk.database, int(wanted), self.signed_in.name)
        self.desk.wake()
        self.done(f"/orders/{order_no}", "done_resent")

"""The page of what a person must decide: evidence that was put aside, held orders, and what colleagues propose."""

from payplat.console.base import Page
from payplat.console.desk import is_number
from payplat.csv_export import to_csv
from payplat.errors import InvalidRequest
from payplat.proposals import Decision, Deed, Proposals
from payplat.quarantine import Item, Kind, Quarantine
from payplat.seam import rfc3339

_NAMES = (
    "at",
    "kind",
    "reason",
    "order_no",
    "amount",
    "currency",
    "source",
    "evidence_id",
    "sha256",
)
_PAGE, _MOST_IN_A_FILE = 50, 10_000


class Queue(Page):
    """``/console/quarantine``."""

    async def get(self) -> None:
        """Show the newest, of one kind or all, and the open proposals."""
        page = await self.quarantine.page(
            self.kind, self.page_argument("after") or None, limit=_PAGE
        )
        self.render(
            "quarantine.html",
            items=page.items,
            more=page.next,
            kinds=list(Kind),
            kind=self.kind,
            proposals=await self.proposals.list_open(),
        )

    @property
    def kind(self) -> Kind | None:
        """The kind that the address asks for; raises InvalidRequest when there is none of that name."""
        name = self.page_argument("kind")
        if name and name not in list(Kind):
            raise InvalidRequest("There is no such kind.", field="kind")
        return Kind(name) if name else None

    @property
    def quarantine(self) -> Quarantine:
        """The queue."""
        return Quarantine(self.desk.database)

    @property
    def proposals(self) -> Proposals:
        """What colleagues propose."""
        return Proposals(self.desk.database, self.desk.orders)


class QueueFile(Queue):
    """``/console/quarantine.csv``."""

    async def get(self) -> None:
        """Answer the newest as CSV."""
        page = await self.quarantine.page(self.kind, limit=_MOST_IN_A_FILE)
        self.send_file("quarantine.csv", to_csv(_NAMES, map(_cells, page.items)))


class Resolve(Queue):
    """``/console/quarantine/resolve``: nothing is left to do about one of them."""

    async def post(self) -> None:
        """Put it and the reason on record."""
        form = {name: values[-1] for name, values in self.read_act().items()}
        number = form.get("evidence", "")
        if not is_number(number):
            raise InvalidRequest("There is no such evidence.", field="evidence")
        await self.quarantine.resolve(int(number), self.signed_in.name, form.get("reason", ""))
        self.done("/quarantine", "done_resolved")


class Propose(Queue):
    """``/console/orders/<order_no>/propose``: what becomes of held money."""

    async def post(self, order_no: str) -> None:
        """Put the proposal before the others."""
        form = {name: values[-1] for name, values in self.read_act().items()}
        if form.get("act") not in list(Deed):
            raise InvalidRequest("Release it, or give the money back.", field="act")
        deed, reason = Deed(form["act"]), form.get("reason", "")
        await self.proposals.propose(order_no, deed, reason, self.signed_in.name)
        self.done(f"/orders/{order_no}", "done_proposed")


class Decide(Queue):
    """``/console/proposals/<id>``: another operator decides, or who proposed it takes it back."""

    async def post(self, number: str) -> None:
        """Do what was decided."""
        decision = self.read_act().get("decision", [""])[-1]
        who = self.signed_in.name
        if decision == "withdrawn":
            await self.proposals.withdraw(int(number), who)
        elif decision in list(Decision):
            await self.proposals.decide(int(number), Decision(decision), who)
        else:
            raise InvalidRequest("Approve, reject or withdraw it.", field="decision")
        self.desk.wake()
        self.done("/quarantine", f"done_{decision}")


def _cells(item: Item) -> list[object]:
    return [rfc3339(item.at), item.kind.value, *(getattr(item, name) for name in _NAMES[2:])]

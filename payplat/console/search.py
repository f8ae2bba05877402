"""The page that finds an order by whatever number somebody has in hand."""

from payplat.console.base import Page
from payplat.csv_export import to_csv
from payplat.seam import rfc3339
from payplat.search import Hit, Kind, Search

_NAMES = (
    "kind",
    "matched",
    "at",
    "order_no",
    "app",
    "channel",
    "status",
    "product_id",
    "quantity",
    "amount",
    "currency",
    "receiver",
)
_PAGE, _MOST_IN_A_FILE = 50, 10_000


class SearchPage(Page):
    """``/console/search``."""

    async def get(self) -> None:
        """Ask for a number, or show what bears it; one order alone is shown itself."""
        text = self.page_argument("q").strip()
        if not text:
            self.render("search.html", text="", found=None)
            return
        found = await self.search.find(text, self.page_argument("before") or None, _PAGE)
        numbers = {hit.order_no for hit in found.hits if hit.order is not None}
        if len(numbers) == 1 and all(
            hit.order and hit.kind is not Kind.RECEIVER for hit in found.hits
        ):
            self.redirect(f"/console/orders/{numbers.pop()}", status=303)
            return
        self.render("search.html", text=text, found=found)

    @property
    def search(self) -> Search:
        """Who finds."""
        return Search(self.desk.database, self.desk.accounts)


class SearchFile(SearchPage):
    """``/console/search.csv``."""

    async def get(self) -> None:
        """Answer what bears the number as CSV."""
        found = await self.search.find(self.page_argument("q").strip(), limit=_MOST_IN_A_FILE)
        self.send_file("orders.csv", to_csv(_NAMES, map(_cells, found.hits)))


def _cells(hit: Hit) -> list[object]:
    order = hit.order
    about = [getattr(order, name, None) for name in _NAMES[4:]]
    return [hit.kind.value, hit.matched, rfc3339(hit.at), hit.order_no, *about]

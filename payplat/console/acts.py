"""The page of what operators did."""

from payplat import audit
from payplat.console.base import Page
from payplat.console.desk import detail_text
from payplat.csv_export import to_csv

_PAGE, _MOST_IN_A_FILE = 100, 10_000


class Acts(Page):
    """``/console/acts``."""

    async def get(self) -> None:
        """Show the newest acts, or those before one of them."""
        before = self.number_argument("before")
        found = await audit.list_acts(self.desk.database, before=before, limit=_PAGE)
        self.render("acts.html", acts=found, more=found[-1].id if len(found) == _PAGE else None)


class ActsFile(Page):
    """``/console/acts.csv``."""

    async def get(self) -> None:
        """Answer the newest acts as CSV."""
        found = await audit.list_acts(self.desk.database, limit=_MOST_IN_A_FILE)
        rows = ([a.at, a.operator, a.act, a.subject, detail_text(a.detail)] for a in found)
        self.send_file("acts.csv", to_csv(("at", "operator", "act", "subject", "detail"), rows))

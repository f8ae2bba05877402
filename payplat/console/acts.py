"""The page of what operators did."""

from payplat import audit
from payplat.console.base import Page
from payplat.errors import InvalidRequest

_PAGE = 100


class Acts(Page):
    """``/console/acts``."""

    async def get(self) -> None:
        """Show the newest acts, or those before one of them."""
        before = self.page_argument("before")
        if before and not (before.isascii() and before.isdecimal() and len(before) < 19):
            raise InvalidRequest("It is no number.", field="before")
        number = int(before) if before else None
        found = await audit.list_acts(self.desk.database, before=number, limit=_PAGE)
        self.render("acts.html", acts=found, more=found[-1].id if len(found) == _PAGE else None)

"""The console's addresses."""

from typing import Any

from payplat.console.account import Account, Password, Totp
from payplat.console.acts import Acts, ActsFile
from payplat.console.base import NoPage, SignIn, SignOut
from payplat.console.channels import Channels
from payplat.console.deliveries import Deliveries, DeliveriesFile, ResendMany, Valve
from payplat.console.desk import HERE, ROOT, Desk
from payplat.console.files import File
from payplat.console.orders import OrderCheck, OrderPage, OrderPart, OrderResend
from payplat.console.quarantine import Decide, Propose, Queue, QueueFile, Resolve
from payplat.console.search import SearchFile, SearchPage
from payplat.console.start import Start, StartPart

PAGES = str(HERE / "pages")
_ORDER = r"/orders/([^/]+)"


def routes(desk: Desk) -> list[tuple[Any, ...]]:
    """Return the pages, for an application whose templates are in ``PAGES``."""
    pages = [
        (r"", Start),
        (r"/live", StartPart),
        (r"/sign-in", SignIn),
        (r"/sign-out", SignOut),
        (r"/account", Account),
        (r"/account/password", Password),
        (r"/account/totp", Totp),
        (r"/search", SearchPage),
        (r"/search\.csv", SearchFile),
        (_ORDER, OrderPage),
        (_ORDER + r"/live", OrderPart),
        (_ORDER + r"/verify", OrderCheck),
        (_ORDER + r"/resend", OrderResend),
        (_ORDER + r"/propose", Propose),
        (r"/proposals/([0-9]{1,18})", Decide),
        (r"/deliveries", Deliveries),
        (r"/deliveries\.csv", DeliveriesFile),
        (r"/deliveries/resend", ResendMany),
        (r"/endpoints", Valve),
        (r"/quarantine", Queue),
        (r"/quarantine\.csv", QueueFile),
        (r"/quarantine/resolve", Resolve),
        (r"/channels", Channels),
        (r"/acts", Acts),
        (r"/acts\.csv", ActsFile),
        (r"(?:/.*)?", NoPage),
    ]
    return [
        (rf"{ROOT}/static/([^/]+)", File),
        *((ROOT + path, page, {"desk": desk}) for path, page in pages),
    ]

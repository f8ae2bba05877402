"""The console's addresses."""

from typing import Any

from payplat.console.account import Account, Password, Totp
from payplat.console.acts import Acts
from payplat.console.base import NoPage, SignIn, SignOut
from payplat.console.desk import HERE, ROOT, Desk
from payplat.console.files import File
from payplat.console.orders import OrderCheck, OrderPage, OrderPart, OrderResend

PAGES = str(HERE / "pages")
_ORDER = r"/orders/([^/]+)"


def routes(desk: Desk) -> list[tuple[Any, ...]]:
    """Return the pages, for an application whose templates are in ``PAGES``."""
    pages = [
        (r"/sign-in", SignIn),
        (r"/sign-out", SignOut),
        (r"/account", Account),
        (r"/account/password", Password),
        (r"/account/totp", Totp),
        (r"/acts", Acts),
        (_ORDER, OrderPage),
        (_ORDER + r"/live", OrderPart),
        (_ORDER + r"/verify", OrderCheck),
        (_ORDER + r"/resend", OrderResend),
        (r"(?:/.*)?", NoPage),
    ]
    return [
        (rf"{ROOT}/static/([^/]+)", File),
        *((ROOT + path, page, {"desk": desk}) for path, page in pages),
    ]

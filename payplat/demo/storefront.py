"""The shop of a game: a person buys something and watches the order until it is delivered.

It is a client like any other: what it knows of an order comes from payplat's public API, what was delivered from the
game's own server.
"""

import contextlib
import io
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import segno
from tornado.httpclient import HTTPError as NoAnswer
from tornado.httpserver import HTTPServer
from tornado.web import Application, HTTPError, RequestHandler

from payplat.demo.client import RECEIPTS, Game, Refused, Web
from payplat.demo.shop import Shop
from payplat.demo.shop_words import ShopWords
from payplat.demo.stage import Stage
from payplat.demo.views import View, view_of
from payplat.words import choose

PAGES = Path(__file__).parent / "pages"
_POLICY = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'"
_LANGUAGE_COOKIE = "payplat_shop_language"
_YEAR = 365


@asynccontextmanager
async def open_shop(stage: Stage) -> AsyncIterator[Shop]:
    """Open the shop where the stage has kept a place for it, until the end of the context."""
    channels = stage.platform.channels
    with contextlib.closing(Web()) as web:
        shop = Shop(
            Game(web, stage.url),
            stage.merchant,
            stage.platform.catalogue.products["default"],
            {name: channel.provider.methods for name, channel in channels.items()},
            {name: channel.provider.kind for name, channel in channels.items()},
            _links(stage),
        )
        sockets = stage.shop_sockets
        shop.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        server = HTTPServer(application(shop))
        server.add_sockets(sockets)
        try:
            yield shop
        finally:
            server.stop()
            await server.close_all_connections()


def application(shop: Shop) -> Application:
    """Return the shop's pages."""
    pages = [
        (r"/", Shelf),
        (r"/buy/([\w.-]+)", Counter),
        (r"/return", Return),
        (r"/orders/([0-9a-f]{32})", OrderPage),
        (r"/orders/([0-9a-f]{32})/live", Live),
        (r"/orders/([0-9a-f]{32})/check", Check),
        (r"/orders/([0-9a-f]{32})/bought", Bought),
        (r"/orders/([0-9a-f]{32})/qr\.svg", Code),
    ]
    return Application(
        [(path, page, {"shop": shop}) for path, page in pages],
        default_handler_class=Nowhere,
        default_handler_args={"shop": shop},
        template_path=str(PAGES),
        static_path=str(PAGES / "static"),
        xsrf_cookies=True,
        xsrf_cookie_name="payplat_shop_xsrf",
        xsrf_cookie_kwargs={"httponly": True, "samesite": "Lax"},
        log_function=lambda _page: None,
    )


class Page(RequestHandler):
    """What all pages have: the shop, a language, and a policy that lets nothing in from elsewhere."""

    def initialize(self, shop: Shop) -> None:
        """Receive the shop."""
        self.shop = shop

    def prepare(self) -> None:
        """Choose the language, and remember one that was asked for."""
        asked = self.get_query_argument("lang", "")
        remembered = self.get_cookie(_LANGUAGE_COOKIE, "") or ""
        accepted = self.request.headers.get("Accept-Language", "")
        self.t = ShopWords(choose(asked, remembered, accepted))
        if asked == self.t.language:
            self.set_cookie(_LANGUAGE_COOKIE, asked, expires_days=_YEAR, samesite="Lax")

    def set_default_headers(self) -> None:
        """Forbid what these pages do not need."""
        self.set_header("Content-Security-Policy", _POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")

    def get_template_namespace(self) -> dict[str, Any]:
        """Give every page the words, the shop and the art of its products."""
        return {**super().get_template_namespace(), "t": self.t, "shop": self.shop, "art": _art}

    async def view(self, order_no: str) -> View:
        """Ask payplat about an order."""
        order = await self.shop.game.order(order_no)
        return view_of(order, self.shop.kinds[order["channel"]], self.shop.merchant, self.t)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tell in a sentence what went wrong."""
        if not hasattr(self, "t"):
            self.t = ShopWords("en")
        error = kwargs.get("exc_info", (None, None, None))[1]
        sentence = self.t("no_page") if status_code == 404 else self.reason_phrase(status_code)
        if isinstance(error, Refused):
            self.set_status(error.status if error.status < 500 else 502)
            sentence = self.t.refusal(error.code, error)
        elif isinstance(error, OSError | NoAnswer):
            self.set_status(502)
            sentence = self.t("unreachable")
        self.render("problem.html", sentence=sentence)

    def reason_phrase(self, status_code: int) -> str:
        """Return HTTP's own words for a status."""
        return f"{status_code} {self._reason}"

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """Keep quiet about refusals, which the page tells."""
        if not isinstance(value, Refused | OSError | NoAnswer):
            super().log_exception(typ, value, tb)


class Nowhere(Page):
    """Every other address."""

    def prepare(self) -> None:
        """Answer 404."""
        super().prepare()
        raise HTTPError(404)


class Shelf(Page):
    """``/``: what is for sale."""

    def get(self) -> None:
        """Show the products and what was bought before."""
        recent = list(reversed(self.shop.purchases.values()))[:5]
        self.render("shelf.html", recent=recent)


class Counter(Page):
    """``/buy/<product>``: how to pay for it."""

    def get(self, product_id: str) -> None:
        """Offer every method of every open channel."""
        self._need(product_id)
        key = secrets.token_hex(16)
        self.render("counter.html", product_id=product_id, key=key, offers=self.shop.ways_to_pay())

    async def post(self, product_id: str) -> None:
        """Open the order and lead to where it is paid."""
        self._need(product_id)
        channel, _, method = self.get_body_argument("method", "").partition(":")
        key = self.get_body_argument("key", "")[:64]
        bought = await self.shop.buy(key, product_id, channel, method)
        here = f"/orders/{bought.order_no}"
        self.redirect(bought.till.address if bought.till.is_next else here, status=303)

    def _need(self, product_id: str) -> None:
        if product_id not in self.shop.products:
            raise HTTPError(404)


class Return(Page):
    """``/return``: the browser comes back from the cashier; what it says of the payment is not believed."""

    def get(self) -> None:
        """Lead to the order."""
        order_no = self.get_query_argument("out_trade_no", "")
        known = order_no in self.shop.purchases
        self.redirect(f"/orders/{order_no}" if known else "/", status=303)


class OrderPage(Page):
    """``/orders/<order_no>``: the order, live."""

    async def get(self, order_no: str) -> None:
        """Show it as it stands; a small script keeps it up to date, a refresh does where there is none."""
        view = await self.view(order_no)
        self.render("order.html", view=view, bought=self.shop.purchases.get(order_no))


class Live(Page):
    """``/orders/<order_no>/live``: the part of the page that changes, when there is something new."""

    async def get(self, order_no: str) -> None:
        """Answer the part's HTML, its version, and when to ask again."""
        view, html = await self.view(order_no), ""
        if view.version != self.get_query_argument("seen", ""):
            bought = self.shop.purchases.get(order_no)
            html = self.render_string("progress.html", view=view, bought=bought).decode()
        self.finish({"version": view.version, "html": html, "again": view.look_again})


class Check(Page):
    """``/orders/<order_no>/check``: the buyer says that it is paid; payplat asks the provider and believes only that."""

    async def post(self, order_no: str) -> None:
        """Ask, then show the order."""
        order = await self.shop.game.order(order_no)
        with contextlib.suppress(Refused):
            await self.shop.game.verify(order["channel"], order_no)
        self.redirect(f"/orders/{order_no}", status=303)


class Bought(Page):
    """``/orders/<order_no>/bought``: the game on the phone gets what its store gave it, and submits it."""

    def check_xsrf_cookie(self) -> None:
        """Let the purchase sheet post here, which is of another origin and has no token of ours.

        Nothing is done in the player's name: payplat believes only the store, for the order that the store names.
        """

    def get(self, order_no: str) -> None:
        """Show the order to a player who cancelled."""
        self.redirect(f"/orders/{order_no}", status=303)

    async def post(self, order_no: str) -> None:
        """Submit the receipt, then show the order."""
        given = {name: self.get_body_argument(name, "") for name in RECEIPTS.values()}
        receipt = {name: value for name, value in given.items() if value}
        order = await self.shop.game.order(order_no)
        await self.shop.game.verify(order["channel"], order_no, **receipt)
        self.redirect(f"/orders/{order_no}", status=303)


class Code(Page):
    """``/orders/<order_no>/qr.svg``: the code to scan."""

    def get(self, order_no: str) -> None:
        """Draw it."""
        bought = self.shop.purchases.get(order_no)
        if bought is None or bought.till.name != "scan":
            raise HTTPError(404)
        drawing = io.BytesIO()
        segno.make(bought.till.address, micro=False).save(
            drawing, kind="svg", scale=6, border=3, light="#fff"
        )
        self.set_header("Content-Type", "image/svg+xml")
        self.finish(drawing.getvalue())


def _links(stage: Stage) -> dict[str, str]:
    """Return where there is something to see behind the scenes, by its name in the words."""
    return {
        "alipay_page": stage.alipay.url,
        "apple_page": stage.apple.url,
        "google_page": stage.google.url,
        "merchant_page": stage.merchant.url.removesuffix("/webhooks"),
    }


def _art(product_id: str) -> str:
    """Return the picture of a product, or of a parcel."""
    known = (PAGES / "static" / f"{product_id}.svg").is_file()
    return f"{product_id if known else 'parcel'}.svg"

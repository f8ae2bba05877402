"""The purchase sheet of the simulator, by HTTP and in Chromium: buy, cancel, and an app that dies."""

import json
import re
import shutil
from html import unescape
from urllib.parse import urlencode

import pytest
from playwright.async_api import async_playwright, expect
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from payplat.simulators.apple.sheet import written
from tests.browser import FLAGS
from tests.conftest import REQUIRED
from tests.simulators.apple_stage import BUNDLE, TOKEN, opened, payload, verifier


@pytest.fixture
async def sim(inbox):
    async with opened(Sandbox=inbox.url) as sim:
        yield sim


def address(sim, **wish: str) -> str:
    """The sheet as a shop links to it."""
    order = {"bundle_id": BUNDLE, "product_id": "coins_500", "app_account_token": TOKEN}
    return f"{sim.url}/sheet?{urlencode({**order, **wish})}"


def text(answer) -> str:
    return answer.body.decode()


def token_on(page: str) -> str:
    """The signed transaction in a page's form."""
    return unescape(re.search(r'name="signed_transaction" value="([^"]+)"', page)[1])


# --- By HTTP ---


async def test_the_sheet_shows_what_is_for_sale(sim, browse):
    """Title, price for the quantity and token; nothing of it is interpreted as HTML."""
    answer = await browse(
        address(sim, title="<b>500 coins</b>", quantity="3", return_url="http://127.0.0.1:9/back")
    )
    page = text(answer)
    assert answer.code == 200
    assert "&lt;b&gt;500 coins&lt;/b&gt;" in page
    assert "14.97 USD" in page
    assert TOKEN in page
    assert 'href="http://127.0.0.1:9/back"' in page
    assert not sim.books.purchases


@pytest.mark.parametrize(
    ("wish", "header", "word"),
    [
        ({}, "en-GB,en;q=0.9", "Cancel"),
        ({}, "zh-CN,zh;q=0.9", "取消"),
        ({}, "", "取消"),
        ({"lang": "en"}, "zh-CN", "Cancel"),
        ({"lang": "zh"}, "en", "取消"),
    ],
)
async def test_the_sheet_speaks_two_languages(sim, browse, wish, header, word):
    """What the address asks for, else what the browser prefers, else Chinese."""
    url = address(sim, return_url="http://127.0.0.1:9/", **wish)
    assert word in text(await browse(url, **{"Accept-Language": header}))


async def test_buying_hands_the_transaction_to_the_shop(sim, browse, inbox):
    """A form for the return address holds the signed transaction, and has a button for who runs no script."""
    url = address(sim, quantity="2", return_url="http://127.0.0.1:9/back?a=1&b=2", lang="en")
    answer = await browse(url, "action=buy")
    page = text(answer)
    assert 'method="post" action="http://127.0.0.1:9/back?a=1&amp;b=2"' in page
    assert "Return to the app</button>" in page
    read = verifier(sim).verify_and_decode_signed_transaction(token_on(page))
    assert (read.quantity, read.appAccountToken) == (2, TOKEN)
    nonce = re.search(r'script nonce="([^"]+)"', page)[1]
    assert f"script-src 'nonce-{nonce}'" in answer.headers["Content-Security-Policy"]
    await sim.idle()
    assert len(inbox.bodies) == 1


async def test_without_a_return_address_the_transaction_is_shown(sim, browse):
    """There is nowhere to go back to: no cancelling, and a text to copy."""
    assert "取消" not in text(await browse(address(sim)))
    page = text(await browse(address(sim), "action=buy"))
    (bought,) = sim.books.purchases
    assert payload(re.search(r"<textarea[^>]*>([^<]+)<", page)[1])["transactionId"] == bought


async def test_a_dying_app_tells_nobody(sim, browse, inbox):
    """The purchase is made and notified, and the page leads nowhere."""
    url = address(sim, return_url="http://127.0.0.1:9/back", lang="en")
    page = text(await browse(url, "action=buy_and_die"))
    assert "The app died" in page
    assert "127.0.0.1:9" not in page
    await sim.idle()
    told = payload(json.loads(inbox.bodies[0])["signedPayload"])
    (bought,) = sim.books.purchases
    assert payload(told["data"]["signedTransactionInfo"])["transactionId"] == bought


@pytest.mark.parametrize(
    "wish",
    [
        {"bundle_id": "com.example.nobody"},
        {"quantity": "many"},
        {"quantity": "0"},
        {"environment": "Xcode"},
        {"app_account_token": "me"},
        {"return_url": "javascript:alert(1)"},
    ],
    ids=lambda wish: next(iter(wish)),
)
async def test_a_wrong_address_sells_nothing(sim, browse, wish):
    """The page says what is wrong, before and after a click."""
    for form in (None, "action=buy"):
        assert (await browse(address(sim, **wish), form)).code == 400
    assert not sim.books.purchases


async def test_a_click_on_nothing_sells_nothing(sim, browse):
    """A form without a known button is refused."""
    for form in ("", "action=steal"):
        assert (await browse(address(sim), form)).code == 400
    assert not sim.books.purchases


def test_prices_are_written_in_their_currency() -> None:
    """Milliunits as people read them, with the decimals of the currency."""
    assert written(4990, "USD") == "4.99 USD"
    assert written(300000, "JPY") == "300 JPY"
    assert written(1005, "KWD") == "1.005 KWD"
    assert written(50, "EUR") == "0.05 EUR"


# --- In Chromium ---


_PAGE = '<title>shop</title><link rel="icon" href="data:,">'


class _Shop(RequestHandler):
    def initialize(self, seen: list) -> None:
        self.seen = seen

    async def get(self) -> None:
        self.seen.append(None)
        self.finish(f"{_PAGE}cancelled")

    async def post(self) -> None:
        self.seen.append(self.get_body_argument("signed_transaction"))
        self.finish(f"{_PAGE}thanks")


@pytest.fixture
async def shop():
    """Where the app would be: what it was handed, None for a visit without anything."""
    seen: list[str | None] = []
    sockets = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(Application([(r"/back", _Shop, {"seen": seen})], log_function=lambda _: 0))
    server.add_sockets(sockets)
    yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}/back", seen
    server.stop()
    await server.close_all_connections()


@pytest.fixture
async def chromium(request):
    """Chromium, driven on the test's own loop."""
    request.node.user_properties.append(("lane", "browser"))
    path = shutil.which("chromium")
    if path is None:
        reason = "chromium not found: apt-get install chromium fonts-wqy-microhei libatomic1"
        if "browser" in REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        await browser.close()


async def open_sheet(chromium, url: str, complaints: list[str], **options):
    """A telephone's screen on the sheet; whatever the page complains of is noted."""
    context = await chromium.new_context(viewport={"width": 390, "height": 844}, **options)
    context.set_default_timeout(60_000)
    page = await context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(url)
    sideways = "document.documentElement.scrollWidth - innerWidth"
    assert await page.evaluate(sideways) <= 0, "the sheet is wider than the screen"
    return page


async def test_a_person_buys(sim, chromium, shop):
    """One click, and the shop has the transaction: the page sends itself, in the dark as well."""
    url, seen = shop
    complaints: list[str] = []
    sheet = address(sim, return_url=url, title="500 " + "coins" * 30)
    page = await open_sheet(chromium, sheet, complaints, locale="en-GB", color_scheme="dark")
    dark = await page.evaluate("getComputedStyle(document.querySelector('main')).backgroundColor")
    await page.get_by_role("button", name="Buy", exact=True).click()
    await expect(page).to_have_title("shop")
    assert payload(seen[0])["appAccountToken"] == TOKEN
    assert dark == "rgb(28, 28, 30)"
    assert complaints == []


async def test_a_person_without_scripts_buys(sim, chromium, shop):
    """The button on the second page does what the script would have done."""
    url, seen = shop
    sheet = address(sim, return_url=url)
    page = await open_sheet(chromium, sheet, [], locale="zh-CN", java_script_enabled=False)
    await page.get_by_role("button", name="购买", exact=True).click()
    await page.get_by_role("button", name="返回应用").click()
    await expect(page).to_have_title("shop")
    assert payload(seen[0])["bundleId"] == BUNDLE


async def test_a_person_changes_their_mind(sim, chromium, shop):
    """The other language keeps the order; Cancel goes back with nothing."""
    url, seen = shop
    complaints: list[str] = []
    page = await open_sheet(chromium, address(sim, return_url=url), complaints, locale="zh-CN")
    await page.get_by_role("link", name="English").click()
    await expect(page.get_by_text(TOKEN)).to_be_visible()
    await page.get_by_role("link", name="Cancel").click()
    await expect(page).to_have_title("shop")
    assert (seen, sim.books.purchases, complaints) == ([None], {}, [])


async def test_a_persons_app_dies(sim, chromium, shop):
    """The purchase is made, and the shop is not told by the page."""
    url, seen = shop
    complaints: list[str] = []
    page = await open_sheet(chromium, address(sim, return_url=url), complaints, locale="en-GB")
    await page.get_by_role("button", name="Buy, but the app dies").click()
    await expect(page.get_by_text("The app died")).to_be_visible()
    (number,) = sim.books.purchases
    await expect(page.locator("#transaction")).to_have_text(number)
    assert (seen, complaints) == ([], [])

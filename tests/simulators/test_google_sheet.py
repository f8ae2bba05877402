"""The purchase dialog and the device: what a person clicks, and what the app is given."""

import contextlib
import html
import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.async_api import Page, async_playwright, expect
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from tests.conftest import REQUIRED
from tests.simulators.google_stage import ORDER, PACKAGE, USER, open_api, open_inbox, open_play

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
PICTURES = os.environ.get("PAYPLAT_SCREENSHOTS")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ICON = '<link rel="icon" href="data:,">'
RETURN = "http://127.0.0.1:9/back?order=1&x=2"
GIVEN = {
    "package": PACKAGE,
    "product_id": "coins_500",
    "obfuscated_account_id": USER,
    "obfuscated_profile_id": ORDER,
    "quantity": "2",
    "return_url": RETURN,
    "title": "500 <gold> coins",
}


@pytest.fixture
async def inbox():
    async with open_inbox() as inbox:
        yield inbox


@pytest.fixture
async def play(inbox):
    async with open_play(inbox) as play:
        yield play


@pytest.fixture
async def api(play):
    async with open_api(play) as api:
        yield api


class Shop(RequestHandler):
    """Where the buyer comes back to; tells how, and with which token."""

    async def get(self) -> None:
        self.finish(f"{ICON}<h1>back by GET</h1>")

    async def post(self) -> None:
        token = html.escape(self.get_body_argument("purchase_token"))
        self.finish(f"{ICON}<h1>back by POST</h1><p>{token}</p>")


@pytest.fixture
async def shop() -> AsyncIterator[str]:
    """The shop's address."""
    sockets = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(Application([(r"/shop", Shop)], log_function=lambda _handler: None))
    server.add_sockets(sockets)
    yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}/shop"
    server.stop()
    await server.close_all_connections()


async def show(api, headers=None, **changes):
    """GET the dialog."""
    query = urlencode({**GIVEN, **changes})
    return await api.fetch(f"{api.sim.url}/sheet?{query}", headers=headers)


async def click(api, action: str, **changes):
    """POST what the dialog's form posts."""
    form = urlencode({**GIVEN, "action": action, **changes})
    return await api.fetch(f"{api.sim.url}/sheet?lang=en", "POST", form, FORM)


async def test_the_dialog_shows_what_is_bought(api):
    """Title, price, ids; everything escaped, nothing from elsewhere, nothing done yet."""
    response = await show(api, lang="en")
    page = response.body.decode()
    for text in ("500 &lt;gold&gt; coins × 2", "USD 9.98", PACKAGE, USER, ORDER, "SIMULATOR"):
        assert text in page
    assert re.findall(r'(?:src|href)="(?!/)', page) == []
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert api.sim.books.purchases == {}


async def test_the_dialog_speaks_two_languages(api):
    """What is asked for, then what the browser prefers; each links to the other with all fields."""
    chinese = (await show(api, {"Accept-Language": "zh-CN,en;q=0.5"})).body.decode()
    english = (await show(api, {"Accept-Language": "en-GB"})).body.decode()
    assert 'lang="zh-CN"' in chinese
    assert "购买" in chinese
    assert 'lang="en"' in english
    link = html.unescape(re.search(r'<a href="([^"]+)">English', chinese)[1])
    switched = (await api.fetch(api.sim.url + link)).body.decode()
    assert switched == (await show(api, lang="en")).body.decode()


async def test_buying_hands_the_token_over(api, play, inbox):
    """By a form that submits itself, and has a button for where there is no script."""
    response = await click(api, "buy")
    (purchase,) = play.books.purchases.values()
    page = response.body.decode()
    assert f'action="{html.escape(RETURN)}"' in page
    assert f'name="purchase_token" value="{purchase.purchase_token}"' in page
    assert "Hand the purchase token to the app" in page
    assert (purchase.state, purchase.terms.quantity) == (0, 2)
    assert purchase.terms.obfuscated_profile_id == ORDER
    await play.idle()
    assert inbox.told[0]["oneTimeProductNotification"]["purchaseToken"] == purchase.purchase_token


async def test_a_license_tester_buys_for_nothing(api, play):
    """The dialog says so, and the purchase is a test purchase; without `test` it is neither."""
    for given, is_test in (("1", True), ("", False)):
        assert (
            "license tester" in (await show(api, lang="en", test=given)).body.decode()
        ) is is_test
        await click(api, "buy", obfuscated_account_id=f"tester-{given}", test=given)
        assert (list(play.books.purchases.values())[-1].terms.kind == 0) is is_test


async def test_a_slow_payer_pays_later(api, play, inbox):
    """The app has a pending purchase at once; the money comes after a while."""
    response = await click(api, "slow")
    (purchase,) = play.books.purchases.values()
    assert purchase.state == 2
    assert purchase.purchase_token in response.body.decode()
    await play.advance(19)
    assert inbox.bodies == []
    await play.advance(1)
    assert purchase.state == 0
    assert len(inbox.bodies) == 1


async def test_a_slow_payer_may_change_his_mind(api, play, inbox):
    """What was canceled meanwhile is not paid."""
    await click(api, "slow")
    (purchase,) = play.books.purchases.values()
    await play.cancel_pending(purchase.purchase_token)
    await play.advance(60)
    assert purchase.state == 1


async def test_an_app_that_dies_hears_nothing(api, play, inbox):
    """The purchase is made and told by notification only."""
    page = (await click(api, "dies")).body.decode()
    await play.idle()
    assert "the app has heard nothing" in page
    assert "<form" not in page
    assert len(inbox.bodies) == 1


async def test_canceling_goes_back_with_nothing(api, play):
    """By GET, to the very address; without one, a page says so."""
    response = await click(api, "cancel")
    assert (response.code, response.headers["Location"]) == (303, RETURN)
    assert "Cancelled" in (await click(api, "cancel", return_url="")).body.decode()
    assert play.books.purchases == {}


async def test_a_product_that_is_owned_is_refused(api):
    """As Play Billing says it."""
    await click(api, "buy")
    response = await click(api, "buy")
    assert response.code == 409
    assert "7 ITEM_ALREADY_OWNED" in response.body.decode()


@pytest.mark.parametrize(
    "changes",
    [
        {"package": "com.nobody"},
        {"package": ""},
        {"product_id": "nothing"},
        {"return_url": "javascript:alert(1)"},
        {"quantity": "many"},
    ],
)
async def test_a_wrong_dialog_does_not_open(api, changes):
    """Nor can anything be bought with it."""
    assert (await show(api, **changes)).code == 400
    assert (await click(api, "buy", **changes)).code == 400
    assert api.sim.books.purchases == {}


async def test_an_unknown_button_is_refused(api):
    """There are four."""
    assert (await click(api, "steal")).code == 400


async def test_the_books_are_open_to_people(api, play):
    """Purchases and notifications, the newest first."""
    empty = (await api.fetch(f"{play.url}/?lang=en")).body.decode()
    assert empty.count("Nothing yet.") == 2
    purchase = await play.buy(PACKAGE, "coins_500", quantity=2)
    page = (await api.fetch(f"{play.url}/?lang=en")).body.decode()
    for text in (purchase.order_id, "500 coins × 2", "USD 9.98", "purchased", "✓ 204"):
        assert text in page


@contextlib.asynccontextmanager
async def open_page(request, **options) -> AsyncIterator[Page]:
    """A page in Chromium, driven on the test's own loop; it complains of nothing."""
    request.node.user_properties.append(("lane", "browser"))
    chromium = shutil.which("chromium")
    if chromium is None:
        reason = "chromium not found: apt-get install chromium fonts-wqy-microhei libatomic1"
        if "browser" in REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        context = await browser.new_context(**options)
        context.set_default_timeout(60_000)
        page, complaints = await context.new_page(), []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
        await browser.close()
        assert complaints == []


async def look(page: Page, name: str) -> None:
    """Nothing sticks out sideways; keep a picture where one is wanted."""
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    if PICTURES:
        await page.screenshot(path=Path(PICTURES) / f"google-{name}.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_person_buys_in_english(request, play, shop, scheme):
    """From the dialog back to the shop, which gets the token by itself."""
    asked = urlencode({**GIVEN, "return_url": shop})
    options = {"locale": "en-GB", "color_scheme": scheme, **PHONE}
    async with open_page(request, **options) as page:
        await page.goto(f"{play.url}/sheet?{asked}")
        await expect(page).to_have_title("Google Play purchase · SIMULATOR")
        await look(page, f"sheet-{scheme}")
        await page.get_by_role("button", name="Buy", exact=True).click()
        await expect(page.locator("h1")).to_have_text("back by POST")
        (token,) = play.books.purchases
        await expect(page.locator("p")).to_have_text(token)


async def test_a_person_buys_slowly_without_script_in_chinese(request, play, shop):
    """The button does what the script would have done."""
    asked = urlencode({**GIVEN, "return_url": shop})
    options = {"locale": "zh-CN", "java_script_enabled": False, **PHONE}
    async with open_page(request, **options) as page:
        await page.goto(f"{play.url}/sheet?{asked}")
        await page.get_by_role("button", name="慢速付款").click()
        await expect(page.locator("main")).to_contain_text("付款待处理")
        if PICTURES:
            await page.screenshot(path=Path(PICTURES) / "google-pending.png", full_page=True)
        await page.get_by_role("button", name="把购买令牌交给应用").click()
        await expect(page.locator("h1")).to_have_text("back by POST")


async def test_other_ends_fit_a_phone(request, play, shop):
    """The app that dies, and the books; canceled, back by GET."""
    asked = f"{play.url}/sheet?{urlencode({**GIVEN, 'return_url': shop})}"
    async with open_page(request, locale="en-GB", **PHONE) as page:
        await page.goto(asked)
        await page.get_by_role("button", name="but the app dies").click()
        await expect(page.locator("main")).to_contain_text("the app has heard nothing")
        await look(page, "dies")
        await page.goto(f"{play.url}/")
        await look(page, "books")
        await page.goto(asked)
        await page.get_by_role("button", name="Cancel").click()
        await expect(page.locator("h1")).to_have_text("back by GET")

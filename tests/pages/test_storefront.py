"""The demo's shop in a real browser: from a product to *delivered*, in both languages."""

import re
import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, expect

from payplat.catalogue import Product
from payplat.demo.client import Web
from payplat.demo.moments import Narrator
from payplat.demo.name_words import DUTIES
from payplat.demo.shop import Shop
from payplat.demo.shop_words import ShopWords
from payplat.demo.stage import Companies, Stage, set_stage
from payplat.demo.storefront import open_shop
from tests.browser import DESKTOP, PHONE, Visit, open_page


@pytest.fixture
async def stage(
    alipay, apple, google, overrides, our_keys, sqlite_template, tmp_path
) -> AsyncIterator[Stage]:
    """A stage on SQLite: a browser sees no difference. A tester's purchase is not taken back meanwhile."""
    shutil.copy(sqlite_template, tmp_path / "payplat.db")
    google.knobs.turn(tester_window=100.0 * google.knobs.tester_window)
    companies = Companies(alipay, apple, google)
    async with set_stage(
        tmp_path, overrides=overrides, companies=companies, keys=our_keys
    ) as stage:
        yield stage


@pytest.fixture
async def shop(stage) -> AsyncIterator[Shop]:
    """The shop, open."""
    async with open_shop(stage) as shop:
        yield shop


async def visit(browser: Browser, shop: Shop, name: str, **options) -> Visit:
    """Open the shop as somebody; ``options`` are those of a browser context."""
    return await open_page(browser, shop.url, name, **options)


async def test_a_purchase_by_page_in_english(browser, shop, stage):
    """From the product over Alipay's page and back: the timeline arrives at delivered by itself."""
    person = await visit(browser, shop, "en-page", locale="en-GB", **DESKTOP)
    page = person.page
    await expect(page.locator(".mark")).to_contain_text("DEMO · 演示")
    await person.picture("1-shop")
    await page.get_by_role("link", name="Buy ¥30.00").click()
    await expect(page.locator("h1")).to_have_text("2,800 gold coins")
    await person.picture("2-payment")
    await page.get_by_role("button", name="Pay ¥30.00").click()
    await expect(page).to_have_title("Alipay cashier · SIMULATOR")
    await person.picture("3-cashier")
    stage.merchant.next("slow", seconds=2.5)
    await page.get_by_role("button", name="Pay now").click()
    await expect(page.locator("h1")).to_contain_text("Paid, on its way")
    await person.picture("4-paid")
    await expect(page.locator("h1")).to_contain_text("Delivered")
    await expect(page).to_have_title("Delivered · Lantern Isle")
    told = page.locator(".timeline b")
    await expect(told).to_have_text(["Order opened", "Payment confirmed", "Delivered"])
    await expect(page.locator(".checked")).to_contain_text("✓ amount ¥30.00")
    await page.locator("summary", has_text="order.paid").click()
    (order_no,) = shop.purchases
    await expect(page.locator("details[open] pre")).to_contain_text(f'"order_no": "{order_no}"')
    await expect(page.locator("details[open]")).to_contain_text("signature valid")
    await person.picture("5-delivered")
    assert stage.merchant.fulfilled[order_no] == 1
    assert person.complaints == []


async def test_a_purchase_by_qr_code_in_chinese(browser, shop, stage):
    """On a phone in Chinese: the code is shown, scanned in the simulator, and the page follows by itself."""
    person = await visit(browser, shop, "zh-qr", locale="zh-CN", **PHONE)
    page = person.page
    await person.picture("1-shop")
    await page.get_by_role("link", name="购买 ¥6.00").click()
    await page.get_by_label("扫码支付").check()
    await person.picture("2-payment")
    await page.get_by_role("button", name="支付 ¥6.00").click()
    await expect(page.locator("h1")).to_contain_text("等待付款")
    code = page.get_by_alt_text("打开支付宝收银台的二维码")
    assert await code.evaluate("image => image.complete && image.naturalWidth > 100")
    await person.picture("3-qr")
    async with page.context.expect_page() as opened:
        await page.get_by_role("link", name="在模拟器中扫码").click()
    wallet = person.watch(await opened.value)
    await expect(wallet).to_have_title("支付宝收银台 · 模拟器")
    await person.picture("4-cashier", wallet)
    await wallet.get_by_role("button", name="确认付款").click()
    await expect(page.locator("h1")).to_contain_text("已到账")
    await expect(page.locator(".timeline b")).to_have_text(["已下单", "付款已确认", "已发货"])
    await person.picture("5-delivered")
    await page.goto(shop.links["merchant_page"])
    (order_no,) = shop.purchases
    await expect(page.locator("body")).to_contain_text(order_no)
    await person.picture("6-merchant")
    assert person.complaints == []


async def test_what_goes_wrong_is_told(browser, shop, stage):
    """A notice that is off by one fen, then a merchant that is down: both are told, and it ends delivered."""
    dark = {"color_scheme": "dark", **DESKTOP}
    person = await visit(browser, shop, "zh-wrong", locale="zh-CN", **dark)
    page = person.page
    await page.goto(f"{shop.url}/buy/season_pass")
    await page.get_by_label("手机网页").check()
    await page.get_by_role("button", name="支付").click()
    await stage.merchant.go_down()
    await page.locator("summary").click()
    await page.get_by_role("button", name="通知金额多一分").click()
    await expect(page.locator(".timeline .is-warn").first).to_contain_text("金额不符")
    await expect(page.locator(".timeline .is-wait").first).to_contain_text("连接不上")
    await stage.merchant.come_back()
    await expect(page.locator("h1")).to_contain_text("已到账")
    (order_no,) = shop.purchases
    await stage.alipay.refund(order_no, 800, f"refund-{order_no}")
    await expect(page.locator(".timeline")).to_contain_text("已退款 ¥8.00")
    await expect(page.locator(".timeline")).to_contain_text("已告知游戏服务器退款")
    await person.picture("delivered")
    assert person.complaints == []


@pytest.mark.parametrize("overrides", [{"PAYPLAT_CHECKS__BASE_SECONDS": "20"}])
async def test_the_wallet_app_and_a_lost_notification(browser, shop, stage, asks):
    """The order string opens in the wallet; the notification is lost, and the buyer's question finds the payment."""
    phone = {"color_scheme": "dark", **PHONE}
    person = await visit(browser, shop, "en-app", locale="en-GB", **phone)
    page = person.page
    await page.goto(f"{shop.url}/buy/coins_500")
    await page.get_by_label("Wallet app").check()
    await page.get_by_role("button", name="Pay").click()
    await person.picture("pending")
    async with page.context.expect_page() as opened:
        await page.get_by_role("link", name="Open the wallet app").click()
    wallet = person.watch(await opened.value)
    await wallet.locator("summary").click()
    await wallet.get_by_role("button", name="Pay, lose the notification").click()
    await page.get_by_role("button", name="ask now").click()
    await expect(page.locator("h1")).to_contain_text("Delivered")
    await expect(page.locator(".timeline")).to_contain_text("The game asked")
    assert person.complaints == []


async def test_a_purchase_on_an_iphone_in_english(browser, shop, stage):
    """From the counter to the purchase sheet and back: the receipt is verified, and the goods are there."""
    person = await visit(browser, shop, "en-iphone", locale="en-GB", **PHONE)
    page = person.page
    await page.get_by_role("link", name="Buy ¥6.00").click()
    await page.get_by_label("iPhone").check()
    await person.picture("1-payment")
    await page.get_by_role("button", name="Pay ¥6.00").click()
    await expect(page).to_have_title("500 金币 · FAKE App Store")
    await person.picture("2-sheet")
    stage.apple.next_notifications(drop=True)
    await page.get_by_role("button", name="Buy", exact=True).click()
    await expect(page.locator("h1")).to_contain_text("Delivered")
    told = page.locator(".timeline b")
    await expect(told).to_have_text(["Order opened", "Payment confirmed", "Delivered"])
    await expect(page.locator(".timeline")).to_contain_text("StoreKit")
    await expect(page.locator(".checked")).to_contain_text("✓ Apple's signature and certificates")
    await expect(page.locator(".facts")).to_contain_text("Apple · iPhone")
    await expect(page.locator(".facts")).to_contain_text("¥6.00")
    await expect(page.locator("main")).not_to_contain_text("Alipay")
    await person.picture("3-delivered")
    (order_no,) = shop.purchases
    assert stage.merchant.fulfilled[order_no] == 1
    assert person.complaints == []


async def test_the_app_dies_in_chinese(browser, shop, stage):
    """Bought, and the app never comes back: Apple's notification delivers, and a refund by half is told."""
    dark = {"color_scheme": "dark", **PHONE}
    person = await visit(browser, shop, "zh-iphone", locale="zh-CN", **dark)
    page = person.page
    await page.goto(f"{shop.url}/buy/coins_2800")
    await page.get_by_label("iPhone").check()
    await person.picture("1-payment")
    await page.get_by_role("button", name="支付").click()
    await person.picture("2-sheet")
    await page.get_by_role("button", name="应用崩溃").click()
    await expect(page.locator("body")).to_contain_text("应用已崩溃")
    await page.goto(shop.url)
    await page.locator(".recent a").click()
    await expect(page.locator("h1")).to_contain_text("已到账")
    await expect(page.locator(".timeline")).to_contain_text("苹果发来了签名通知")
    (order_no,) = shop.purchases
    (number,) = stage.apple.books.purchases
    await stage.apple.refund(number, type="REFUND_PRORATED", percentage=50000)
    await expect(page.locator(".timeline")).to_contain_text("苹果退回了货款的 50 %")
    await expect(page.locator(".timeline")).to_contain_text("已告知游戏服务器退款")
    await expect(page.locator("main")).not_to_contain_text("支付宝")
    await person.picture("3-refunded")
    assert stage.merchant.fulfilled[order_no] == 1
    assert person.complaints == []


async def test_apple_cannot_be_asked(browser, shop, stage):
    """The receipt waits while Apple is down; the page says so, and then that the goods are there."""
    person = await visit(browser, shop, "en-waiting", locale="en-GB", **DESKTOP)
    page = person.page
    await page.goto(f"{shop.url}/buy/coins_500")
    await page.get_by_label("iPhone").check()
    await page.get_by_role("button", name="Pay").click()
    await page.get_by_role("link", name="Cancel").click()
    await expect(page.locator("h1")).to_contain_text("Waiting for payment")
    await expect(page.locator(".facts")).to_contain_text("Apple sets it")
    await person.picture("1-pending")
    await page.get_by_role("link", name="Open the purchase sheet").click()
    stage.apple.next_notifications(drop=True)
    stage.apple.next_answers(*["503"] * 100)
    await page.get_by_role("button", name="Buy", exact=True).click()
    await expect(page.locator("h1")).to_contain_text("Bought, being checked")
    await expect(page.locator(".timeline")).to_contain_text("Receipt kept")
    await person.picture("2-checking")
    stage.apple.faults.clear()
    await expect(page.locator("h1")).to_contain_text("Delivered")
    await person.picture("3-delivered")
    assert person.complaints == []


async def test_what_is_owned_is_not_delivered_again(browser, shop, stage):
    """A pass that is owned comes with its old receipt: it is refused for the new order, in words."""
    person = await visit(browser, shop, "en-owned", locale="en-GB", **DESKTOP)
    page = person.page
    for _ in range(2):
        await page.goto(f"{shop.url}/buy/season_pass")
        await page.get_by_label("iPhone").check()
        await page.get_by_role("button", name="Pay").click()
        await page.get_by_role("button", name="Buy", exact=True).click()
        await page.wait_for_url(f"{shop.url}/orders/**")
    await expect(page.locator("main")).to_contain_text("never delivered twice")
    await person.picture("refused")
    assert sum(stage.merchant.fulfilled.values()) == 1


async def test_an_iphone_without_script(browser, shop, stage):
    """Without script the sheet shows a button that leads back into the app, and the purchase is delivered."""
    person = await visit(browser, shop, "plain", locale="en-GB", java_script_enabled=False)
    page = person.page
    await page.goto(f"{shop.url}/buy/coins_500")
    await page.get_by_label("iPhone").check()
    await page.get_by_role("button", name="Pay").click()
    stage.apple.next_notifications(drop=True)
    await page.get_by_role("button", name="Buy", exact=True).click()
    await page.get_by_role("button", name="Return to the app").click()
    await expect(page.locator("h1")).to_contain_text("Delivered")
    await expect(page.locator(".timeline")).to_contain_text("StoreKit")


async def test_a_purchase_on_android_in_english(browser, shop, stage):
    """By Google Play's dialog and back: the token is verified, the purchase acknowledged, and consumed when delivered."""
    person = await visit(browser, shop, "en-android", locale="en-GB", **PHONE)
    page = person.page
    await page.get_by_role("link", name="Buy ¥6.00").click()
    await page.get_by_label("Android").check()
    await person.picture("1-payment")
    await page.get_by_role("button", name="Pay ¥6.00").click()
    await expect(page).to_have_title("Google Play purchase · SIMULATOR")
    await expect(page.locator("main")).to_contain_text("license tester")
    await person.picture("2-sheet")
    stage.google.faults.notification(event="purchased", drop=True)
    await page.get_by_role("button", name="Buy", exact=True).click()
    await expect(page.locator("h1")).to_contain_text("Delivered")
    timeline = page.locator(".timeline")
    for what in ("Play Billing", "Purchase acknowledged", "Purchase consumed"):
        await expect(timeline).to_contain_text(what)
    await expect(page.locator(".checked")).to_contain_text("✓ asked Google itself")
    await expect(page.locator(".facts")).to_contain_text("Google Play · Android")
    await expect(page.locator(".facts")).to_contain_text("¥6.00")
    await person.picture("3-delivered")
    (order_no,) = shop.purchases
    (bought,) = stage.google.books.purchases.values()
    assert stage.merchant.fulfilled[order_no] == 1
    assert (bought.acknowledged, bought.consumed) == (True, True)
    await page.get_by_role("link", name="Google Play's simulator").click()
    await expect(page.locator("body")).to_contain_text(bought.order_id)
    await person.picture("4-books")
    assert person.complaints == []


async def test_a_slow_purchase_in_chinese(browser, shop, stage):
    """Bought for cash: the page waits for the money, follows by itself when it comes, and tells when it goes back."""
    dark = {"color_scheme": "dark", **PHONE}
    person = await visit(browser, shop, "zh-android", locale="zh-CN", **dark)
    page = person.page
    await page.goto(f"{shop.url}/buy/coins_2800")
    await page.get_by_label("Android").check()
    await person.picture("1-payment")
    await page.get_by_role("button", name="支付").click()
    await person.picture("2-sheet")
    await page.get_by_role("button", name="慢速付款").click()
    await expect(page.locator("h1")).to_contain_text("等待款项到账")
    await expect(page.locator(".timeline")).to_contain_text("价格由 Google Play 确定")
    await person.picture("3-awaited")
    (order_no,) = shop.purchases
    (token,) = stage.google.books.purchases
    assert stage.merchant.fulfilled[order_no] == 0
    await stage.google.complete_pending(token)
    await expect(page.locator("h1")).to_contain_text("已到账")
    # By Google's push, or by our own question where that was faster.
    asked = re.compile("Google 推送了变更通知|反复向 Google 查询")
    await expect(page.locator(".timeline")).to_contain_text(asked)
    await expect(page.locator(".timeline")).to_contain_text("已消耗购买")
    await stage.google.void(token)
    await expect(page.locator("h1")).to_contain_text("已退款")
    await expect(page.locator(".timeline")).to_contain_text("已告知游戏服务器退款")
    await expect(page.locator("main")).not_to_contain_text("支付宝")
    await expect(page.locator("main")).not_to_contain_text("苹果")
    await person.picture("4-refunded")
    assert stage.merchant.fulfilled[order_no] == 1
    assert person.complaints == []


async def test_google_does_not_take_an_acknowledgement(browser, shop, stage):
    """The goods are given all the same, and the page says what is still owed; the pass is owned then, once."""
    dark = {"color_scheme": "dark", **DESKTOP}
    person = await visit(browser, shop, "en-owed", locale="en-GB", **dark)
    page = person.page
    await page.goto(f"{shop.url}/buy/season_pass")
    await page.get_by_label("Android").check()
    await page.get_by_role("button", name="Pay").click()
    stage.google.next_answers("backendError", "backendError", path=":acknowledge")
    await page.get_by_role("button", name="Buy, but the app dies").click()
    await expect(page.locator("main")).to_contain_text("the app has heard nothing")
    await page.goto(shop.url)
    await page.locator(".recent a").click()
    await expect(page.locator("h1")).to_contain_text("Delivered")
    timeline = page.locator(".timeline")
    await expect(timeline).to_contain_text("Still owed to Google Play: acknowledgement")
    await person.picture("1-owed")
    await page.goto(f"{shop.url}/buy/season_pass")
    await page.get_by_label("Android").check()
    await page.get_by_role("button", name="Pay").click()
    await page.get_by_role("button", name="Buy", exact=True).click()
    await expect(page.locator("main")).to_contain_text("ITEM_ALREADY_OWNED")
    assert sum(stage.merchant.fulfilled.values()) == 1


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", ["alipay", "apple", "google"])
@pytest.mark.parametrize(
    ("what", "detail"),
    [
        ("endpoint_paused", {"endpoint": "default/main", "event_id": "evt_1"}),
        ("refund_ordered", {}),
        *(("duty_attempt", {"duty": duty, "ok": True}) for duty in DUTIES),
        *(("duty_attempt", {"duty": duty, "ok": False, "error": "no"}) for duty in DUTIES),
        ("duty_overdue", {"duty": "consume"}),
        ("duty_exhausted", {}),
        ("duty_resent", {"duty": "acknowledge"}),
        ("evidence_waiting", {}),
        ("evidence_refused", {"reason": "refused"}),
        ("closed", {"to": "closed"}),
    ],
)
def test_what_is_seldom_seen_is_told_in_words(what, detail, kind, language):
    """Title and text are sentences of the page's language, with every name filled in."""
    at = "2026-09-21T12:00:00.000000Z"
    line = {"at": at, "what": what, "actor": "relay", "detail": detail}
    order = {"timeline": [line], "amount": None, "currency": None, "created_at": at}
    (moment,) = Narrator(order, kind, {}, ShopWords(language)).moments()
    told = moment.title + moment.text
    assert "…" not in told
    assert "_" not in told
    assert bool(re.search("[\u4e00-\u9fff]", told)) is (language == "zh")


async def test_android_without_script(browser, shop, stage):
    """Without script a button hands the token over, and the page looks again until the slow money has come."""
    person = await visit(browser, shop, "plain", locale="en-GB", java_script_enabled=False)
    page = person.page
    await page.goto(f"{shop.url}/buy/coins_500")
    await page.get_by_label("Android").check()
    await page.get_by_role("button", name="Pay").click()
    await page.get_by_role("button", name="Buy slowly").click()
    await page.get_by_role("button", name="Hand the purchase token to the app").click()
    await expect(page.locator("h1")).to_contain_text("Waiting for the payment")
    (token,) = stage.google.books.purchases
    await stage.google.complete_pending(token)
    await expect(page.locator("h1")).to_contain_text("Delivered")


@pytest.mark.parametrize(
    ("channel", "method", "receipt", "status", "words"),
    [
        ("apple", "storekit", "signed_transaction=a.b.c", 400, "not issued by the store"),
        ("google", "play_billing", "purchase_token=a.b.c", 422, "Google answered 400"),
        ("google", "play_billing", "signed_transaction=a.b.c", 400, "payplat refused"),
    ],
)
async def test_anybody_may_post_a_receipt_and_nobody_gains(
    stage, shop, channel, method, receipt, status, words
):
    """The page that takes receipts asks for no token: what the store did not issue is refused, and nothing is paid."""
    bought = await shop.buy("a-key", "coins_500", channel, method)
    web = Web()
    url = f"{shop.url}/orders/{bought.order_no}"
    kind = "application/x-www-form-urlencoded"
    answer = await web.post(f"{url}/bought", receipt.encode(), kind)
    other = await web.post(f"{url}/check", b"", kind)
    web.close()
    assert answer.code == status
    assert words in answer.body.decode()
    assert other.code == 403
    assert (await shop.game.order(bought.order_no))["status"] == "pending"


async def test_it_works_without_script(browser, shop, stage):
    """Without script the order page looks again by itself, and arrives at delivered too."""
    person = await visit(browser, shop, "en-plain", locale="en-GB", java_script_enabled=False)
    page = person.page
    await page.get_by_role("link", name="Buy ¥6.00").click()
    await page.get_by_role("button", name="Pay").click()
    stage.merchant.next("slow", seconds=1.5)
    await page.get_by_role("button", name="Pay now").click()
    await expect(page.locator("h1")).to_contain_text("Delivered")


async def test_the_language_can_be_switched(browser, shop):
    """The choice wins over what the browser prefers, and is remembered from page to page."""
    person = await visit(browser, shop, "switch", locale="en-GB", **DESKTOP)
    page = person.page
    await page.get_by_role("link", name="中文").click()
    await expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    await page.get_by_role("link", name="购买 ¥6.00").click()
    await expect(page.locator("h1")).to_have_text("500 金币")
    await page.get_by_role("link", name="English").click()
    await expect(page.locator("h1")).to_have_text("500 gold coins")
    assert person.complaints == []


async def test_a_repeated_click_buys_once(stage, shop):
    """The same form sent twice opens one order; another method is another order."""
    first = await shop.buy("a-key", "coins_500", "alipay", "page")
    again = await shop.buy("a-key", "coins_500", "alipay", "page")
    other = await shop.buy("a-key", "coins_500", "alipay", "qr")
    assert first.order_no == again.order_no != other.order_no
    assert len(shop.purchases) == 2


async def test_what_others_wrote_is_text(shop):
    """A title that looks like a page is shown as it is written."""
    product = Product(title="<script>alert(1)</script>", prices={"CNY": 100})
    shop.products = {"evil": product}
    web = Web()
    for path in ("/", "/buy/evil"):
        body = (await web.get(shop.url + path)).body
        assert b"<script>" not in body
        assert b"&lt;script&gt;" in body
    web.close()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404),
        ("/buy/nothing", 404),
        (f"/orders/{'0' * 32}", 404),
        (f"/orders/{'0' * 32}/qr.svg", 404),
        (f"/orders/{'0' * 32}/check", 405),
        ("/orders/%3Cscript%3E", 404),
        ("/return?out_trade_no=//elsewhere.example", 303),
    ],
)
async def test_wrong_addresses_lead_nowhere(shop, path, status):
    """Whatever is asked, the answer is a page of ours under a strict policy, and nothing asked for is repeated."""
    web = Web()
    answer = await web.get(shop.url + path)
    web.close()
    assert answer.code == status
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert b"<script>" not in answer.body
    assert answer.headers.get("Location", "/") == "/"

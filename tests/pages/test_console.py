"""The operator's console in a real browser: a stuck order is found, understood and mended, in both languages."""

import shutil
from collections.abc import AsyncIterator

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, expect

from payplat import operators
from payplat.demo.stage import Companies, Stage, set_stage
from payplat.models import DELIVERIES
from payplat.operators import Role
from tests.browser import DESKTOP, PHONE, Visit, open_page
from tests.stage import Client


@pytest.fixture
def overrides() -> dict[str, str]:
    """Late money is held; a merchant that fails is soon given up."""
    return {
        "PAYPLAT_CHANNELS__ALIPAY__LATE": "hold",
        "PAYPLAT_DELIVERY__ATTEMPTS": "2",
        "PAYPLAT_DELIVERY__BASE_SECONDS": "0.1",
    }


@pytest.fixture
async def stage(
    alipay, apple, google, overrides, our_keys, sqlite_template, tmp_path
) -> AsyncIterator[Stage]:
    """A stage on SQLite: a browser sees no difference."""
    shutil.copy(sqlite_template, tmp_path / "payplat.db")
    companies = Companies(alipay, apple, google)
    async with set_stage(
        tmp_path, overrides=overrides, companies=companies, keys=our_keys
    ) as stage:
        yield stage


async def signed_in(
    browser: Browser, stage: Stage, picture: str, role: Role = Role.OPERATOR, **options
) -> Visit:
    """Somebody at the console, who has typed name and password; named by the role."""
    name = f"{role}-{len(browser.contexts)}"
    password = await operators.create(stage.platform.database, name, role, "test")
    visit = await open_page(browser, f"{stage.url}/console", picture, **options)
    page = visit.page
    await page.locator("input[name=name]").fill(name)
    await page.locator("input[name=password]").fill(password)
    await page.locator("button.main").click()
    await expect(page.locator("nav")).to_be_visible()
    return visit


async def sound(visit: Visit) -> None:
    """No rule of axe is broken on the page, and nothing on it has complained."""
    found = await Axe().run(visit.page)
    told = [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in found.response["violations"]]
    assert told == []
    assert visit.complaints == []


async def stuck_order(client: Client, stage: Stage) -> str:
    """An order that was paid, and whose merchant failed until its delivery was given up."""
    stage.merchant.next("500", "500")
    order_no = await client.entered()
    await stage.alipay.pay(order_no)
    await client.until(lambda: client.count("deliveries", "status='exhausted'"))
    return order_no


async def test_a_stuck_order_is_found_and_mended_in_english(browser, client, stage):
    """By the provider's transaction id: why it is stuck is read, and its delivery is sent again and received."""
    order_no = await stuck_order(client, stage)
    person = await signed_in(browser, stage, "console-en", locale="en-GB", **DESKTOP)
    page = person.page
    await expect(page.locator(".figures")).to_contain_text("1 deliveries given up")
    await expect(page.locator(".chart canvas")).to_have_count(4)
    await person.picture("1-start")
    await sound(person)
    (transaction,) = (trade.trade_no for trade in stage.alipay.ledger.trades.values())
    await page.get_by_role("searchbox").or_(page.locator("input[name=q]")).fill(transaction)
    await page.get_by_role("button", name="Search").click()
    await expect(page.locator("h1")).to_contain_text(order_no)
    await expect(page.locator(".why")).to_contain_text(
        "did not acknowledge order.paid in 2 attempts"
    )
    await page.locator("summary", has_text="Message of the provider").first.click()
    await expect(page.locator("details[open] pre").first).to_contain_text(transaction)
    await person.picture("2-stuck")
    await sound(person)
    await page.get_by_role("button", name="Send again").click()
    await expect(page.get_by_role("status")).to_have_text("It goes out again now.")
    await expect(page.locator(".why")).to_contain_text("has acknowledged order.paid")
    await person.picture("3-delivered")
    await sound(person)
    assert stage.merchant.fulfilled[order_no] == 1
    await page.get_by_role("link", name="Audit log").click()
    await expect(page.locator("tbody tr").first).to_contain_text("sent again")
    await person.picture("4-acts")
    await sound(person)


async def test_a_stuck_order_is_found_and_mended_in_chinese(browser, client, stage):
    """The same on a phone, in Chinese and in the dark, from the list of deliveries."""
    order_no = await stuck_order(client, stage)
    dark = {"color_scheme": "dark", **PHONE}
    person = await signed_in(browser, stage, "console-zh", locale="zh-CN", **dark)
    page = person.page
    await person.picture("1-start")
    await sound(person)
    await page.get_by_role("link", name="已放弃通知").click()
    await expect(page.locator("tbody tr", has_text=order_no)).to_contain_text("已放弃")
    await person.picture("2-deliveries")
    await sound(person)
    await page.get_by_role("link", name=order_no).click()
    await expect(page.locator(".why")).to_contain_text("已停止：需由运营人员重发")
    await person.picture("3-stuck")
    await sound(person)
    await page.get_by_role("button", name="重发").click()
    await expect(page.locator(".why")).to_contain_text("确认 order.paid")
    await person.picture("4-delivered")
    assert stage.merchant.fulfilled[order_no] == 1
    assert person.complaints == []


async def test_held_money_needs_two_people(browser, client, stage):
    """One operator proposes to deliver a late payment and cannot decide; another approves, and it is delivered."""
    order_no = await held_order(client, stage)
    ann = await signed_in(browser, stage, "console-ann", locale="en-GB", **DESKTOP)
    bob = await signed_in(browser, stage, "console-bob", locale="en-GB", **DESKTOP)
    await ann.page.get_by_role("link", name="To decide").click()
    await ann.picture("1-queue")
    await sound(ann)
    await ann.page.get_by_role("link", name="Decide", exact=True).click()
    await ann.page.get_by_label("Reason").fill("The player waits, and the bank was slow.")
    await ann.page.get_by_role("button", name="Propose to deliver").click()
    await expect(ann.page.locator(".proposal")).to_contain_text("Another operator decides.")
    await expect(ann.page.get_by_role("button", name="Approve")).to_have_count(0)
    await ann.picture("2-proposed")
    await sound(ann)
    await bob.page.goto(f"{stage.url}/console/quarantine")
    await bob.picture("1-proposal")
    await sound(bob)
    await bob.page.get_by_role("button", name="Approve").click()
    await expect(bob.page.get_by_role("status")).to_have_text("Approved and done.")
    await client.until(lambda: stage.merchant.fulfilled[order_no])
    assert (await client.order(order_no))["status"] == "paid"
    await bob.page.goto(f"{stage.url}/console/orders/{order_no}")
    await expect(bob.page.locator(".timeline")).to_contain_text("proposed to release")
    await bob.picture("2-delivered")
    await sound(bob)


async def held_order(client: Client, stage: Stage) -> str:
    """An order that was paid after it had closed."""
    order_no = await client.entered()
    past = "UPDATE orders SET expires_at=1, status='closed', settled_at=2, next_check_at=NULL"
    database = stage.platform.database
    await database.transaction(lambda c: c.exec_driver_sql(f"{past} WHERE order_no='{order_no}'"))
    await stage.alipay.pay(order_no)
    await client.until(lambda: client.count("orders", "status='held'"))
    return order_no


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_a_viewer_sees_no_levers(browser, client, stage, language):
    """A viewer reads every page, and none of them offers anything to press; all pages are sound."""
    order_no = await stuck_order(client, stage)
    person = await signed_in(
        browser, stage, "console-viewer", Role.VIEWER, locale="en-GB", **DESKTOP
    )
    page = person.page
    pages = (
        "",
        "/search",
        "/search?q=player-1",
        "/deliveries",
        "/quarantine",
        "/channels",
        "/acts",
        "/account",
    )
    for number, path in enumerate((*pages, f"/orders/{order_no}")):
        mark = "&" if "?" in path else "?"
        await page.goto(f"{stage.url}/console{path}{mark}lang={language}")
        await person.picture(f"{number}-{language}")
        await sound(person)
        if path != "/account":
            assert await page.locator("main form[method=post] button").count() == 0, path


async def test_without_script_all_works(browser, client, stage):
    """A browser without script signs in, finds the order, and sends its delivery again."""
    order_no = await stuck_order(client, stage)
    person = await signed_in(
        browser, stage, "console-plain", locale="en-GB", java_script_enabled=False, **DESKTOP
    )
    page = person.page
    await page.locator("input[name=q]").fill("player-1")
    await page.get_by_role("button", name="Search").click()
    await page.get_by_role("link", name=order_no).click()
    await page.get_by_role("button", name="Send again").click()
    await client.until(lambda: stage.merchant.fulfilled[order_no])
    assert await client.count(DELIVERIES.name, "status='delivered'") == 1
    assert person.complaints == []


async def test_the_keyboard_is_enough(browser, client, stage):
    """From the first Tab: the way past the menu, the search and an order are reached without a mouse, and seen."""
    order_no = await stuck_order(client, stage)
    person = await signed_in(browser, stage, "console-keys", locale="en-GB", **DESKTOP)
    page = person.page
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.locator("input[name=q]")).to_be_focused()
    await page.keyboard.type(order_no)
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_contain_text(order_no)
    await page.get_by_role("button", name="Send again").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator(".why")).to_contain_text("has acknowledged")

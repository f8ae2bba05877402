"""The page of the App Store's simulator that lists its purchases, by HTTP and in Chromium."""

import pytest
from playwright.async_api import expect

from tests.simulators.apple_stage import BUNDLE, opened
from tests.simulators.test_apple_sheet import chromium, open_sheet, text

__all__ = ["chromium"]


@pytest.fixture
async def sim(inbox):
    async with opened(Sandbox=inbox.url) as sim:
        yield sim


async def test_the_books_are_open_to_people(sim, browse):
    """Purchases and notifications, the newest first, and what was refunded."""
    empty = text(await browse(f"{sim.url}/?lang=en"))
    assert empty.count("Nothing yet.") == 2
    old = await sim.buy(BUNDLE, "castle", customer="<b>Ann</b>")
    await sim.refund(old.transaction_id)
    new = await sim.buy(BUNDLE, "coins_500", quantity=3)
    answer = await browse(f"{sim.url}/?lang=en")
    page = text(answer)
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert page.index(new.transaction_id) < page.index(old.transaction_id)
    for seen in ("14.97 USD", "&lt;b&gt;Ann&lt;/b&gt;", "✓ 200 SUCCESS", "REFUND #1"):
        assert seen in page
    assert page.count("refunded or revoked") == 1


async def test_what_is_not_known_is_not_told(sim, browse):
    """A product without a price, and a transaction that leaves out its product, are listed like others."""
    bought = await sim.buy(BUNDLE, "free", notify=False, productId=None)
    answer = await browse(f"{sim.url}/?lang=en")
    assert answer.code == 200
    assert bought.transaction_id in text(answer)
    assert "No price known" in text(answer)


async def test_the_books_fit_a_phone(sim, chromium):
    """In Chinese and English, without scrolling sideways."""
    bought = await sim.buy(BUNDLE, "coins_500")
    complaints: list[str] = []
    page = await open_sheet(chromium, sim.url, complaints, locale="zh-CN")
    await expect(page.locator("table").first).to_contain_text(bought.transaction_id)
    await page.get_by_role("link", name="English").click()
    await expect(page.locator("h2").first).to_have_text("Purchases")
    assert complaints == []

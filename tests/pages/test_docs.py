"""The docs page in a browser: on a desk and on a phone, by day and by night."""

import pytest
from axe_playwright_python.async_playwright import Axe

from tests.browser import DESKTOP, PHONE, open_page

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def works() -> bool:
    """Nothing is sold here."""
    return False


@pytest.mark.gen_test(timeout=280)
async def test_the_page_is_good_everywhere(stage, browser):
    """Nothing is refused by its policy, asked of another machine, wider than the window, or hard to read (axe)."""
    for name, light, options in (("desktop", "light", DESKTOP), ("phone", "dark", PHONE)):
        address = f"{stage.url}/docs"
        visit = await open_page(browser, address, f"docs-{name}", color_scheme=light, **options)
        await visit.picture(light)
        await visit.page.locator("#create_order details summary").first.click()
        await visit.page.get_by_role("link", name="mismatch", exact=True).first.click()
        assert visit.page.url == f"{address}#error-mismatch"
        found = (await Axe().run(visit.page)).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
        assert visit.complaints == []


@pytest.mark.gen_test(timeout=280)
async def test_the_page_is_whole_without_script(stage, browser):
    """Who lets no script run reads the same, and can open what is folded."""
    visit = await open_page(browser, f"{stage.url}/docs", "docs-plain", java_script_enabled=False)
    folded = visit.page.locator("#error-draining pre")
    assert not await folded.is_visible()
    await visit.page.locator("#error-draining summary").click()
    assert "draining" in await folded.inner_text()
    assert visit.complaints == []

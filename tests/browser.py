"""A person's browser: what is looked at, pictured, and complained of."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page, Request, expect

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PICTURES = os.environ.get("PAYPLAT_SCREENSHOTS")
expect.set_options(timeout=60_000)
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}


@dataclass
class Visit:
    """One person's browser in the shop, and everything in it that should not be."""

    page: Page
    name: str
    complaints: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> Page:
        """Note what a page complains of, what it fails to load, and whatever it asks of another machine."""
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", self._failed)
        page.on("request", self._asked)
        return page

    async def picture(self, what: str, page: Page | None = None) -> None:
        """Keep a picture of the page where one is wanted; nothing may stick out sideways."""
        page = page or self.page
        width = "document.documentElement.scrollWidth - innerWidth"
        assert await page.evaluate(width) <= 0, f"{what} is wider than the window"
        if PICTURES:
            await page.wait_for_timeout(600)
            path = Path(PICTURES) / f"{self.name}-{what}.png"
            await page.screenshot(path=path, full_page=True)

    def _asked(self, request: Request) -> None:
        if urlsplit(request.url).hostname != "127.0.0.1":
            self.complaints.append(f"asked {request.url}")

    def _failed(self, request: Request) -> None:
        # A page that is left takes what it is still loading with it.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"{request.failure} {request.url}")


async def open_page(browser: Browser, address: str, name: str, **options) -> Visit:
    """Open an address as somebody; ``options`` are those of a browser context."""
    context = await browser.new_context(**options)
    context.set_default_timeout(60_000)
    visit = Visit(await context.new_page(), name)
    visit.watch(visit.page)
    await visit.page.goto(address)
    return visit

"""One Chromium for the tests of a module, on a loop that they share."""

import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.async_api import Browser, async_playwright
from tornado.ioloop import IOLoop

from tests.browser import FLAGS
from tests.conftest import REQUIRED, fresh_loop


@pytest.fixture(scope="module")
def io_loop() -> Iterator[IOLoop]:
    """One loop for all tests here, on which one browser can be driven."""
    with fresh_loop() as io_loop:
        yield io_loop


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """Chromium, started once: that takes longer than most visits."""
    path = shutil.which("chromium")
    if path is None:
        reason = "chromium not found: apt-get install chromium fonts-wqy-microhei libatomic1"
        if "browser" in REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        await chromium.close()


@pytest.fixture
def browser(request, io_loop) -> Iterator[Browser]:
    """A browser that nobody has used: what a visitor left behind in it is gone."""
    request.node.user_properties.append(("lane", "browser"))
    chromium = request.getfixturevalue("chromium")
    yield chromium
    for context in chromium.contexts:
        io_loop.run_sync(context.close)

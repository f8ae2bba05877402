"""``payplat demo``: sets the stage in a temporary folder, plays the stories, counts the invariants, tells of it.

On a terminal a shop stays open in the end, in which a person buys something.
"""

import asyncio
import contextlib
import logging
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog

from payplat import operators
from payplat.database import Database
from payplat.demo.client import Web
from payplat.demo.invariants import count_all, count_orders
from payplat.demo.scene import Scene
from payplat.demo.stage import Stage, set_stage
from payplat.demo.storefront import open_shop
from payplat.demo.stories import STORIES
from payplat.demo.story import Story
from payplat.demo.telling import Outcome, Teller, language_of
from payplat.operators import Role
from payplat.schema import migrate

LONGEST_STORY = 20.0
"""Seconds after which a story is given up."""


async def main(*, stay: bool, stories: Sequence[Story] = STORIES) -> int:
    """Play; return 0 when every story came true and every invariant holds, otherwise 1.

    With ``stay`` a shop remains open until Ctrl-C or SIGTERM. Everything is removed in the end.
    """
    teller, began = Teller(language_of(os.environ)), time.monotonic()
    teller.say("title")
    ended = _ended_by(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    with ended, tempfile.TemporaryDirectory(prefix="payplat-demo-") as name:
        folder = Path(name)
        with _logs_in(folder / "payplat.log"):
            await _migrate(folder)
            try:
                async with set_stage(folder) as stage:
                    held = await _show(stage, teller, stories, began)
                    if stay:
                        await _stay(stage, teller)
                    else:
                        teller.say("on_a_terminal")
            except asyncio.CancelledError:
                teller.say("stopped")
                await _die_away()
                return 1
    return 0 if held else 1


async def _show(stage: Stage, teller: Teller, stories: Sequence[Story], began: float) -> bool:
    """Play and count; return whether all is well."""
    teller.gap()
    teller.say("stories")
    failed = await _play(stage, teller, stories)
    counts = [counted async for counted in count_all(stage)]
    teller.gap()
    teller.say("invariants", await count_orders(stage))
    teller.counts(counts)
    broken = sum(not count.holds for _, count in counts)
    teller.gap()
    seconds = time.monotonic() - began
    if failed or broken:
        teller.say("ill", failed, len(stories), broken, len(counts), seconds)
    else:
        teller.say("well", len(stories), len(counts), seconds)
    return not failed and not broken


async def _play(stage: Stage, teller: Teller, stories: Sequence[Story]) -> int:
    """Play the stories at the same time, but for those that must be alone; print in order; return how many failed."""
    failed = 0
    with contextlib.closing(Web()) as web:
        scene = Scene.of(stage, web)
        async with asyncio.TaskGroup() as group:
            together = {s: group.create_task(_one(s, scene)) for s in stories if not s.alone}
            for story in stories:
                if story.alone:
                    await asyncio.gather(*together.values())
                outcome = await (together.get(story) or _one(story, scene))
                teller.story(story, outcome)
                failed += bool(outcome.reason)
    return failed


async def _one(story: Story, scene: Scene) -> Outcome:
    began, reason = time.monotonic(), ""
    try:
        async with asyncio.timeout(LONGEST_STORY):
            await story.play(scene)
    except Exception as error:  # noqa: BLE001 - whatever it was, the story did not come true
        reason = str(error) or type(error).__name__
    return Outcome(time.monotonic() - began, reason)


async def _stay(stage: Stage, teller: Teller) -> None:
    async with open_shop(stage) as shop:
        teller.say("now_you")
        teller.gap()
        teller.link("shop", shop.url)
        _link(stage, teller)
        await _open_console(stage, teller)
        teller.say("until_stopped")
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    teller.say("closed")


async def _open_console(stage: Stage, teller: Teller) -> None:
    """Let two people into the console: what becomes of held money takes two."""
    teller.link("console", f"{stage.url}/console")
    for name in ("operator", "colleague"):
        password = await operators.create(stage.platform.database, name, Role.OPERATOR, "demo")
        teller.link("sign_in", f"{name}  {password}")
    teller.gap()


def _link(stage: Stage, teller: Teller) -> None:
    for key, address in (
        ("alipay", stage.alipay.url),
        ("apple", stage.apple.url),
        ("google", stage.google.url),
        ("merchant", stage.merchant.url.removesuffix("/webhooks")),
        ("api", stage.url),
        ("folder", stage.folder),
    ):
        teller.link(key, address)
    teller.gap()


async def _die_away() -> None:
    """End requests that were cut off, as the loop would, while their complaints still go into the log."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


async def _migrate(folder: Path) -> None:
    database = Database(f"sqlite:///{folder / 'payplat.db'}")
    try:
        await migrate(database)
    finally:
        await database.close()


@contextmanager
def _ended_by(*signs: signal.Signals) -> Iterator[None]:
    """Let signals end the running task as Ctrl-C does, so that everything is taken down."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is None:
        raise RuntimeError("called outside of a task")
    for sign in signs:
        loop.add_signal_handler(sign, task.cancel)
    try:
        yield
    finally:
        for sign in signs:
            loop.remove_signal_handler(sign)


@contextmanager
def _logs_in(file: Path) -> Iterator[None]:
    """Send all logs to a file: what goes wrong on purpose is no noise on the screen."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    mine = logging.FileHandler(file, encoding="utf-8")
    processors = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    mine.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[processors, structlog.processors.JSONRenderer(ensure_ascii=False)]
        )
    )
    root.handlers, root.level = [mine], logging.INFO
    try:
        yield
    finally:
        root.handlers, root.level = handlers, level
        mine.close()

"""The demo as a user runs it: every story comes true, and a broken one is told."""

import asyncio
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from payplat.demo import play, telling
from payplat.demo.scene import Broken
from payplat.demo.stories import STORIES
from payplat.demo.story import Story

DEMO = [sys.executable, "-m", "payplat", "demo"]


def environment(folder: Path, language: str) -> dict[str, str]:
    """A user's environment, with a place for temporary files that a test can look into."""
    kept = {name: each for name, each in os.environ.items() if not name.startswith("PAYPLAT_")}
    return {**kept, "LC_ALL": language, "TMPDIR": str(folder), "PYTHONUTF8": "1"}


def test_every_story_comes_true(tmp_path):
    """Off a terminal it plays, counts, removes everything, ends with 0, and is silent where all is well."""
    ran = subprocess.run(
        DEMO,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        text=True,
        env=environment(tmp_path, "en_GB.UTF-8"),
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    all_came_true(ran.stdout, "en")
    assert list(tmp_path.iterdir()) == []


def all_came_true(told: str, language: str) -> None:
    """Every story has its line, ticked, in this language, and nothing is crossed."""
    lines = told.splitlines()
    for story in STORIES:
        sentence = story.sentence(language)
        assert [
            line for line in lines if re.fullmatch(rf" ✓ +[\d.]+ s +{re.escape(sentence)}", line)
        ]
    assert "✗" not in told


def test_a_terminal_gets_a_shop_until_it_is_stopped(tmp_path):
    """On a terminal, a Chinese one, the shop answers until SIGTERM, after which nothing is left behind."""
    terminal, end = pty.openpty()
    environ = environment(tmp_path, "zh_CN.UTF-8")
    running = subprocess.Popen(DEMO, stdin=end, stdout=end, stderr=end, env=environ)
    os.close(end)
    seen = read_until(terminal, "Ctrl-C")
    all_came_true(seen, "zh")
    address = re.search(r"演示商店\s+(http://127\.0\.0\.1:\d+)", seen)
    assert address, seen
    with urlopen(address[1], timeout=5) as page:
        assert b"DEMO" in page.read()
    running.send_signal(signal.SIGTERM)
    assert "全部清除" in read_until(terminal, "已关闭")
    assert running.wait(20) == 0
    os.close(terminal)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_can_be_stopped_in_the_middle(tmp_path, sign):
    """Stopped while the stories are played, it says so, ends with 1 and leaves nothing behind."""
    running = subprocess.Popen(
        DEMO, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment(tmp_path, "C")
    )
    with running:
        assert running.stdout is not None
        while b"Stories" not in running.stdout.readline():
            pass
        running.send_signal(sign)
        rest = running.stdout.read().decode()
    assert rest.endswith("stopped before the end\n")
    assert running.returncode == 1
    assert list(tmp_path.iterdir()) == []


def read_until(terminal: int, words: str) -> str:
    """Read what is printed, without colours, up to the line with these words."""
    raw, seen = b"", ""
    while not re.search(rf"{re.escape(words)}.*\n", seen):
        raw += os.read(terminal, 4096)
        seen = re.sub(r"\x1b\[[0-9;]*m", "", raw.decode("utf-8", "replace"))
    return seen


async def fails(scene):
    """The sun rises in the west."""
    raise Broken("it rose in the east")


async def hangs(scene):
    """Nothing happens at all."""
    await asyncio.Event().wait()


async def test_a_broken_world_is_told(capsys, monkeypatch):
    """A story that fails, or never ends, makes the demo end with 1 and say why; the others are still played."""
    monkeypatch.setattr(play, "LONGEST_STORY", 4.0)
    stories = [Story(fails), Story(hangs), STORIES[0]]
    assert await play.main(stay=False, stories=stories) == 1
    told = capsys.readouterr().out
    assert re.search(r"✗ .* The sun rises in the west\.\n +it rose in the east", told)
    assert re.search(r"✗ .* Nothing happens at all\.\n +TimeoutError", told)
    assert re.search(r"✓ .* Alipay notifies us", told)
    assert "2 of 3 stories failed" in told


async def test_what_a_store_sold_and_nobody_got_is_told(capsys):
    """A purchase that stands in a store's books and was never delivered does not pass."""

    async def sells_in_silence(scene):
        """Stores sell, and nobody hears of it."""
        await scene.buys_on(scene.iphone)
        await scene.buys_on(scene.android)
        await scene.buys_on(scene.android, pending=True)

    assert await play.main(stay=False, stories=[Story(sells_in_silence)]) == 1
    told = capsys.readouterr().out
    assert re.search(r"✗ +Apple's books equal ours +1 − 0 = 0 − 0 1 of 1 broken", told)
    assert re.search(r"✗ +Google's books equal ours +1 − 0 = 0 − 0, 1 = 0 2 of 1 broken", told)
    assert "0 of 1 stories failed" in told


async def test_a_refund_that_nobody_was_told_of_is_counted(capsys):
    """Money that a store gave back, of which the merchant knows nothing, does not pass."""

    async def gives_back_in_silence(scene):
        """Stores give money back, and nobody hears of it."""
        apple, google = scene.stage.apple, scene.stage.google
        sold, receipt = await scene.buys_on(scene.iphone, notify=True)
        bought, token = await scene.buys_on(scene.android, notify=True)
        await scene.delivered_once(sold)
        await scene.told(bought, "duty_attempt", duty="consume", ok=True)
        google.faults.notification(times=None, drop=True)
        await apple.refund(receipt["transaction_id"], notify=False)
        await google.void(token["purchase_token"])

    assert await play.main(stay=False, stories=[Story(gives_back_in_silence)]) == 1
    told = capsys.readouterr().out
    assert re.search(r"✗ +Apple's books equal ours +1 − 1 = 1 − 0 1 of 1 broken", told)
    assert re.search(r"✗ +Google's books equal ours +1 − 1 = 1 − 0, 0 = 0 1 of 1 broken", told)
    assert "0 of 1 stories failed" in told


@pytest.mark.parametrize("forgotten", ["acknowledged", "consumed"])
async def test_what_is_owed_to_google_is_counted(capsys, forgotten):
    """A delivered purchase that Google knows to be neither acknowledged nor consumed does not pass."""

    async def is_forgotten(scene):
        """Google forgets."""
        order_no, receipt = await scene.buys_on(scene.android, notify=True)
        await scene.told(order_no, "duty_attempt", duty="consume", ok=True)
        bought = scene.stage.google.books.need(receipt["purchase_token"])
        bought.consumed = False
        bought.acknowledged = forgotten != "acknowledged"

    assert await play.main(stay=False, stories=[Story(is_forgotten)]) == 1
    told = capsys.readouterr().out
    assert re.search(r"✗ +Google's books equal ours +1 − 0 = 1 − 0, 1 = 0 1 of 1 broken", told)
    assert "0 of 1 stories failed" in told


async def test_a_broken_invariant_is_told(capsys, monkeypatch):
    """Goods that were given twice do not pass, though every story came true."""

    async def gives_twice(scene):
        """The merchant is generous."""
        order_no = await scene.buys()
        await scene.delivered_once(order_no)
        scene.stage.merchant.fulfilled[order_no] += 1

    assert await play.main(stay=False, stories=[Story(gives_twice)]) == 1
    told = capsys.readouterr().out
    assert "✗ every event reached the game once" in told.replace("  ", " ")
    assert "0 of 1 stories failed" in told


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "zh_TW.UTF-8"}, "zh"),
    ],
)
def test_the_language_is_that_of_the_locale(environ, language):
    """Chinese where the locale is Chinese, as the C library would choose it; English everywhere else."""
    assert telling.language_of(environ) == language


def test_every_story_is_told_in_both_languages():
    """No story is printed in the wrong language."""
    for story in STORIES:
        assert story.sentence("en").isascii()
        assert not story.sentence("zh").isascii()

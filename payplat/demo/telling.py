"""What the demo prints: one line for a story, one for an invariant, in English or Chinese."""

import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from payplat.demo.invariants import Count, Rule
from payplat.demo.story import Story

_SENTENCES = {
    "title": (
        "[bold]payplat demo[/] [dim]· all on this machine: no account, no key, no real money[/]",
        "[bold]payplat 演示[/] [dim]· 一切都在本机：无需账号、密钥，不涉及真实资金[/]",
    ),
    "stories": ("[bold]Stories[/]", "[bold]故事[/]"),
    "invariants": (
        "[bold]Invariants[/] [dim]counted over {0} orders, in the database and everybody's books[/]",
        "[bold]不变量[/] [dim]逐笔清点 {0} 个订单：数据库与各方账本[/]",
    ),
    "well": (
        "[green]All {0} stories came true and all {1} invariants hold.[/] [dim]{2:.1f} s[/]",
        "[green]{0} 个故事全部应验，{1} 条不变量全部成立。[/][dim]{2:.1f} 秒[/]",
    ),
    "ill": (
        "[red]{0} of {1} stories failed, {2} of {3} invariants are broken.[/] [dim]{4:.1f} s[/]",
        "[red]{1} 个故事中 {0} 个失败，{3} 条不变量中 {2} 条不成立。[/][dim]{4:.1f} 秒[/]",
    ),
    "broken": ("{0} of {1} broken", "{1} 项中 {0} 项不符"),
    "on_a_terminal": (
        "[dim]On a terminal, a shop now stays open in which you buy something yourself.[/]",
        "[dim]在终端里运行时，演示商店会保持打开，供您亲手购买。[/]",
    ),
    "now_you": (
        "[bold]Now you:[/] buy something, and let something go wrong at the cashier.",
        "[bold]轮到您了：[/]买点什么，并在收银台试着让它出点差错。",
    ),
    "until_stopped": (
        "[dim]Open until you press Ctrl-C; then everything is removed.[/]",
        "[dim]按 Ctrl-C 结束，届时全部清除。[/]",
    ),
    "closed": ("closed; everything is removed", "已关闭，数据已全部清除"),
    "stopped": ("[red]stopped before the end[/]", "[red]中途停止[/]"),
    "shop": ("the shop", "演示商店"),
    "alipay": ("Alipay's simulator", "支付宝模拟器"),
    "apple": ("App Store's simulator", "App Store 模拟器"),
    "google": ("Google Play's simulator", "Google Play 模拟器"),
    "merchant": ("the game's server", "游戏服务器"),
    "console": ("operators' console", "运营控制台"),
    "sign_in": ("  name, password", "  用户名、密码"),
    "api": ("payplat's API", "payplat 接口"),
    "folder": ("data and log", "数据与日志"),
}


@dataclass(frozen=True)
class Outcome:
    """How a story ended: ``reason`` is empty when it came true."""

    seconds: float
    reason: str = ""


def language_of(environ: Mapping[str, str]) -> str:
    """Return ``zh`` where the locale is Chinese, otherwise ``en``."""
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    locale = next((environ[name] for name in names if environ.get(name)), "")
    return "zh" if locale.lower().startswith("zh") else "en"


class Teller:
    """Prints, in one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal without ✓ still gets the words
        self._console = Console(highlight=False)

    def say(self, key: str, *values: object) -> None:
        """Print a sentence by its name."""
        self._print(self._words(key).format(*values))

    def gap(self) -> None:
        """Print an empty line."""
        self._print("")

    def story(self, story: Story, outcome: Outcome) -> None:
        """Print how a story ended, and why where it failed."""
        sentence = story.sentence(self.language)
        self._print(
            f" {_mark(not outcome.reason)} [dim]{outcome.seconds:5.2f} s[/]  {_escape(sentence)}"
        )
        if outcome.reason:
            self._print(f"            [red]{_escape(outcome.reason)}[/]")

    def counts(self, counts: list[tuple[Rule, Count]]) -> None:
        """Print the invariants as a table."""
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
        for rule, count in counts:
            name = rule.zh if self.language == "zh" else rule.en
            figures = f"[dim]{_escape(count.says)}[/]"
            if not count.holds:
                figures += f" [red]{self._words('broken').format(count.broken, count.seen)}[/]"
            table.add_row(f" {_mark(count.holds)}", name, figures)
        self._console.print(table)

    def link(self, key: str, address: object) -> None:
        """Print where something is to be found."""
        words = self._words(key)
        gap = " " * (26 - cell_len(words))
        self._print(f"   {words}{gap}[cyan]{_escape(str(address))}[/]")

    def _words(self, key: str) -> str:
        return _SENTENCES[key][self.language == "zh"]

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


def _mark(holds: bool) -> str:  # noqa: FBT001 - it is what is printed
    return "[green]✓[/]" if holds else "[red]✗[/]"


def _escape(text: str) -> str:
    return text.replace("[", r"\[")

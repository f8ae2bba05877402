"""``payplat orders …``: where orders are and why, what happened to them, and what becomes of held ones."""

import json
import os
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from payplat import app, money
from payplat.database import Database
from payplat.errors import OrderNotFound
from payplat.explanation import Explanations, Language
from payplat.handlers.orders import order_answer
from payplat.inquiry import SILENT, Question
from payplat.logs import configure_logging
from payplat.orders import Orders, fits, list_orders
from payplat.purchase import Order, Status
from payplat.registry import Doors
from payplat.settings import Settings
from payplat.telling import told
from payplat.terminal import (
    AsJson,
    ConfigFile,
    configured,
    operator,
    out,
    print_json,
    print_rows,
    put_on_record,
    run,
    with_database,
)
from payplat.timeline import Timeline

orders_cli = typer.Typer(
    name="orders",
    help="Orders: where they are and why, and what becomes of held ones.",
    no_args_is_help=True,
)
OrderNo = Annotated[str, typer.Argument(help="The order's number.")]
Lang = Annotated[Language | None, typer.Option(help="Otherwise your locale's.")]
_MARKS = {"passed": "✓", "failed": "✗", "not_stated": "–", "not_reached": "·"}


@orders_cli.command("list")
def orders_list(
    config: ConfigFile = None,
    status: Annotated[Status | None, typer.Option(help="How they stand.")] = None,
    receiver: Annotated[str | None, typer.Option(help="Whose they are.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the newest orders."""
    settings, _ = configured(config)
    rows = run(with_database(settings, lambda d: list_orders(d, status, receiver, limit)))
    names = ("order_no", "status", "channel", "product_id", "amount", "currency", "receiver")
    print_rows(rows, names, as_json=as_json)


@orders_cli.command("show")
def orders_show(
    order_no: OrderNo, config: ConfigFile = None, lang: Lang = None, as_json: AsJson = False
) -> None:
    """Tell how an order stands, why it is there, and what happens next and when."""
    settings, _ = configured(config)

    async def body(database: Database) -> tuple[Order, dict[str, str]]:
        order = await _find(Orders(database, {}), order_no)
        return order, await Explanations(database).explain(order)

    order, explanation = run(with_database(settings, body))
    if as_json:
        print_json({**order_answer(order), "explanation": explanation})
        return
    _print(f"{order.order_no} {order.status} {_money(order)} {order.product_id} {order.receiver}")
    _print(explanation[_language(lang)])


@orders_cli.command("timeline")
def orders_timeline(
    order_no: OrderNo,
    config: ConfigFile = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="With the messages that came, masked.")
    ] = False,
    lang: Lang = None,
    as_json: AsJson = False,
) -> None:
    """Tell what has happened to an order, oldest first: when, by whom, and what was checked."""
    settings, _ = configured(config)

    async def body(database: Database) -> list[dict[str, Any]]:
        return await Timeline(database).read(await _find(Orders(database, {}), order_no))

    moments = run(with_database(settings, body))
    if not raw:
        moments = [{k: v for k, v in moment.items() if k != "message"} for moment in moments]
    if as_json:
        print_json(moments)
        return
    table = Table("at", "by", "what")
    for moment in moments:
        table.add_row(moment["at"], moment["actor"], _story(moment, _language(lang)))
    out.print(table)


@orders_cli.command("verify")
def orders_verify(
    order_no: OrderNo, config: ConfigFile = None, lang: Lang = None, as_json: AsJson = False
) -> None:
    """Ask the provider about a pending order now and settle what it says. Exit 1 when it could not be asked."""
    settings, doors = configured(config)
    configure_logging("ERROR")
    order, questions, explanation = run(_verify(settings, doors, order_no))
    if as_json:
        asked = [question.detail for question in questions]
        print_json({**order_answer(order), "questions": asked, "explanation": explanation})
    else:
        language = _language(lang)
        for question in questions:
            _print(told(order, "queried", "reconcile", question.detail)[language])
        _print(explanation[language])
    is_silent = questions and all(question.outcome in SILENT for question in questions)
    raise typer.Exit(1 if is_silent else 0)


@orders_cli.command("release")
def orders_release(order_no: OrderNo, config: ConfigFile = None) -> None:
    """Deliver an order that is held because it was paid too late."""
    settings, _ = configured(config)

    async def body(database: Database) -> None:
        await Orders(database, app.terms_of(settings)).release(order_no, operator())
        await put_on_record(database, "release", order_no)

    run(with_database(settings, body))
    out.print(f"order {order_no} is paid and on its way")


@orders_cli.command("refund")
def orders_refund(order_no: OrderNo, config: ConfigFile = None) -> None:
    """Give back the money of an order that is held because it was paid too late."""
    settings, _ = configured(config)

    async def body(database: Database) -> None:
        await Orders(database, app.terms_of(settings)).give_back(order_no, operator())
        await put_on_record(database, "refund", order_no)

    run(with_database(settings, body))
    out.print(f"the money of order {order_no} is on its way back")


async def _verify(
    settings: Settings, doors: Doors, order_no: str
) -> tuple[Order, list[Question], dict[str, str]]:
    async with app.open_platform(settings, doors) as platform:
        questions = await platform.reconciler.verify(await _find(platform.orders, order_no))
        outcomes = [question.outcome for question in questions]
        await put_on_record(platform.database, "verify", order_no, outcomes=outcomes)
        order = await platform.orders.get(order_no)
        return order, list(questions), await Explanations(platform.database).explain(order)


async def _find(orders: Orders, order_no: str) -> Order:
    if not fits(order_no):
        raise OrderNotFound
    return await orders.get(order_no)


def _money(order: Order) -> str:
    if order.amount is None or order.currency is None:
        return "-"
    return f"{money.to_text(order.amount, order.currency)} {order.currency}"


def _story(moment: dict[str, Any], language: Language) -> Group:
    """Return the sentence, the checks and the message of a moment, below each other."""
    marks = [f"{_MARKS[check['result']]} {check['check']}" for check in moment["checks"]]
    lines = [moment["told"][language], "  ".join(marks)]
    if message := moment.get("message"):
        lines.append(json.dumps(message, ensure_ascii=False, indent=2))
    return Group(*(Text(line) for line in lines if line))


def _language(lang: Language | None) -> Language:
    names = (os.environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    is_chinese = next(filter(None, names), "").startswith("zh")
    return lang or (Language.ZH if is_chinese else Language.EN)


def _print(line: str) -> None:
    out.print(line, highlight=False, soft_wrap=True, markup=False)

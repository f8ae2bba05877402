"""The floors of the house: imports point down only, and each kind of knowledge has its place.

The rules read the source; nothing is imported. A new module finds its place by being written into ``FLOORS``.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parent.parent / "payplat"
# Top first. `name.*` is a package with everything in it. The simulators are an annex, on no floor.
FLOORS = {
    9: "__main__ cli commands_channels commands_events commands_operators commands_orders commands_quarantine"
    " demo.* doctor operations",
    8: "app exposition life otel processes",
    7: "channels.*",
    6: "console.* openapi.* registry terminal",
    5: "handlers.*",
    4: "attempts backlog channel_health deliveries duties lanes reconcile sweeps trigger",
    3: "api_keys audit checks clients decisions delivery_list endpoints events explanation inquiry operators"
    " orders particulars proposals quarantine records refunds rows search signs statistics telling"
    " timeline waiting",
    2: "database group_commit key_sets leases logins migrations.* outbound schema",
    1: "catalogue configuration logs models settings",
    0: "addresses circuit credentials csv_export errors limits masking metrics money peers provider purchase"
    " retry seam strength strict_json traces words",
}
ANNEX = "payplat.simulators"
LOWEST_WITH_HTTP = 5


class Import(NamedTuple):
    """One imported name: ``target`` is dotted, down to the name in ``from … import name``."""

    module: str
    target: str
    lazy: bool

    def of(self, *names: str) -> bool:
        """Tell whether the target is one of these, or lies within one."""
        return any(within(self.target, name) for name in names)


class House:
    """Modules by dotted name, and what each imports."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.trees = {name: ast.parse(source) for name, source in sources.items()}

    @cached_property
    def imports(self) -> list[Import]:
        """Every import wherever it stands, in functions and under TYPE_CHECKING too."""
        return [found for name in self.trees for found in self._imports_of(name)]

    @cached_property
    def own(self) -> list[tuple[Import, str]]:
        """The imports within the package, each with the module that it reaches."""
        reached = ((found, self._module(found.target)) for found in self.imports)
        return [(found, module) for found, module in reached if module]

    def _imports_of(self, name: str) -> Iterator[Import]:
        tree = self.trees[name]
        functions = [
            n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        lazy = {inner for function in functions for inner in ast.walk(function)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{name}: a relative import hides its floor"
                targets = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            yield from (Import(name, target, node in lazy) for target in targets)

    def _module(self, target: str) -> str | None:
        while target not in self.trees:
            target, _, _ = target.rpartition(".")
            if not target:
                return None
        return target


@pytest.fixture(scope="module")
def house() -> House:
    """The package as it stands."""
    return House({dotted(path): path.read_text() for path in PACKAGE.rglob("*.py")})


def dotted(path: Path) -> str:
    """Return the module's name."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(name: str, package: str) -> bool:
    """Tell whether ``name`` is the package or in it."""
    return f"{name}.".startswith(f"{package}.")


def floor_of(module: str) -> int | None:
    """Return a module's floor, None when it has none; the package itself holds nothing and carries all."""
    if module == "payplat":
        return 0
    for floor, places in FLOORS.items():
        for place in places.split():
            name = f"payplat.{place.removesuffix('.*')}"
            if module == name or (place.endswith(".*") and within(module, name)):
                return floor
    return None


# --- The rules: each returns what breaks it ---


def without_floor(house: House) -> list[str]:
    """Modules that stand nowhere."""
    return [name for name in house.trees if not within(name, ANNEX) and floor_of(name) is None]


def upwards(house: House) -> list[str]:
    """Imports that point up."""
    floors = [(found, floor_of(found.module), floor_of(module)) for found, module in house.own]
    return [
        f"{found.module} (floor {here}) imports {found.target} (floor {there})"
        for found, here, there in floors
        if here is not None and there is not None and there > here
    ]


def cycles(house: House) -> list[str]:
    """Modules that need each other."""
    graph: dict[str, set[str]] = {name: set() for name in house.trees}
    for found, module in house.own:
        if module != found.module:
            graph[found.module].add(module)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" → ".join(reversed(error.args[1]))]
    return []


def annex_imports(house: House) -> list[str]:
    """What the simulators take from the house; they must find its faults, not share them."""
    return [
        f"{found.module} imports {found.target}"
        for found in house.imports
        if within(found.module, ANNEX) and found.of("payplat") and not found.of(ANNEX)
    ]


def annex_users(house: House) -> list[str]:
    """Who starts simulators, but the demo and, when asked for, the command line."""
    return [
        f"{found.module} imports {found.target}"
        for found in house.imports
        if found.of(ANNEX)
        and not within(found.module, ANNEX)
        and not within(found.module, "payplat.demo")
        and not (found.module == "payplat.cli" and found.lazy)
    ]


def eager_demo(house: House) -> list[str]:
    """Who loads the demo without being asked for it; a service must not carry the simulators."""
    return [
        f"{found.module} imports {found.target}"
        for found in house.imports
        if found.of("payplat.demo") and not within(found.module, "payplat.demo") and not found.lazy
    ]


def channels_of_others(house: House) -> list[str]:
    """Imports from one channel to another, or from below into any."""
    return [
        f"{found.module} imports {found.target}"
        for found, module in house.own
        if channel(module) and channel(found.module) != channel(module)
    ]


def channel(module: str) -> str | None:
    """Return the channel that a module belongs to."""
    parts = module.split(".")
    return parts[2] if parts[1:2] == ["channels"] and len(parts) > 2 else None


def web_downstairs(house: House) -> list[str]:
    """Modules under the handlers that know Tornado's handlers."""
    return [
        f"{found.module} imports {found.target}"
        for found in house.imports
        if downstairs(found.module) and found.of("tornado.web", "payplat.handlers")
    ]


def statuses_downstairs(house: House) -> list[str]:
    """Modules under the handlers that speak of an HTTP status of ours."""
    words = {"HTTPStatus", "HTTPError", "status_code", "set_status", "send_error"}
    return [
        f"{name}:{node.lineno} says {word}"
        for name, tree in house.trees.items()
        if downstairs(name)
        for node in ast.walk(tree)
        for word in spoken(node) & words
    ]


def sql_in_handlers(house: House) -> list[str]:
    """Handlers and channels that speak SQL."""
    speakers = ("sqlalchemy", "alembic", "payplat.database", "payplat.models")
    return [
        f"{found.module} imports {found.target}"
        for found in house.imports
        if floor_of(found.module) in (5, 7) and found.of(*speakers)
    ]


def demo_conditions(house: House) -> list[str]:
    """Decisions that depend on being a demo."""
    return [
        f"{name}:{test.lineno} asks {ast.unparse(test)}"
        for name, tree in house.trees.items()
        if not within(name, "payplat.demo")
        for node in ast.walk(tree)
        for test in conditions(node)
        if any("demo" in word.lower() for part in ast.walk(test) for word in spoken(part))
    ]


def downstairs(module: str) -> bool:
    """Tell whether a module stands under the handlers."""
    floor = floor_of(module)
    return floor is not None and floor < LOWEST_WITH_HTTP


def conditions(node: ast.AST) -> list[ast.expr]:
    """Return what a node decides by."""
    if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
        return [node.test]
    if isinstance(node, ast.comprehension):
        return node.ifs
    if isinstance(node, ast.Match):
        return [node.subject, *(case.guard for case in node.cases if case.guard)]
    return []


def spoken(node: ast.AST) -> set[str]:
    """Return the words in a node itself: names, attributes, keywords, texts."""
    fields = (getattr(node, name, None) for name in ("id", "attr", "arg", "name", "value"))
    return {word for word in fields if isinstance(word, str)}


# --- The house obeys them ---


def test_every_module_has_a_floor(house: House) -> None:
    """A new module is placed on purpose."""
    assert without_floor(house) == []


def test_imports_point_down(house: House) -> None:
    """No floor knows one above it."""
    assert upwards(house) == []


def test_no_modules_need_each_other(house: House) -> None:
    """Every module can be read and tested with only those before it."""
    assert cycles(house) == []


def test_simulators_take_nothing_from_the_house(house: House) -> None:
    """The other side of the wire is written a second time, so that a misreading shows."""
    assert annex_imports(house) == []


def test_only_the_demo_starts_simulators(house: House) -> None:
    """A service in production cannot reach them."""
    assert annex_users(house) == []
    assert eager_demo(house) == []


def test_channels_do_not_know_each_other(house: House) -> None:
    """A channel can be taken away or added without touching another."""
    assert channels_of_others(house) == []


def test_http_stays_upstairs(house: House) -> None:
    """Ledger and jobs would serve another surface as well: no Tornado handler and no status of ours."""
    assert web_downstairs(house) == []
    assert statuses_downstairs(house) == []


def test_handlers_speak_no_sql(house: House) -> None:
    """What is stored goes through the ledger."""
    assert sql_in_handlers(house) == []


def test_no_code_asks_whether_this_is_a_demo(house: House) -> None:
    """The demo runs what production runs; only its configuration differs."""
    assert demo_conditions(house) == []


@pytest.mark.parametrize(
    ("rule", "module", "source"),
    [
        (without_floor, "payplat.attic", ""),
        (upwards, "payplat.orders", "from payplat.handlers import base"),
        (upwards, "payplat.orders", "def late():\n    import payplat.app"),
        (upwards, "payplat.models", "from payplat.database import Database"),
        (cycles, "payplat.handlers.base", "from payplat.handlers.pay import AbstractPay"),
        (annex_imports, "payplat.simulators.alipay", "from payplat.money import to_yuan"),
        (annex_users, "payplat.app", "from payplat.simulators import clock"),
        (annex_users, "payplat.cli", "import payplat.simulators.clock"),
        (eager_demo, "payplat.cli", "from payplat.demo import play"),
        (channels_of_others, "payplat.channels.apple.door", "import payplat.channels.alipay.wire"),
        (channels_of_others, "payplat.app", "from payplat.channels.alipay.door import Alipay"),
        (web_downstairs, "payplat.orders", "from tornado import web"),
        (statuses_downstairs, "payplat.errors", "class Lost(Exception):\n    status_code = 404"),
        (statuses_downstairs, "payplat.money", "from http import HTTPStatus"),
        (sql_in_handlers, "payplat.handlers.orders", "import sqlalchemy as sa"),
        (demo_conditions, "payplat.app", "if settings.is_demo: pass"),
        (demo_conditions, "payplat.app", "x = 1 if mode == 'demo' else 2"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_rule_sees_its_breach(
    rule: Callable[[House], list[str]], module: str, source: str
) -> None:
    """A rule that finds nothing in the house would find this."""
    neighbours = {
        "payplat.app": "",
        "payplat.channels.alipay.door": "",
        "payplat.channels.alipay.wire": "",
        "payplat.database": "",
        "payplat.demo.play": "",
        "payplat.handlers.base": "",
        "payplat.handlers.pay": "from payplat.handlers.base import BaseHandler",
        "payplat.simulators.clock": "",
    }
    assert rule(House(neighbours)) == []
    assert len(rule(House({**neighbours, module: source}))) == 1

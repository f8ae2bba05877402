"""The house rules for every file of the project, read from the files themselves."""

import ast
import base64
import binascii
import fnmatch
import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# The only private keys in the project: public ones, of no account. Their README says so.
THROW_AWAY_KEYS = "tests/wire/vectors/alipay/"
# Over lines too, and where a line's end is written as \n.
BASE64_RUN = re.compile(
    r"(?:(?<=\\n)|(?<![A-Za-z0-9+/\\]))[A-Za-z0-9+/]{60,}(?:(?:\n|\\n)[A-Za-z0-9+/]+)*={0,2}"
)
COMMAND = re.compile(r"\./run ([a-z]+)")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
ANCHOR = re.compile(r"\]\(([^)#\s:]*)#([^)]+)\)")
TWIN = ".zh-CN.md"


def project_files() -> Iterator[str]:
    """The files that are or would be committed, as git sees them, or by .gitignore where there is no git."""
    listing = ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"]
    try:
        told = subprocess.run(listing, capture_output=True, check=True, text=True).stdout
        yield from filter(lambda name: (ROOT / name).is_file(), told.split("\0"))
    except (OSError, subprocess.CalledProcessError):
        yield from walk()


def walk() -> Iterator[str]:
    """The files that .gitignore does not name."""
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split()] + [".git"]
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [f for f in folders if not any(fnmatch.fnmatch(f, i) for i in ignored)]
        yield from ((Path(folder) / name).relative_to(ROOT).as_posix() for name in files)


def read_texts() -> dict[str, str]:
    """All files that are text."""
    texts = {}
    for name in sorted(project_files()):
        try:
            texts[name] = (ROOT / name).read_text("utf-8")
        except UnicodeDecodeError:
            continue
    return texts


TEXTS = read_texts()
PYTHON = {name: ast.parse(text) for name, text in TEXTS.items() if name.endswith(".py")}
DOCUMENTS = {name: text for name, text in TEXTS.items() if name.endswith(".md")}


def lines_with(pattern: str) -> list[str]:
    """Where a pattern stands, as file:line."""
    found = re.compile(pattern)
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in TEXTS.items()
        if found.search(text)
        for number, line in enumerate(text.splitlines(), 1)
        if found.search(line)
    ]


# --- Every file ---


def test_documents_name_tests_that_exist():
    """A test that a document names as a proof is there."""
    named = {
        (document, file, name)
        for document, text in DOCUMENTS.items()
        for file, name in re.findall(r"`(tests/[a-z_0-9/]+\.py)(?:::(\w+))?`", text)
    }
    assert len(named) > 20
    lost = [n for n in named if n[1] not in TEXTS or f"def {n[2]}" not in TEXTS[n[1]]]
    assert not lost


def test_no_file_names_somebodys_machine() -> None:
    """A path of the machine it was written on helps nobody else."""
    assert lines_with(r"(?<![\w.~-])/(?:work|root)/|/home/[a-z]+/|/Users/[A-Za-z]+/") == []


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is each machine's own setting; many reach only a mirror."""
    hosts = [
        "pypi|org",
        "pythonhosted|org",
        "deb|debian|org",
        "registry|npmjs|org",
        "npmmirror|com",
    ]
    assert lines_with("|".join(host.replace("|", r"\.") for host in hosts)) == []


def test_nothing_is_left_to_do() -> None:
    """What remains to be done is an issue, not a mark in a file."""
    marks = ["TO|DO", "FIX|ME", "XX|X"]
    assert lines_with(rf"\b(?:{'|'.join(mark.replace('|', '') for mark in marks)})\b") == []


def test_private_keys_are_throw_away_keys() -> None:
    """Nothing that could open an account is in a file, in PEM or as bare base64."""
    found = [
        name
        for name, text in TEXTS.items()
        if not name.startswith(THROW_AWAY_KEYS)
        for run in set(BASE64_RUN.findall(text))
        if is_private_key(run)
    ]
    assert found == []


def is_private_key(text: str) -> bool:
    """Tell whether base64 text is a private key, under a password or not."""
    text = re.sub(r"\s|\\n|=", "", text)
    try:
        der = base64.b64decode(text + "=" * (-len(text) % 4))
        load_der_private_key(der, password=None)
    except TypeError:  # it has a password
        return True
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        return False
    return True


def test_private_keys_would_be_found() -> None:
    """The search knows a key when it sees one: it finds all those that are there on purpose."""
    names = [name for name in TEXTS if name.startswith(THROW_AWAY_KEYS) and "private" in name]
    assert names
    for name in names:
        as_one_line = re.sub(r"-----.*-----|\n", "", TEXTS[name])
        for text in (TEXTS[name], as_one_line, json.dumps(TEXTS[name])):
            assert any(is_private_key(run) for run in BASE64_RUN.findall(text)), name


# --- Python ---


def public_parts(tree: ast.AST, name: str) -> Iterator[tuple[str, ast.AST]]:
    """Public classes, functions and methods, by dotted name; not what a function keeps to itself."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if not node.name.startswith("_"):
                yield f"{name}:{node.lineno} {node.name}", node
                if isinstance(node, ast.ClassDef):
                    yield from public_parts(node, name)
        elif isinstance(node, ast.If | ast.Try):
            yield from public_parts(node, name)


def test_everything_public_says_what_it_is_for() -> None:
    """Modules, classes, functions and methods begin with a sentence; overridden ones say what they do here."""
    silent = [
        where
        for name, tree in PYTHON.items()
        if name.startswith("payplat/") and "/migrations/versions/" not in name and tree.body
        for where, part in [(name, tree), *public_parts(tree, name)]
        if not ast.get_docstring(part)
    ]
    assert silent == []


def test_every_test_says_what_it_proves() -> None:
    """A test without a sentence is a riddle on the day it fails."""
    silent = [
        where
        for name, tree in PYTHON.items()
        if Path(name).name.startswith("test_")
        for where, part in [(name, tree), *public_parts(tree, name)]
        if getattr(part, "name", "test_").startswith("test_") and not ast.get_docstring(part)
    ]
    assert silent == []


# --- Dependencies ---


def pins(lock: str) -> dict[str, str]:
    """The versions in a lock file, by package."""
    lines = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", (ROOT / lock).read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in lines}


def demanded(*groups: str) -> Iterator[Requirement]:
    """What pyproject.toml asks for directly, with the named groups."""
    yield from map(Requirement, PROJECT["project"]["dependencies"])
    for group in groups:
        for entry in PROJECT["dependency-groups"][group]:
            if isinstance(entry, dict):
                yield from demanded(entry["include-group"])
            else:
                yield Requirement(entry)


@pytest.mark.parametrize(
    ("lock", "groups"),
    [("requirements.lock", ["build"]), ("requirements-dev.lock", ["build", "dev"])],
)
def test_locks_hold_what_the_project_asks_for(lock: str, groups: list[str]) -> None:
    """Each direct dependency is pinned, at a version that pyproject.toml allows."""
    locked = pins(lock)
    unfit = [
        str(wanted)
        for wanted in demanded(*groups)
        if canonicalize_name(wanted.name) not in locked
        or Version(locked[canonicalize_name(wanted.name)]) not in wanted.specifier
    ]
    assert unfit == []


def test_tests_run_on_the_versions_that_ship() -> None:
    """The lock for development is the lock for running, and more."""
    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items()


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_locks_pin_by_hash_alone(lock: str) -> None:
    """Every pin has its hashes, and none a host or a path."""
    entries = re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip())
    pinned = [entry for entry in entries if not entry.startswith("#")]
    assert [entry for entry in pinned if "--hash=sha256:" not in entry] == []
    assert "://" not in "".join(pinned)
    assert "file:" not in "".join(pinned)


def test_what_is_offered_can_be_loaded() -> None:
    """The command and the channels that the package announces exist."""
    project = PROJECT["project"]
    offers = [("payplat.channels", name) for name in project["entry-points"]["payplat.channels"]]
    offers += [("console_scripts", name) for name in project["scripts"]]
    for group, name in offers:
        (offer,) = entry_points(group=group, name=name)
        assert callable(offer.load())


@pytest.mark.parametrize("sdk", ["python", "node"])
def test_recorded_answers_name_the_sdk_that_gave_them(sdk: str) -> None:
    """The vectors come from the version of Alipay's SDK that their recorder says to install."""
    vectors = "tests/wire/vectors/"
    recorder = {"python": "make_python_sdk.py", "node": "make_node_sdk.mjs"}[sdk]
    recorded = json.loads(TEXTS[f"{vectors}alipay_{sdk}_sdk.json"])["sdk"]
    assert re.search(
        rf"install .*\b{recorded['name']}(?:==|@){re.escape(recorded['version'])}\b",
        TEXTS[vectors + recorder],
    )


# --- Documents and scripts ---


def test_documents_name_commands_that_exist() -> None:
    """Whatever a document says to type, `./run` can do."""
    offered = set(re.findall(r"^ +([a-z]+)\) *#:", TEXTS["run"], re.MULTILINE)) | {"help"}
    assert {"demo", "test", "check", "payplat"} <= offered
    named = {name: set(COMMAND.findall(text)) for name, text in DOCUMENTS.items()}
    assert {name: words - offered for name, words in named.items() if words - offered} == {}


def test_links_between_documents_lead_somewhere() -> None:
    """A relative link names a file of the project."""
    broken = [
        f"{name}: {target}"
        for name, text in DOCUMENTS.items()
        for target in LINK.findall(text)
        if "://" not in target and not target.startswith("mailto:")
        if not (ROOT / name).parent.joinpath(target).exists()
    ]
    assert broken == []


def slugs(document: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```", "", TEXTS[document], flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_anchors_of_links_are_headings() -> None:
    """A link into a document leads to one of its headings."""
    broken = []
    for name, text in DOCUMENTS.items():
        for target, anchor in ANCHOR.findall(text):
            path = os.path.normpath(Path(name).parent / target) if target else name
            if path in DOCUMENTS and anchor not in slugs(path):
                broken.append(f"{name}: {target}#{anchor}")
    assert broken == []


def skeleton(document: str) -> tuple[list[str], int, list[str], list[list[str]]]:
    """What translation leaves alone: the headings' levels in order, the count of table rows, the commands and tests.

    And the code but for its comments.
    """
    text = TEXTS[document]
    code = re.findall(r"^(```.*?^)```$", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return (
        re.findall(r"^#+(?= )", prose, re.MULTILINE),
        len(re.findall(r"^\|", prose, re.MULTILINE)),
        sorted(re.findall(r"\./run [^`#\n]*\b|tests/[\w./:]*\w", text)),
        [[re.split(r"\s*(?:#|//)", line)[0] for line in block.splitlines()] for block in code],
    )


@pytest.mark.parametrize("twin", [name for name in TEXTS if name.endswith(TWIN)])
def test_chinese_documents_say_what_the_english_ones_say(twin: str) -> None:
    """Twins have the same sections, tables of one length, the same commands and tests, and lead to each other."""
    english = twin.removesuffix(TWIN) + ".md"
    assert skeleton(twin) == skeleton(english)
    for here, there in ((twin, english), (english, twin)):
        assert Path(there).name in LINK.findall(TEXTS[here].splitlines()[0])


def test_every_guide_is_there_in_chinese() -> None:
    """Whoever reads Chinese is sent to no page that is English alone."""
    guides = {name for name in DOCUMENTS if name.startswith(("docs/", "README"))}
    assert {name for name in guides if TWIN not in name} == {
        name.removesuffix(TWIN) + ".md" for name in guides if TWIN in name
    }


def test_the_changelog_knows_this_version() -> None:
    """What is being made is listed under Unreleased, or under the version of the package."""
    headings = re.findall(r"^## \[?([^\]\s]+)", TEXTS["CHANGELOG.md"], re.MULTILINE)
    assert headings[0] in ("Unreleased", PROJECT["project"]["version"])


@pytest.mark.parametrize("script", ["run", ".ci/run"])
def test_scripts_can_be_started(script: str) -> None:
    """The scripts are executable and can be read by the shell that they name."""
    shell = TEXTS[script].splitlines()[0].removeprefix("#!").split()[-1]
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run([shell, "-n", ROOT / script], check=True)

"""Everything that can be typed says what it does."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from payplat.cli import cli
from payplat.registry import installed_doors


def walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield every group and command with its words."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, f"{path} {name}")


def commands() -> dict[str, Any]:
    """All commands, the channels' too, by their words."""
    found = dict(walk(typer.main.get_command(cli), "payplat"))
    for kind, door in installed_doors().items():
        if (brought := door.commands()) is not None:
            found |= dict(walk(typer.main.get_command(brought), f"payplat {kind}"))
    return found


COMMANDS = commands()


@pytest.mark.parametrize("words", COMMANDS)
def test_each_command_and_option_has_a_sentence(words):
    """A command, each of its options and each of its arguments has its own help."""
    command = COMMANDS[words]
    assert len(command.help or "") > 8
    assert (command.help or "").split("\n\n")[0].endswith(".")
    silent = [p.name for p in command.params if not getattr(p, "help", None)]
    assert silent == []


def test_whatever_reads_can_print_json():
    """A program reads what a person reads."""
    readers = {"list", "show", "timeline", "doctor", "verify"}
    found = {words: c for words, c in COMMANDS.items() if words.split()[-1] in readers}
    assert len(found) >= 9
    for words, command in found.items():
        assert "as_json" in {parameter.name for parameter in command.params}, words

"""The parsers that meet hostile bytes keep their word for some hundreds of inputs each; the loop finds who breaks it."""

import json
import time

import pytest

from tests.prove.fuzz import all_targets, main
from tests.prove.fuzz_loop import Target, fuzz, replay

TARGETS = {target.name: target for target in all_targets()}
SEEDS = [b'{"order_no":"0192f3a4","quantity":1}']


@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_keeps_its_word(name: str) -> None:
    """Only declared errors, little time and memory, and the same reading as others'."""
    report = fuzz(TARGETS[name], 600, seed=7)
    assert [finding.told for finding in report.findings.values()] == []
    assert report.inputs == 600


@pytest.mark.parametrize("name", TARGETS)
def test_right_inputs_reach_the_end(name: str) -> None:
    """What the inputs are made from is right by itself, so that they come near to right ones."""
    target = TARGETS[name]
    assert [replay(target, seed) for seed in target.seeds] == [None] * len(target.seeds)


def _raises_on_a_byte(data: bytes) -> None:
    if b"\xc3" in data:
        raise KeyError("planted")


def _raises_behind_a_door(data: bytes) -> None:
    """Three steps on the way, each of which an input must find by itself."""
    if data[:1] != b"{" or b"null" not in data:
        return
    if len(data) > 60 and data.count(b"9") > 3:
        raise KeyError("planted")


def _spends_time(data: bytes) -> None:
    if b"NaN" in data or b"null" in data:
        ends = time.process_time() + 0.06
        while time.process_time() < ends:
            pass


def _takes_memory(data: bytes) -> None:
    if b"{" in data:
        bytes(40 * 2**20)


def _reads_otherwise(data: bytes) -> None:
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return
    assert told == SEEDS or b"null" not in data, "it reads in another way"


@pytest.mark.parametrize(
    ("check", "inputs", "place"),
    [
        (_raises_on_a_byte, 8000, "KeyError"),
        (_raises_behind_a_door, 8000, "KeyError"),
        (_spends_time, 100, "time"),
        (_takes_memory, 100, "memory"),
        (_reads_otherwise, 5000, "AssertionError"),
    ],
)
def test_a_planted_fault_is_found(check, inputs, place) -> None:
    """A parser that breaks its word once in a while is found, shrunk, and found again by the same input."""
    target = Target("planted", check, SEEDS, ["tests/prove/test_fuzz.py"])
    findings = list(fuzz(target, inputs, seed=1).findings.values())
    assert [finding.place.split()[0] for finding in findings] == [place]
    assert len(findings[0].data) <= 100
    again = replay(target, findings[0].data)
    assert again is not None
    assert again.place == findings[0].place


def test_a_seed_makes_the_same_inputs() -> None:
    """Two runs of a seed see the same, another seed sees something else."""

    def inputs(seed: int) -> list[bytes]:
        seen: list[bytes] = []
        fuzz(Target("seen", seen.append, SEEDS, []), 300, seed)
        return seen

    assert inputs(1) == inputs(1)
    assert inputs(1) != inputs(2)


def test_the_command_runs_one_target_and_one_input(capsys) -> None:
    """It ends with 0 where nothing was found, and tells what it did."""
    assert main(["--only", "money", "--inputs", "500"]) == 0
    assert "500 inputs" in capsys.readouterr().out
    assert main(["--only", "money", "--replay", "ODguODAeQ05Z"]) == 0

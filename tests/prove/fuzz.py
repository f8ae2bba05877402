"""The parsers that meet hostile bytes, given millions of inputs near to right ones.

They must raise nothing but the errors that they declare, cost little time and memory, and read what they accept as other
readers do. A seed makes the same inputs again, but where Apple's certificates, new in each run, are part of them.
"""

import argparse
import base64
import gc
import importlib
import sys
from collections.abc import Sequence

from tests.prove.fuzz_loop import Finding, Report, Target, fuzz, replay

_FAMILIES = ("ours", "alipay", "apple", "google")
# A longer input is told by the seed that makes it.
_LONGEST_ARGUMENT = 4096


def main(arguments: list[str]) -> int:
    """Run the command line; return 0 when nothing was found and 1 when something was."""
    parser = argparse.ArgumentParser(prog="prove fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="targets with this in their name"
    )
    parser.add_argument("--replay", metavar="BASE64", help="one input for one target")
    given = parser.parse_args(arguments)
    chosen = [target for target in all_targets() if given.only in target.name]
    if not chosen:
        parser.error("no target has such a name")
    if given.replay is not None:
        return _replay(chosen, base64.b64decode(given.replay))
    reports = []
    for target in chosen:
        reports.append(fuzz(target, given.inputs, given.seed))
        _tell(reports[-1], given.seed, given.inputs)
        gc.collect()
    found = sum(len(report.findings) for report in reports)
    _say(
        f"{sum(r.inputs for r in reports)} inputs, {sum(r.seconds for r in reports):.0f} s, findings {found}"
    )
    return int(found > 0)


def all_targets() -> list[Target]:
    """Return all targets."""
    modules = (importlib.import_module(f"tests.prove.fuzz_{family}") for family in _FAMILIES)
    return [target for module in modules for target in module.targets()]


def _replay(chosen: Sequence[Target], data: bytes) -> int:
    found = [finding for target in chosen if (finding := replay(target, data))]
    for finding in found:
        _say(f"{finding.target}: {finding.told}")
    return int(bool(found))


def _tell(report: Report, seed: int, inputs: int) -> None:
    each = report.seconds / max(report.inputs, 1) * 1e6
    _say(
        f"{report.target:20} {report.inputs:8} inputs {report.seconds:6.0f} s ({each:4.0f} µs each, slowest "
        f"{report.slowest * 1000:3.0f} ms), {report.arcs:4} steps by {report.parents:4} parents, "
        f"{report.growth // 1024:3} MiB more, findings {len(report.findings)}"
    )
    for finding in report.findings.values():
        _tell_finding(finding, seed, inputs)


def _tell_finding(finding: Finding, seed: int, inputs: int) -> None:
    again = f"--seed {seed} --inputs {inputs}"
    if finding.data and len(finding.data) <= _LONGEST_ARGUMENT:
        again = f"--replay {base64.b64encode(finding.data).decode()}"
    _say(f"    {finding.told}")
    _say(f"    input of {len(finding.data)} bytes: {finding.data[:200]!r}")
    _say(f"    again: ./run prove fuzz --only {finding.target} {again}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()

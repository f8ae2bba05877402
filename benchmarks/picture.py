"""The picture of the results: a panel of bars a contest, as SVG that reads in the light and in the dark.

``python -m benchmarks.picture RESULTS`` takes the file that contests append to with ``--results`` and prints the picture.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

# The figure that is drawn: processor time of the server's processes for a request, in milliseconds.
_FIGURE = "CPU ms"
_WIDTH, _LABEL, _BAR, _ROW, _HEAD, _GAP = 720, 130, 500, 24, 34, 18
_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2933 } .title { font-weight: 600; font-size: 14px }
.bar { fill: #9aa5b1 } .ours { fill: #0967d2 } .value { fill: #52606d }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e7eb } .bar { fill: #616e7c } .ours { fill: #47a3f3 } .value { fill: #9aa5b1 }
}"""


@dataclass(frozen=True)
class Panel:
    """One contest: its title and a value for each server."""

    title: str
    values: Mapping[str, float]

    @property
    def height(self) -> int:
        """Return how high it is, in pixels."""
        return _HEAD + _ROW * len(self.values) + _GAP

    def draw(self, top: int) -> Iterator[str]:
        """Yield its elements; the longest bar fills the width."""
        yield f'<text class="title" x="0" y="{top + 18}">{escape(self.title)}</text>'
        most = max(self.values.values())
        for number, (name, value) in enumerate(self.values.items()):
            y = top + _HEAD + _ROW * number
            width = max(1.0, _BAR * value / most)
            kind = "ours" if name == "payplat" or name.endswith(" serving") else "bar"
            yield f'<text x="{_LABEL - 10}" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
            yield f'<rect class="{kind}" x="{_LABEL}" y="{y}" width="{width:.1f}" height="18" rx="2"/>'
            yield f'<text class="value" x="{_LABEL + width + 8:.1f}" y="{y + 13}">{value:.2f} ms</text>'


def draw(panels: Sequence[Panel]) -> str:
    """Return the picture."""
    height = sum(panel.height for panel in panels)
    titles = ", ".join(panel.title for panel in panels)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(titles)}</title><style>{_STYLE}</style>",
    ]
    top = 0
    for panel in panels:
        lines += panel.draw(top)
        top += panel.height
    return "\n".join([*lines, "</svg>", ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the picture of a file of results."""
    parser = argparse.ArgumentParser(prog="benchmarks.picture", description=__doc__)
    parser.add_argument("results", type=Path)
    sys.stdout.write(draw(list(_panels(parser.parse_args(arguments).results))))
    return 0


def _panels(results: Path) -> Iterator[Panel]:
    """Yield a panel for each contest as fast as it goes, in the order of the file, the least bar first."""
    contests: dict[str, dict[str, float]] = {}
    for line in results.read_text().splitlines():
        told = json.loads(line)
        if told["rate"] is None:
            contests.setdefault(told["contest"], {})[told["server"]] = told[_FIGURE]
    for title, values in contests.items():
        ordered = dict(sorted(values.items(), key=lambda item: item[1]))
        yield Panel(f"{title}: processor time of the server, a request", ordered)


if __name__ == "__main__":
    sys.exit(main())

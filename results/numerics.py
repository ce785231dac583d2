"""The tables of docs/numerics.md, from what the benchmarks stored.

python benchmarks/batch_norm.py --json results/numerics/batch_norm.json
python results/numerics.py              print the tables
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

STORED = Path(__file__).parent / "numerics"


def stored(name: str) -> dict[str, Any]:
    """What a benchmark wrote."""
    content: dict[str, Any] = json.loads((STORED / f"{name}.json").read_text())
    return content


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def batch_norms() -> str:
    """One batch norm by layout."""
    rows = [
        [
            "x".join(map(str, each["shape"])),
            each["layout"],
            f"{each['largest_error']:.1e}",
            f"{each['variance_error']:.1e}",
            f"{each['milliseconds']:.2f}",
        ]
        for each in stored("batch_norm")["norms"]
    ]
    heads = ["input", "layout", "largest error", "relative error of the variance", "ms"]
    return table(heads, rows)


def alphas() -> str:
    """Alpha in single precision, per seed."""
    rows = [
        [
            str(each["seed"]),
            f"{each['moved']:.4f}",
            *(f"{100 * each[name]['off']:.0f} %" for name in ("channels-last", "planes")),
        ]
        for each in stored("batch_norm")["searches"]
    ]
    return table(["seed", "moved", "channels-last, off by", "planes, off by"], rows)


def main() -> None:
    """Print the tables."""
    for part in (batch_norms(), alphas()):
        print(part, end="\n\n")


if __name__ == "__main__":
    main()

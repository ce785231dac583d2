"""The tables of docs/numerics.md and docs/gpu.md, from what the benchmarks stored.

python benchmarks/batch_norm.py --json results/numerics/batch_norm.json
python benchmarks/second_order.py --json results/numerics/second_order.json
python benchmarks/gpu.py --algorithms darts --peer DIR --json FILE       two runs: gpu.json
python results/numerics.py              print the tables
"""

from __future__ import annotations

import json
import statistics
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


def second_orders() -> str:
    """The second terms, per moment, and their medians per weight optimizer."""
    rows = []
    moments = stored("second_order")["rows"]
    for optimizer in ("SGD", "Adam"):
        of_one = [each for each in moments if each["weight_optimizer"] == optimizer]
        rows += [numbers([optimizer, str(e["seed"]), str(e["epoch"])], [e]) for e in of_one]
        rows.append(numbers([optimizer, "median", ""], of_one))
    return table(
        [
            "w",
            "seed",
            "epoch",
            "cosine",
            "exact / first",
            "difference / first",
            "error, first term alone",
            "error, exact",
            "error, difference",
        ],
        rows,
    )


def numbers(place: list[str], moments: list[dict[str, Any]]) -> list[str]:
    """A row: where, and the median over some moments of each number."""
    values = [
        [each["cosine"], *each["share"].values(), *each["error"].values()] for each in moments
    ]
    return [*place, *(f"{statistics.median(column):.2f}" for column in zip(*values, strict=True))]


def gpu() -> str:
    """Steps of DARTS on a GPU, beside the peer's of the same process."""
    rows = [
        [
            f"`run.stepper={each['stepper']}`",
            f"`{each['precision']}`",
            f"{each['step_ms']:.1f}",
            f"{run['peer_ms']:.1f}",
            f"{run['peer_ms'] / each['step_ms']:.1f}",
        ]
        for run in stored("gpu")["runs"]
        for each in run["rows"]
    ]
    heads = ["DARTS", "`supernet.precision`", "ms per step", "SmoothDARTS, ms per step", "ratio"]
    return table(heads, rows)


def main() -> None:
    """Print the tables."""
    for part in (batch_norms(), alphas(), second_orders(), gpu()):
        print(part, end="\n\n")


if __name__ == "__main__":
    main()

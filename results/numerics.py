"""Tables of numerics.md, hypergradients, gpu and lambda-darts, from what the benchmarks stored.

python benchmarks/batch_norm.py --json results/numerics/batch_norm.json
python benchmarks/second_order.py --json results/numerics/second_order.json
python benchmarks/hypergradient_error.py --json results/numerics/hypergradient_error.json
python benchmarks/lambda_difference.py --json results/numerics/lambda_difference.json
python benchmarks/gpu.py --algorithms darts --peer DIR --json FILE       two runs: gpu.json
python results/numerics.py              print the tables
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from scipy.stats import t

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


def lambda_differences() -> str:
    """What lambda-darts adds by a difference, beside the exact gradient."""
    rows = [
        [
            str(each["seed"]),
            f"{each['displacement']:g}",
            *(f"{each[key]:.3g}" for key in ("cosine", "times_exact", "times_loss")),
        ]
        for each in stored("lambda_difference")["rows"]
    ]
    heads = [
        "seed",
        "displacement",
        "cosine with exact",
        "length / exact",
        "length / loss's gradient",
    ]
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


HYPERGRADIENTS = {
    "first order": "first_order_cosine",
    "unrolled, finite difference": "unrolled_cosine",
    "unrolled, exact": "unrolled_exact_cosine",
    "k-step, 2": "two_steps_cosine",
    "k-step, 5": "five_steps_cosine",
    "value-function, 2": "value_function_cosine",
    "neumann, 3": "neumann_cosine",
    "conjugate-gradient, 5": "conjugate_gradient_cosine",
    "an unroll of half the length": "half_cosine",
    "the reference on other batches": "noise_cosine",
}


def interval(values: list[float]) -> str:
    """Mean over seeds with its 95 % interval (Student's t)."""
    mean, half = statistics.fmean(values), statistics.stdev(values) / len(values) ** 0.5
    half *= float(t.ppf(0.975, len(values) - 1))
    return f"{mean:.2f} [{mean - half:.2f}, {mean + half:.2f}]"


def hypergradients() -> str:
    """Cosines with the long unroll, by weight optimizer and epoch, and CPU seconds of one."""
    found = stored("hypergradient_error")
    moments = [(w, epoch) for w in ("SGD", "Adam") for epoch in (1, 3)]
    rows = []
    for label, key in HYPERGRADIENTS.items():
        taken = found["seconds"].get(key.removesuffix("_cosine"))
        rows.append([label, *(interval(at(found, *each, key)) for each in moments)])
        rows[-1].append("" if taken is None else f"{taken:.2f}")
    heads = ["cosine with the reference", *(f"{w}, epoch {epoch}" for w, epoch in moments)]
    return table([*heads, "s"], rows)


def gains() -> str:
    """What each cosine is above that of the first order, within seeds."""
    found = stored("hypergradient_error")
    rows = []
    for label, key in list(HYPERGRADIENTS.items())[1:8]:
        cells = []
        for w in ("SGD", "Adam"):
            columns = [at(found, w, e, k) for e in (1, 3) for k in (key, "first_order_cosine")]
            pairs = zip(*columns, strict=True)
            cells.append(interval([(a - b + c - d) / 2 for a, b, c, d in pairs]))
        rows.append([label, *cells])
    return table(["cosine minus that of the first order", "SGD", "Adam"], rows)


def at(found: dict[str, Any], optimizer: str, epoch: int, key: str) -> list[float]:
    """A number at a moment, one per seed."""
    here = {"weight_optimizer": optimizer, "epoch": epoch}
    return [row[key] for row in found["rows"] if here.items() <= row.items()]


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
    orders = second_orders(), hypergradients(), gains()
    for part in (batch_norms(), alphas(), lambda_differences(), *orders, gpu()):
        print(part, end="\n\n")


if __name__ == "__main__":
    main()

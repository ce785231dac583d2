"""The pictures and every number of docs/inside.md: two searches seen by every measure.

python results/inside.py    redraw docs/images/inside-*, rewrite the built parts of the page
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from documents import as_table, built

from optnas.base.files import write_text
from optnas.base.records import RunFolder
from optnas.report.pictures import plot_figure

HERE = Path(__file__).parent
RUNS = [RunFolder(HERE / "inside" / name) for name in ("darts", "sdarts-rs")]
DOCUMENT = HERE.parent / "docs" / "inside.md"
IMAGES = HERE.parent / "docs" / "images"
FIGURES = ("F4", "landscape", "curvature", "indicator", "agreement")
# Rows of the table: measure, quantity, in words, digits, ends of its interval if it has one.
ROWS = (
    ("gap", "supernet_accuracy", "supernet accuracy at A (%)", 2, None),
    ("gap", "recalibrated_accuracy", "accuracy of the one-hot cell, own statistics (%)", 2, None),
    ("gap", "gap", "discretization gap (points)", 2, None),
    ("landscape", "mean_accuracy_drop", "mean drop of accuracy in the plane (points)", 2, None),
    ("landscape", "mean_loss_rise", "mean rise of the loss in the plane (nats)", 3, None),
    ("landscape", "loss_residual", "loss off its quadratic fit (nats)", 3, None),
    ("curvature", "logits_max", "top eigenvalue in logits (nats)", 3, "logits_max"),
    ("curvature", "op_weights_spectral", "spectral norm in operation weights (nats)", 2, None),
    ("curvature", "entropy", "entropy of A (nats; ln 5 = 1.609)", 4, None),
    ("indicator", "tau", "Kendall tau, one-shot against benchmark", 3, "tau"),
    ("indicator", "spearman", "Spearman, the same", 3, "spearman"),
    (
        "indicator",
        "tau_minus_convolutions",
        "tau, less that of counting 3x3 convolutions",
        3,
        "tau_minus_convolutions",
    ),
    ("indicator-recalibrated", "tau", "tau, batch norm recalibrated for each cell", 3, "tau"),
    ("agreement", "cosine", "cosine of training and validation gradient", 3, None),
)


def line_of(run: RunFolder, label: str) -> dict[str, Any]:
    """What a measure found at the end of a run."""
    return run.read_measures(label)[-1]


def found(runs: list[RunFolder]) -> str:
    """The scalars of every measure, one column per run."""
    rows = []
    for label, key, words, digits, interval in ROWS:
        cells = []
        for run in runs:
            values = line_of(run, label)["values"]
            ends = [values[f"{interval}_{end}"] for end in ("low", "high")] if interval else []
            told = ", ".join(f"{end:.{digits}f}" for end in ends)
            cells.append(f"{values[key]:.{digits}f}" + (f" [{told}]" if told else ""))
        rows.append((f"`{label}`", words, *cells))
    # A bar would end the table's cell.
    cells = [line_of(run, "gap")["values"]["architecture"].replace("|", r"\|") for run in runs]
    cell = ("", "derived cell", *(f"`{each}`" for each in cells))
    accuracy = [line_of(run, "gap")["values"]["benchmark"]["accuracy"]["cifar10"] for run in runs]
    benchmark = ("", "its benchmark accuracy (CIFAR-10 test, %)", *(f"{a:.2f}" for a in accuracy))
    return as_table(
        ("measure", "quantity", *(run.path.name for run in runs)), [*rows, cell, benchmark]
    )


def costs(runs: list[RunFolder]) -> str:
    """CPU seconds of each measure, taken once at its default settings."""
    labels = runs[0].measures.labels()
    rows = [
        (f"`{label}`", *(f"{line_of(run, label)['cost']['cpu_seconds']:.1f}" for run in runs))
        for label in labels
    ]
    return as_table(("measure", *(f"{run.path.name}, CPU seconds" for run in runs)), rows)


PARTS: dict[str, Callable[[list[RunFolder]], str]] = {"found": found, "costs": costs}


def main() -> None:
    """Draw the pictures and rewrite the page."""
    for name in FIGURES:
        plot_figure(name, RUNS, IMAGES / f"inside-{name}.png")
    write_text(DOCUMENT, built(DOCUMENT.read_text(), PARTS, RUNS))


if __name__ == "__main__":
    main()

"""Slides are files, the mixed cell is drawn from a run; plain errors."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from tiny import tiny_settings

import optnas
from optnas.base.columns import RECORD
from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.cli import main
from optnas.report.cells import cell_svg
from optnas.report.mixed_cell import mixed_cell
from optnas.report.pictures import plot_figure
from optnas.spaces import NAS_BENCH_201
from optnas.spaces.base import Space
from optnas.spaces.drawing import STROKE_WIDTH, draw_mixed_cell, operation_colours

ROOT = Path(__file__).resolve().parents[1]
IMAGES = Path(optnas.__file__).parent / "report" / "images"
CELLS = [
    "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|nor_conv_1x1~2|",
    "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
]


def run_with(epochs: int, folder: Path, seed: int = 7) -> RunFolder:
    """A run of made-up records, with the keys a figure may read."""
    run = RunFolder(folder)
    rng = np.random.default_rng(0)
    with run.created(tiny_settings(search__seed=seed).document()):
        for epoch in range(epochs):
            op_weights = rng.dirichlet(np.ones(5), size=6).tolist()
            bench = {
                "table": "official",
                "split": "test",
                "epochs": 200,
                "accuracy": {"cifar10": 90.0 + epoch},
                "regret": {"cifar10": 1.0},
            }
            made = {
                "epoch": epoch,
                "alpha": op_weights,
                "op_weights": op_weights,
                "architecture": CELLS[epoch % 2],
                "skips": 0,
                "nones": 0,
                "benchmark": bench,
            }
            run.append(dict.fromkeys(RECORD, 1.0) | made)
    return run


SLIDES = ("alternation", "auxiliary-skip", "nas-triangle")


@pytest.mark.parametrize("name", SLIDES)
def test_a_slide_is_the_committed_file(name: str, tmp_path: Path) -> None:
    plot_figure(name, [], tmp_path / "x.svg")
    assert (tmp_path / "x.svg").read_bytes() == (IMAGES / f"{name}.svg").read_bytes()
    assert f"src/optnas/report/images/{name}.svg)" in (ROOT / "docs/concepts.md").read_text()


@pytest.mark.thorough
def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        plot_figure("mixed-cell", [], tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_strokes_are_as_wide_as_their_operation_weights() -> None:
    op_weights = np.random.default_rng(1).dirichlet(np.ones(5), size=6)
    op_weights[0, 0] = -0.25
    ax = draw_mixed_cell(op_weights.tolist(), NAS_BENCH_201, Figure().add_subplot())
    strokes = [p for p in ax.patches if isinstance(p, PathPatch)]
    widths = np.array([stroke.get_linewidth() for stroke in strokes]).reshape(6, 5)
    np.testing.assert_allclose(widths, STROKE_WIDTH * op_weights.clip(min=0))
    colours = [stroke.get_edgecolor() for stroke in strokes[:5]]
    assert colours == [to_rgba(colour) for colour in operation_colours(NAS_BENCH_201)]


def test_strokes_have_the_colours_of_their_edges_own_candidates() -> None:
    space = Space(
        "own", 3, ((0, 1), (0, 2), (1, 2)), ("none", "skip_connect", "nor_conv_3x3"), 0, 1,
        columns=((1, 2), (2, 1), (1, 2)),
    )  # fmt: skip
    cell, colours = space.architecture((2, 2, 0)), operation_colours(space)
    expected = [colours[o] for o in (1, 2, 2, 1, 1, 2)]
    ax = draw_mixed_cell(3 * [[0.5, 0.5]], space, Figure().add_subplot())
    found = [p.get_edgecolor() for p in ax.patches if isinstance(p, PathPatch)]
    assert found == [to_rgba(colour) for colour in expected]
    assert re.findall('stroke="(#.*?)"', cell_svg(space, 3 * [[0.5, 0.5]], cell)) == expected
    assert space.one_hot(cell.operations) == [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("epochs", "shown"), [(1, ["0"]), (2, ["0", "1"]), (5, ["0", "2", "4"]), (6, ["0", "3", "5"])]
)
def test_a_run_is_shown_at_its_first_middle_and_last_epoch(
    epochs: int, shown: list[str], tmp_path: Path
) -> None:
    figure = mixed_cell([run_with(epochs, tmp_path / "run")])
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[::2] == [f"epoch {epoch}: operation weights" for epoch in shown]
    assert titles[1::2] == [
        f"epoch {epoch}: argmax of each edge, {90 + int(epoch):.2f} %" for epoch in shown
    ]
    heading = figure.get_suptitle()
    assert "darts, seed 7" in heading
    assert "table official" in heading
    assert "example" not in heading


def test_without_a_run_the_mixed_cell_says_that_it_is_an_example() -> None:
    assert "example" in mixed_cell([]).get_suptitle()


ERRORS: dict[str, tuple[list[str], str]] = {
    "unknown": (["--figure", "mixedcell"], "did you mean mixed-cell?"),
    "no run wanted": (["RUN", "--figure", "alternation"], "takes no run; leave it out"),
    "one run at most": (["RUN", "OTHER", "--figure", "mixed-cell"], "takes one run"),
    "runs missing": ([], "give one or more run folders"),
    "no table asked": (["--figure", "mixed-cell", "--table", "official"], "leave it out"),
    "no run there": (["nowhere", "--figure", "mixed-cell"], "there is no run in this folder"),
    "no records": (["EMPTY", "--figure", "mixed-cell"], "optnas resume EMPTY, or leave it out"),
    "format": (["--figure", "alternation", "-o", "x.jpg"], "end it in .png, .svg, .pdf"),
    "slide": (["--figure", "alternation", "-o", "x.png"], "kept as SVG; write x.svg and convert"),
    "folder": (["--figure", "alternation", "-o", "no/x.svg"], "cannot write the picture"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_line_with_a_remedy(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    arguments, remedy = ERRORS[case]
    run_with(1, tmp_path / "RUN")
    run_with(1, tmp_path / "OTHER", seed=8)
    run_with(0, tmp_path / "EMPTY")
    output = [] if "-o" in arguments else ["-o", "x.png"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["optnas", "plot", *arguments, *output])
    monkeypatch.setattr("signal.signal", lambda *ignored: None)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith("optnas: error: ")
    assert remedy in told
    assert not list(tmp_path.glob("x.*"))


def test_an_unknown_figure_is_a_user_error_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="use one of: F10, F11, F12, F13, F4, F7, F8, F9, agreement"
    ):
        plot_figure("zzz", [], tmp_path / "x.png")
    assert not list(tmp_path.iterdir())

"""Diagrams: drawn in both formats, no word outside its figure or over another, plain errors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.cli import main
from optnas.measures.figures import plot_figure
from optnas.report.slides import FIGURES
from optnas.spaces import NAS_BENCH_201
from optnas.spaces.drawing import STROKE_WIDTH, draw_mixed_cell, operation_colours

CELLS = [
    "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|nor_conv_1x1~2|",
    "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
]


def run_with(epochs: int, folder: Path) -> RunFolder:
    """A run of made-up records, with the keys a figure may read."""
    run = RunFolder(folder)
    document = {
        "algorithm": {"name": "darts"},
        "space": {"name": "nas-bench-201"},
        "search": {"seed": 7},
    }
    rng = np.random.default_rng(0)
    with run.created(document):
        for epoch in range(epochs):
            op_weights = rng.dirichlet(np.ones(5), size=6).tolist()
            bench = {"table": "official", "split": "test", "accuracy": {"cifar10": 90.0 + epoch}}
            run.append(
                {
                    "epoch": epoch,
                    "op_weights": op_weights,
                    "architecture": CELLS[epoch % 2],
                    "benchmark": bench,
                }
            )
    return run


def texts_of(figure: Figure) -> list[tuple[str, Bbox]]:
    FigureCanvasAgg(figure).draw()
    ticks = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]
    numbers = {
        id(text)
        for axis in ticks
        for tick in axis.get_major_ticks()
        for text in (tick.label1, tick.label2)
    }
    found = [t for t in figure.findobj(Text) if t.get_text() and id(t) not in numbers]
    return [(t.get_text(), t.get_window_extent()) for t in found]


def boxes_of(figure: Figure) -> list[Bbox]:
    return [patch.get_window_extent() for patch in figure.findobj(FancyBboxPatch)]


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("kind", ["png", "svg"])
def test_every_figure_is_drawn(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"figure.{kind}"
    plot_figure(name, [], path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG" if kind == "png" else b"<?xml")
    assert len(content) > 10_000
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        plot_figure("alternation", [], tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize("name", FIGURES)
def test_no_word_leaves_the_figure_or_covers_another(name: str) -> None:
    figure = FIGURES[name]([])
    texts = texts_of(figure)
    assert len(texts) > 5
    whole = figure.bbox
    for text, box in texts:
        assert whole.x0 <= box.x0 < box.x1 <= whole.x1, text
        assert whole.y0 <= box.y0 < box.y1 <= whole.y1, text
    for position, (text, box) in enumerate(texts):
        for other, against in texts[position + 1 :]:
            shared = Bbox.intersection(box, against)
            # Mathematical text has generous boxes: a sliver of a pixel or two is no overlap.
            overlap = shared is not None and min(shared.width, shared.height) > 2
            assert not overlap, f"{text!r} covers {other!r}"


@pytest.mark.parametrize("name", ["nas-triangle", "alternation"])
def test_no_word_crosses_the_border_of_a_box(name: str) -> None:
    figure = FIGURES[name]([])
    texts, boxes = texts_of(figure), boxes_of(figure)
    assert boxes
    held = 0
    for text, inner in texts:
        for box in boxes:
            shared = Bbox.intersection(inner, box)
            if shared is None:
                continue
            assert shared.width == pytest.approx(inner.width), text
            assert shared.height == pytest.approx(inner.height), text
            held += 1
    assert held == 2 * len(boxes)  # a title and a body each


def test_strokes_are_as_wide_as_their_operation_weights() -> None:
    op_weights = np.random.default_rng(1).dirichlet(np.ones(5), size=6)
    op_weights[0, 0] = -0.25
    ax = draw_mixed_cell(op_weights.tolist(), NAS_BENCH_201, Figure().add_subplot())
    strokes = [p for p in ax.patches if isinstance(p, PathPatch)]
    widths = np.array([stroke.get_linewidth() for stroke in strokes]).reshape(6, 5)
    np.testing.assert_allclose(widths, STROKE_WIDTH * op_weights.clip(min=0))
    colours = [stroke.get_edgecolor() for stroke in strokes[:5]]
    assert colours == [to_rgba(colour) for colour in operation_colours(NAS_BENCH_201)]


@pytest.mark.parametrize(
    ("epochs", "shown"), [(1, ["0"]), (2, ["0", "1"]), (5, ["0", "2", "4"]), (6, ["0", "3", "5"])]
)
def test_a_run_is_shown_at_its_first_middle_and_last_epoch(
    epochs: int, shown: list[str], tmp_path: Path
) -> None:
    figure = FIGURES["mixed-cell"]([run_with(epochs, tmp_path / "run")])
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
    assert "example" in FIGURES["mixed-cell"]([]).get_suptitle()


ERRORS: dict[str, tuple[list[str], str]] = {
    "unknown": (["--figure", "mixedcell"], "did you mean mixed-cell?"),
    "no run wanted": (["RUN", "--figure", "alternation"], "takes no run; leave it out"),
    "one run at most": (["RUN", "RUN", "--figure", "mixed-cell"], "takes one run"),
    "runs missing": ([], "give one or more run folders"),
    "no table asked": (["--figure", "mixed-cell", "--table", "official"], "leave it out"),
    "no run there": (["nowhere", "--figure", "mixed-cell"], "there is no run in this folder"),
    "no records": (["EMPTY", "--figure", "mixed-cell"], "wait for its first epoch"),
    "format": (["--figure", "alternation", "-o", "x.jpg"], "end it in .png, .svg, .pdf"),
    "folder": (["--figure", "alternation", "-o", "no/x.png"], "cannot write the picture"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_line_with_a_remedy(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    arguments, remedy = ERRORS[case]
    run_with(1, tmp_path / "RUN")
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
    with pytest.raises(UserError, match="use one of: F4, agreement, alternation, auxiliary-skip"):
        plot_figure("zzz", [], tmp_path / "x.png")
    assert not list(tmp_path.iterdir())

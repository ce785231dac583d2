"""The report: the numbers of its figures, the page they stand in, what a browser makes of it."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import CHROMIUM, DRIVER, browser
from studies import tiny_study
from tidy import arms, study

from optnas import UserError
from optnas.analysis.bands import band
from optnas.analysis.estimates import bootstrap
from optnas.analysis.runs import Runs, Selection
from optnas.base.records import RunFolder
from optnas.measures.drawing import pair_look
from optnas.measures.figures import Curve, Figure, Line, Panel, Row, Seed
from optnas.measures.landscape.panels import TABLE
from optnas.report import data, named, report
from optnas.report.arms import pair_arms
from optnas.report.inventory import chosen, inventory
from optnas.report.material import Material
from optnas.report.pages import page as run_page
from optnas.report.pictures import write_pictures
from optnas.report.reference_lines import Benchmark
from optnas.report.static import draw
from optnas.report.summary import as_csv, as_latex, summary
from optnas.study.declare import load_study
from optnas.study.folder import locate

ROOT = Path(__file__).resolve().parents[1]
LINES = [Line("random cell, mean", 87.0, "dot")]
GRID = """
[[grid]]
"algorithm.name" = ["darts", "sdarts-rs"]
"weight_optimizer.name" = ["SGD", "Adam"]
[[grid]]
weight_optimizer = [{ name = "SGD", momentum = 0.0 }, { name = "SGD", momentum = 0.5 }]
"""


def material(table: pd.DataFrame, **benchmark: Any) -> Material:
    runs = Runs(table)
    everything = Selection(runs, np.ones(len(runs), bool), {})
    asked = Benchmark(**{"column": "benchmark.cifar10", "title": "t", "lines": LINES} | benchmark)
    return Material(runs, everything, asked, [])


def figure_of(name: str, made: Material) -> Figure:
    figure: Figure = getattr(named, name.lower())(made)
    return figure


def ready(name: str, made: Material) -> list[data.Strip]:
    return data.drawn(name, figure_of(name, made)).rows


def planted(settings: dict[str, Any], generator: np.random.Generator) -> dict[str, Any]:
    """Numbers that can be told by head: the seed, ten for SGD on w, the epoch."""
    base = settings["search.seed"] + 10 * (settings["weight_optimizer.name"] == "SGD")
    epochs = np.arange(settings["search.epochs"] + 1)
    sharpness = np.where(epochs % 4 == 0, 0.1 * epochs, np.nan)
    accuracy = 80.0 + settings["search.seed"] - np.abs(epochs - 3.0)
    return {
        "valid_accuracy": base + epochs,
        "alpha_hessian_max": sharpness,
        "benchmark.cifar10": accuracy,
        "skips": 1,
    }


def test_a_band_is_the_bootstrap_of_the_mean_at_every_epoch() -> None:
    values_SE = np.random.default_rng(0).normal(size=(6, 5))
    values_SE[0, 1] = values_SE[:, 3] = np.nan
    values_SE[1:, 4] = np.nan
    found = band(values_SE)
    assert found.n.tolist() == [6, 5, 6, 0, 1]
    for epoch in range(3):
        known = values_SE[~np.isnan(values_SE[:, epoch]), epoch]
        mean, low, high = bootstrap([known], lambda values: values.mean(axis=-1))
        np.testing.assert_allclose(found.mean[epoch], mean)
        np.testing.assert_allclose([found.low[epoch], found.high[epoch]], [low, high])
    assert np.isnan([found.mean[3], found.low[4], found.high[4]]).all()
    assert found.mean[4] == values_SE[0, 4]


def test_curves_are_means_over_seeds_with_the_seeds_behind_them() -> None:
    made = material(study(arms("darts"), planted, seeds=3, epochs=4))
    [row] = ready("F7", made)
    supernet, sharpness, benchmark = row.panels
    first = supernet.curves[0]
    assert (first.label, first.n, first.x) == ("SGD + SGD", 3, [0, 1, 2, 3, 4])
    assert first.mean == [11.0, 12.0, 13.0, 14.0, 15.0]
    assert [seed.values[0] for seed in first.seeds] == [10.0, 11.0, 12.0]
    assert all(low <= 11 <= high for low, high in [(first.low[0], first.high[0])])
    assert sharpness.curves[0].x == [0, 4]  # where it was measured
    assert benchmark.lines == LINES
    assert benchmark.range is not None
    assert benchmark.range[1] > 87
    assert [curve.label for curve in supernet.curves] == [
        *("SGD + SGD", "SGD + Adam", "Adam + SGD", "Adam + Adam")
    ]


def test_one_run_has_no_band_and_is_no_line_of_its_own() -> None:
    [row] = ready("F7", material(study(arms("darts"), planted, seeds=1)))
    curve = row.panels[0].curves[0]
    assert (curve.n, curve.seeds, set(curve.low)) == (1, [], {None})


def test_the_table_has_final_best_and_drop() -> None:
    made = material(study(arms("darts"), planted, seeds=3, epochs=4))
    line = summary(made)[0]
    final, best, drop, sharpness, supernet = (estimate.mean for estimate in line.estimates)
    assert (line.algorithm, line.pair, line.n) == ("darts", "SGD + SGD", 3)
    assert (final, best, drop) == (80.0, 81.0, 1.0)
    assert sharpness == pytest.approx(0.4)
    assert supernet == 15.0
    assert as_csv([line]).splitlines()[1].startswith("darts,SGD + SGD,3,80.0,")
    assert as_latex([line]).count(r"\\") == 2


@pytest.mark.parametrize("seeds", [5, 6])
def test_the_table_has_the_intervals_that_a_comparison_would_have(seeds: int) -> None:
    """Brackets of two runs stood there, and nothing said what they were."""
    lines = summary(material(study(arms("darts"), planted, seeds=seeds, epochs=4)))
    ends = [(each.low, each.high) for each in lines[0].estimates]
    assert (None in ends[0]) == (seeds < 6)
    said, *rows = as_latex(lines).splitlines()
    assert said.startswith("% n: finished runs; mean over runs [its 95 % percentile bootstrap")
    assert said.endswith("fewer than 6 runs have none")
    assert any("[" in row for row in rows) == (seeds >= 6)
    assert f"& {seeds} &" in rows[4]


def test_a_balanced_sweep_has_a_row_for_each_value() -> None:
    """Of three equally common values there is none of most runs: the table was empty."""
    every = [c for c in arms("darts") if c["weight_optimizer.name"] == "SGD"]
    swept = [{**c, "weight_optimizer.momentum": m} for c in every for m in (0.9, 0.0, 0.5)]
    others = [{**c, "weight_optimizer.momentum": 0.9} for c in arms("sdarts-rs") if c not in every]
    lines = summary(material(study(swept, planted, seeds=2)))
    told = [
        f"SGD + {a}, weight_optimizer.momentum {m}" for a in ("SGD", "Adam") for m in (0, 0.5, 0.9)
    ]
    assert [(line.pair, line.n) for line in lines] == [(each, 2) for each in told]
    own = [{**c, "algorithm.beta": b} for c in every for b in (0.5, None)]
    lines = summary(material(study(own, planted, seeds=2)))  # what a run lacks is not said
    assert {line.algorithm for line in lines} == {"darts", "darts, algorithm.beta 0.5"}
    assert {line.pair for line in lines} == {"SGD + SGD", "SGD + Adam"}
    lines = summary(material(study([*swept, *others], planted, seeds=2)))  # now 0.9 is of most
    assert {line.pair for line in lines if line.algorithm == "darts"} == {"SGD + SGD", "SGD + Adam"}


def test_the_best_epoch_of_the_table_is_none_before_the_first_step() -> None:
    every = study(arms("darts"), planted, seeds=3, epochs=4)
    every.loc[every["epoch"] == 0, "benchmark.cifar10"] = 99.0
    final, best, drop, *_ = (estimate.mean for estimate in summary(material(every))[0].estimates)
    assert (final, best, drop) == (80.0, 81.0, 1.0)


def test_a_momentum_is_a_curve_and_other_figures_hold_it() -> None:
    every = arms("darts", weight_optimizer__momentum=[0.9, 0.0, 0.5])
    every = [c for c in every if c["weight_optimizer.name"] == "SGD"]
    every += [{**c, "weight_optimizer.momentum": 0.9} for c in arms("sdarts-rs")]
    made = material(study(every, planted, seeds=2))
    [row] = ready("F10", made)
    assert [curve.label for curve in row.panels[0].curves] == ["0", "0.5", "0.9"]
    assert row.title == "DARTS, momentum of SGD on w (pair SGD + Adam), search on CIFAR-10"
    [pairs] = ready("F7", made)
    assert [curve.n for curve in pairs.panels[0].curves] == [2, 2]


def test_the_momentum_of_adam_is_its_first_beta() -> None:
    betas = ["[0.9, 0.999]", "[0.0, 0.999]"]
    made = material(study(arms("darts-minus", arch_optimizer__betas=betas), planted, seeds=2))
    titles = {row.title: row for row in ready("F11", made)}
    row = titles["DARTS-, first beta of Adam on alpha (pair SGD + Adam), search on CIFAR-10"]
    assert [curve.label for curve in row.panels[0].curves] == ["0", "0.9"]
    # Two arms of one first beta had one name.
    betas.append("[0.9, 0.9]")
    made = material(study(arms("darts-minus", arch_optimizer__betas=betas), planted, seeds=2))
    [row] = [each for each in ready("F11", made) if each.title == row.title]
    labels = [curve.label for curve in row.panels[0].curves]
    assert labels == ["0", "0.9, 0.9", "0.9, 0.999"]


def test_algorithms_share_an_axis() -> None:
    made = material(study(arms("darts", "sdarts-rs", "random"), planted, seeds=2))
    [row] = ready("F13", made)
    assert len(row.panels) == 4
    assert len({panel.range for panel in row.panels}) == 1
    labels = [curve.label for curve in row.panels[0].curves]
    assert labels == ["darts", "sdarts-rs", "random"]


def test_what_is_not_there_is_told_with_what_it_needs() -> None:
    made = material(study(arms("darts"), planted, seeds=2))
    figure = figure_of("F8", made)
    assert figure.missing == "no finished run of DARTS-"
    assert not figure.rows[0].panels
    needed = " ".join(figure.rows[0].missing)
    assert "darts-minus: SGD + Adam" in needed
    assert "none is here" in needed


def test_runs_without_a_benchmark_have_a_panel_that_says_so() -> None:
    table = study(arms("darts"), planted, seeds=2).drop(columns="benchmark.cifar10")
    [row] = ready("F7", material(table, column="", title=""))
    assert row.panels[2].notes == ["these runs asked no benchmark table"]
    assert row.panels[2].curves == []


def test_a_pair_keeps_its_colour() -> None:
    assert pair_look("Adam + Adam") == ("#D55E00", "solid")
    assert pair_look("muon + Adam") != pair_look("AdamW + Adam")
    made = material(study(arms("darts", "sdarts-rs"), planted, seeds=2))
    looks = [[arm.colour for arm in pair_arms(made.selection, a)] for a in ("darts", "sdarts-rs")]
    assert looks[0] == looks[1]


def test_long_searches_and_many_seeds_are_thinned_and_say_so() -> None:
    made = material(study(arms("darts")[:1], planted, seeds=30, epochs=600))
    [row] = ready("F7", made)
    curve = row.panels[0].curves[0]
    assert len(curve.x) <= data.POINTS_DRAWN
    assert curve.x[-1] == 600
    assert (curve.n, len(curve.seeds)) == (30, data.SEEDS_DRAWN)
    told = " ".join(row.panels[0].notes)
    assert "not every epoch" in told
    assert "the first 24 runs" in told


def test_an_axis_leaves_out_the_start_and_says_so() -> None:
    def late(settings: dict[str, Any], generator: np.random.Generator) -> dict[str, Any]:
        epochs = np.arange(settings["search.epochs"] + 1)
        return planted(settings, generator) | {"valid_accuracy": np.where(epochs < 2, 10, 90.0)}

    [row] = ready("F7", material(study(arms("darts"), late, seeds=2, epochs=40)))
    assert row.panels[0].range == (89.0, 91.0)
    every = len(row.panels[0].curves) * 2
    told = f"{every} of {every} runs leave the picture below, down to 10, at epoch 0 to 1"
    assert row.panels[0].notes == [told]


def test_a_single_run_that_leaves_the_picture_is_told() -> None:
    """0.1.0 cut it off; later it said that early epochs or single runs do, and not how many."""
    epochs = list(range(41))
    values = [[90 + seed + 0.1 * e for e in epochs] for seed in range(8)]
    values[3][20:], values[5][30] = [10.0] * 21, 12.0
    seeds = [Seed(seed, "r", each) for seed, each in enumerate(values)]
    [row] = data.drawn(
        "F13", Figure("t", [Row("", [Panel("p", "%", [Curve("a", epochs, seeds, "#000000")])])])
    ).rows
    assert row.panels[0].notes == [
        "2 of 8 runs leave the picture below, down to 10, at epoch 20 to 40"
    ]


def test_the_picture_draws_the_data() -> None:
    made = material(study(arms("darts"), planted, seeds=3, epochs=4))
    figure = data.drawn("F7", figure_of("F7", made))
    for ax, panel in zip(draw(figure).axes, figure.rows[0].panels, strict=True):
        assert ax.get_ylim() == pytest.approx(panel.range)
        # Lines to compare with may follow the curves.
        assert len(ax.get_lines()) >= len(panel.curves) > 0
        for drawn, curve in zip(ax.get_lines(), panel.curves, strict=False):
            assert list(drawn.get_ydata()) == curve.mean


def plant_landscape(run: RunFolder) -> None:
    """A bowl, deeper by the seed, on a plane of 5 x 5 points."""
    seed = run.read_config()["search"]["seed"]
    axis = np.linspace(-1, 1, 5)
    accuracy = 60 - (10 + seed) * (axis[:, None] ** 2 + 2 * axis[None] ** 2)
    values = dict.fromkeys(TABLE, 1.0 + seed) | {"images": 100}
    line = {
        "epoch": 5,
        "status": "ok",
        "settings": {"plane": "gradient", "space": "op-weights", "statistics": "run"},
        "values": values,
        "units": dict.fromkeys(values, "percentage points"),
    }
    run.measures.put("landscape", line, {"axis": axis, "accuracy": accuracy, "loss": accuracy / 50})


@pytest.mark.thorough
def test_pictures_are_written_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = material(study(arms("darts"), planted, seeds=2))
    figures = [data.drawn(name, figure_of(name, made)) for name in ("F7", "F13")]
    stale = tmp_path / "F8.png"
    stale.touch()
    write_pictures(figures, ["F8"], tmp_path)
    names = {f"{name}.{kind}" for name in ("F7", "F13") for kind in ("png", "svg", "pdf")}
    assert {path.name for path in tmp_path.iterdir()} == names
    together = (tmp_path / "F7.svg").read_bytes()
    monkeypatch.chdir(tmp_path)  # the processes that are kept began elsewhere
    (tmp_path / "again").mkdir()
    write_pictures(figures, [], Path("again"))
    assert (tmp_path / "again" / "F7.svg").read_bytes() == together
    write_pictures(figures[:1], [], tmp_path)  # a single one is drawn by this process
    assert (tmp_path / "F7.svg").read_bytes() == together


@pytest.mark.thorough
def test_a_picture_that_cannot_be_written_is_told_as_elsewhere(tmp_path: Path) -> None:
    made = material(study(arms("darts"), planted, seeds=2))
    folder = tmp_path / "gone"
    with pytest.raises(UserError, match=r"command line: -o = '.*gone/F\d+.png': cannot write"):
        write_pictures([data.drawn(n, figure_of(n, made)) for n in ("F7", "F13")], [], folder)


def scale_module() -> Any:
    """The benchmark that writes synthetic runs through the real code."""
    spec = importlib.util.spec_from_file_location("scale", ROOT / "benchmarks/study_scale.py")
    assert spec is not None
    assert spec.loader is not None
    scale = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scale)
    return scale


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """A study of synthetic runs through the real code, of which one diverged and one is missing."""
    scale = scale_module()
    folder = tmp_path_factory.mktemp("report")
    name, out = tiny_study(folder, "[0, 1, 2]", GRID, search__epochs=5), folder / "out"
    first, missing, *_ = runs = list(load_study(name).runs.values())
    for run in runs:
        if run is not missing:
            scale.write_run(run, RunFolder(out / run.id), 5)
            plant_landscape(RunFolder(out / run.id))
    RunFolder(out / first.id).finish("diverged", reason="train loss is <nan> & more", epochs=3)
    return name, out, report(name, out, folder / "to")


class Elements(HTMLParser):
    """The attributes of every element, and the text of scripts that hold data."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.data: dict[str, Any] = {}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        given = dict(attrs)
        self._open = (given.get("id") or "") if given.get("type") == "application/json" else ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.data[self._open] = json.loads(data)
            self._open = ""


@pytest.mark.thorough
def test_the_page_is_whole_and_holds_its_data(written: tuple[str, Path, Path]) -> None:
    name, _, page = written
    text = page.read_text()
    elements = Elements(text)
    drawn = [e["data-figure"] for _, e in elements.found if "data-figure" in e]
    assert drawn == ["F4", "F7", "F9", "F10", "F13", "T1"]
    for figure in drawn:
        assert f"data-{figure}" in elements.data
        endings = ("csv", "tex") if figure == "T1" else ("svg", "pdf", "png")
        for ending in endings:
            assert (page.parent / "figures" / f"{figure}.{ending}").stat().st_size > 100
    plane = elements.data["data-F4"]
    maps = plane["rows"][0]["panels"]
    assert [each["title"][:12] for each in maps] == ["(a) DARTS, S", "(b) SDARTS-R"]
    assert maps[0]["grid"]["values"][0][2] < maps[0]["grid"]["values"][2][0]  # [y][x]
    assert [each["range"][1] for each in maps] == [60, 60]
    assert "no landscape of sdarts-adv under SGD + Adam" in text
    supernet = elements.data["data-F7"]["rows"][0]["panels"][0]
    assert [curve["n"] for curve in supernet["curves"]] == [2, 2]
    assert supernet["curves"][1]["seeds"][0]["run"] in text
    assert page.stat().st_size < 25e6
    for tag, given in elements.found:  # nothing is fetched
        assert tag not in ("iframe", "img")
        assert not (given.get("src"))
        if tag == "link":
            assert given["href"] == "data:,"
    assert "Not in this study: F8 (no finished run of DARTS-), " in text
    assert 'id="F8"' not in text
    assert "train loss is &lt;nan&gt; &amp; more" in text
    for run in load_study(name).runs.values():
        assert run.settings.hash in text
    assert f"optnas study run {name}" in text
    assert 3 < text.count('class="claim"') < 20
    assert "No run of this study is of the arms of: " in text
    # A setting is told with the component that it is of.
    assert {"momentum", "betas"} <= set(re.findall(r"(\w+)</code></td><td>(?:SGD|Adam): ", text))
    # The study at hand comes first: its arms, then the lines that decide.
    assert text.index('<section id="comparison">') < text.index('<section id="design">')
    assert text.count('<li class="apart">') + text.count('<li>\n<span class="pairname">') == 2 * 15
    assert "3 seeds: no interval; 10 are the fewest for p &lt; .05 over 15 pairs" in text
    assert "Holm over the 15 pairs of this table" in text
    for ending in ("csv", "tex", "svg", "pdf", "png"):
        assert (page.parent / "figures" / f"compare.{ending}").stat().st_size > 100
    rows = re.search(r'(?s)id="every-run">.*?<tbody>(.*?)</tbody>', text)
    assert rows is not None
    assert rows[1].count("<tr>") == len(load_study(name).runs)


OWN = """
from optnas import register
from optnas.measures.figures import Curve, Figure, Panel, Row, Seed

@register("figure", "flat")
def flat(runs):
    seeds = [Seed(1, run.path.name, [1.0, 2.0]) for run in runs]
    curve = Curve("SGD + SGD", [0, 1], seeds, "#000000")
    return Figure("Flat", [Row("", [Panel("p", "u", [curve])])])
"""
CLAIM = """
id = "mine"
text = "SGD is better."
source = "me"
parts = [{ name = "p", response = { column = "supernet accuracy" }, contrast = [{ axis = \
"weight_optimizer.name", plus = "SGD", minus = "AdamW" }], direction = "greater" }]
"""


@pytest.mark.thorough
def test_own_claims_figures_and_labels_stand_in_the_report(tmp_path: Path) -> None:
    grid = """
    [[grid]]
    weight_optimizer = [
        { name = "SGD" }, { name = "AdamW", label = "mine & own" },
        { name = "SGD", lr = 0.5, label = "hot" },
    ]
    """
    name, out = tiny_study(tmp_path, "[0]", grid, search__epochs=1), tmp_path / "out"
    scale = scale_module()
    for run in load_study(name).runs.values():
        scale.write_run(run, RunFolder(out / run.id), 1)
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "mine.toml").write_text(CLAIM)
    (tmp_path / "own.py").write_text(OWN)
    page = report(
        name,
        out,
        claims=[str(tmp_path / "claims")],
        figures=[f"{tmp_path / 'own.py'}:flat"],
        responses=["auc accuracy"],
        recorded=True,
    )
    figures = page.parent / "figures"
    assert {each.name for each in figures.glob("compare*.csv")} == {"compare-auc-accuracy.csv"}
    assert 'href="figures/compare-auc-accuracy.tex"' in page.read_text()
    assert "--response 'auc accuracy'" in page.read_text().replace("&#39;", "'")
    text = page.read_text()
    assert re.findall(r'<span class="id">(\w+)</span>', text) == ["mine"]
    assert "<p>1 run belongs to no learning-rate arm and to no verdict" in text
    assert '<section id="flat">' in text
    legend = json.dumps(Elements(text).data["data-F7"])
    assert "mine & own + Adam" in legend
    assert "AdamW" not in legend
    assert "mine & own + Adam" in (page.parent / "figures" / "T1.csv").read_text()
    assert "(mine &amp; own) - (SGD)" not in text
    assert "mine &amp; own - SGD" in text
    with pytest.raises(UserError, match="--figure"):
        report(name, out, figures=["flatt"], recorded=True)


@pytest.mark.thorough
def test_two_values_of_one_component_keep_their_labels(tmp_path: Path) -> None:
    """A label was kept only where every run of the component's name had the same one."""
    grid = """
    [[grid]]
    arch_optimizer = [
      { name = "Adam" }, { name = "Adam", lr = 0.03, label = "fast" }, { name = "SGD" }
    ]
    algorithm = [
      { name = "composed", label = "plain" },
      { name = "composed", perturbation = "uniform", label = "shaken" },
    ]
    """
    name, out = tiny_study(tmp_path, "[0]", grid, search__epochs=1), tmp_path / "out"
    scale = scale_module()
    for run in load_study(name).runs.values():
        scale.write_run(run, RunFolder(out / run.id), 1)
    page = report(name, out, figures=["epochs"], recorded=True)
    curves = Elements(page.read_text()).data["data-epochs"]["rows"][0]["panels"][0]["curves"]
    arms = [
        f"{algorithm}: SGD + {arch}"
        for algorithm in ("plain", "shaken")
        for arch in ("SGD", "Adam", "fast")
    ]
    assert sorted(curve["label"] for curve in curves) == sorted(arms)
    with (page.parent / "figures" / "T1.csv").open() as file:
        lines = [line.split(",")[:2] for line in file][1:]
    assert sorted(f"{algorithm}: {pair}" for algorithm, pair in lines) == sorted(arms)
    assert "plain, SGD + fast" in page.read_text() or "plain: SGD + fast" in page.read_text()


@pytest.mark.thorough
def test_pages_of_runs_are_those_named_or_the_newest(written: tuple[str, Path, Path]) -> None:
    name, out, page = written
    loaded = load_study(name)
    entries = inventory(loaded, locate(loaded.runs.values(), out))
    begun = [entry for entry in entries if entry.state != "missing"]
    assert re.findall(r'data-run="(\w+)"', page.read_text()) == [entry.id for entry in begun]
    [late] = chosen([replace(e, started=e.id) for e in entries], [], 1)
    assert late.id == max(entry.id for entry in begun)
    assert [e.id for e in chosen(entries, [begun[2].id[:8]], 50)] == [begun[2].id]
    for wrong in ("zzz", "", entries[1].id):
        with pytest.raises(UserError, match="--run"):
            chosen(entries, [wrong], 50)


@pytest.mark.thorough
def test_the_page_of_a_run_has_its_curves_and_cells(written: tuple[str, Path, Path]) -> None:
    name, out, _ = written
    loaded = load_study(name)
    entry = inventory(loaded, locate(loaded.runs.values(), out))[2]
    made, records = run_page(entry), entry.folder.read_epochs()
    assert made.data["epochs"] == list(range(6))
    assert np.shape(made.data["op_weights"]) == (6, 6, 5)
    assert made.data["charts"][0]["lines"][1]["values"] == pytest.approx(
        [record["valid_accuracy"] for record in records], rel=1e-5
    )
    cells = [record["architecture"] for record in records]
    assert made.changes == sum(a != b for a, b in pairwise(cells))
    assert (made.moments[0].architecture, made.moments[-1].architecture) == (cells[0], cells[-1])
    assert made.moments[0].drawing.count("<path") == 6 * 5
    assert "folder" not in made.settings
    assert "[identity]" not in made.settings


@pytest.mark.thorough
def test_runs_are_listed_with_state_and_reason(written: tuple[str, Path, Path]) -> None:
    name, out, _ = written
    loaded = load_study(name)
    entries = inventory(loaded, locate(loaded.runs.values(), out))
    assert [entry.state for entry in entries[:3]] == ["diverged", "missing", "done"]
    assert entries[0].reason == "train loss is <nan> & more"


@pytest.mark.thorough
def test_a_folder_that_cannot_be_written_is_bad_input(
    written: tuple[str, Path, Path], tmp_path: Path
) -> None:
    name, out, _ = written
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the report"):
        report(name, out, tmp_path / "file")


@pytest.mark.slow
@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Chromium and chromedriver")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_draws_every_chart_and_asks_for_nothing(
    written: tuple[str, Path, Path], tmp_path: Path, width: int
) -> None:
    with browser(tmp_path / "profile", width) as page:
        page.open(written[2].as_uri())
        page.wait("document.documentElement.dataset.drawn")
        drawn = page.evaluate(
            "return [...document.querySelectorAll('[data-figure]')].map((e) => e.dataset.drawn)"
        )
        assert drawn == ["true"] * 6
        plots = "[...document.querySelectorAll('.plot[data-panel]')]"
        assert page.evaluate(
            f"return {plots}.every((e) => e.querySelector('path.js-line, .hm image'))"
        )
        wide = page.evaluate("return document.documentElement.scrollWidth")
        assert wide <= width
        runs = "[...document.querySelectorAll('#every-run tbody tr')]"
        shown = f"{runs}.filter((row) => !row.hidden).map((row) => row.cells[1].textContent)"
        page.evaluate("document.querySelectorAll('#every-run th button')[1].click()")
        seeds = page.evaluate(f"return {shown}")
        assert seeds == sorted(seeds)
        page.evaluate("document.querySelectorAll('#every-run th button')[1].click()")
        assert page.evaluate(f"return {shown}") == seeds[::-1]
        sift = "const i = document.querySelector('[data-sift]'); i.value = 'adam 2 done';"
        page.evaluate(f"{sift} i.dispatchEvent(new Event('input'))")
        assert set(page.evaluate(f"return {shown}")) == {"2"}
        assert 0 < len(page.evaluate(f"return {shown}")) < 6
        first = "document.querySelector('#F7 .plot')"
        hidden = f"{first}.data.filter((t) => t.visible === false)"
        page.evaluate("document.querySelector('#F7 .legend button').click()")
        page.wait(f"{hidden}.length > 0")
        page.evaluate("document.querySelector('details.run').open = true")
        page.wait("document.querySelector('details.run').dataset.opened")
        move = "const s = document.querySelector('.slider input'); s.value = 0;"
        page.evaluate(f"{move} s.dispatchEvent(new Event('input'))")
        page.wait("document.querySelector('.slider label').textContent === 'epoch 0'")
        assert page.console() == []
        assert page.requests() == [written[2].as_uri()]
        page.screenshot(tmp_path / "page.png")
        assert (tmp_path / "page.png").stat().st_size > 10_000


def test_an_axis_leaves_no_epoch_of_a_short_run_out() -> None:
    def ends(epochs: int) -> Any:
        values = [0.0, *([1.0] * (epochs - 1)), 1.01]
        curve = Curve("a", list(range(epochs + 1)), [Seed(0, "r", values)], *pair_look("a"))
        mean = data.mean_of(curve)
        assert mean is not None
        return data.range_of([mean], [], early=True)

    assert ends(9) == (0.0, 1.01)
    assert ends(10) == (1.0, 1.01)

"""Figures: a stranger's file is in the report by itself, colours and legends, what is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cases import command
from matplotlib.colors import to_hex
from studies import PAIR, tiny_study
from tidy import arms
from tidy import study as planted_study
from tiny import TINY
from topics import text_of

from optnas import UserError
from optnas.analysis.runs import Runs, Selection
from optnas.base.records import RunFolder
from optnas.measures.drawing import PAIR_LOOKS, pair_look, run_looks
from optnas.measures.figures import Curve, Figure, Panel, Row, Seed
from optnas.measures.lines import lines_of, measure_command, measured
from optnas.measures.ways import labels_of
from optnas.report import named, report, static
from optnas.report.arms import TRADITIONAL, pair_of
from optnas.report.columns import columns
from optnas.report.data import drawn
from optnas.report.epochs import epochs
from optnas.report.material import Material
from optnas.report.pictures import Absent, Picture, figure_of_report, plot_figure
from optnas.report.reference_lines import Benchmark
from optnas.search import api
from optnas.search.loop import run
from optnas.study.declare import load_study

ROOT = Path(__file__).resolve().parents[1]


def template(name: str, folder: Path) -> Path:
    """A file of the pages about extending, as a reader saves it."""
    text = text_of("extending")
    found = re.search(rf"```python\n(# {name}\n.*?)```", text, re.DOTALL)
    assert found is not None
    (folder / name).write_text(found[1])
    return folder / name


def data_of(page: str, figure: str) -> dict[str, Any]:
    found = re.search(rf'id="data-{figure}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    document: dict[str, Any] = json.loads(found[1])
    return document


def test_chosen_columns_by_epoch() -> None:
    """Of the record, nested or not, and of what was measured; runs without it are told."""
    measured_one = RunFolder(sorted((ROOT / "results" / "designs").glob("*/measures"))[0].parent)
    bare = RunFolder(ROOT / "results" / "first-light" / "darts-SGD-SGD-0")
    asked = ["alpha_entropy", "skip weight", "accuracy", "measure.gap.gap"]
    first, second = columns([bare, measured_one], asked).rows
    panels = [*first.panels, *second.panels]
    assert [(each.title, each.unit) for each in panels] == [
        ("entropy of softmax(alpha)", "nats"),
        ("skip weight", ""),
        ("benchmark accuracy of the derived cell, cifar10", "%"),
        ("measure.gap.gap", "pp"),
    ]
    records = bare.read_epochs()
    [curve] = [c for c in panels[0].curves if c.seeds[0].run == bare.path.name]
    told = [value for value in curve.seeds[0].values if value is not None]
    assert told == [record["alpha_entropy"] for record in records]
    [line] = measured_one.read_measures("gap")
    values = [v for c in panels[3].curves for s in c.seeds for v in s.values if v is not None]
    assert values == [line["values"]["gap"]]
    assert f"{bare.path.name}: not recorded" in panels[3].remarks


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--column", "alpha_entrop"],
            "--column = 'alpha_entrop': no run has a number in a column",
        ),
        (["--column", "alpha_entrop"], "did you mean alpha_entropy?"),
        (["--column", "search.epochs"], "--column = 'search.epochs'"),
        (["--column", "skips", "--figure", "F7"], "the figure F7 chooses its own columns"),
    ],
)
def test_an_unknown_column_is_refused(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(ROOT / "results" / "first-light" / "darts-SGD-SGD-0")
    assert command("plot", run, "-o", str(tmp_path / "a.svg"), *words) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "a.svg").exists()


@pytest.mark.thorough
@pytest.mark.parametrize("label", ["flatness", "mine"])
def test_a_strangers_measure_and_figure_enter_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str
) -> None:
    """Under another label than its name the measure had no figure."""
    monkeypatch.chdir(tmp_path)
    template("my_measure.py", tmp_path)
    measure = {"name": "./my_measure.py:flatness", "every": 1, "draws": 2}
    settings = {f"measures__{label}__{key}": value for key, value in measure.items()}
    name = tiny_study(tmp_path, "[0, 1]", PAIR, search__epochs=1, **settings)
    for planned in load_study(name).runs.values():
        folder = RunFolder(tmp_path / "out" / planned.id)
        with folder.created(planned.settings.document()):
            run(planned.settings, folder)
    page = report(name, tmp_path / "out")
    text = page.read_text()
    assert '<section id="flatness">' in text
    assert text.count('data-figure="flatness"') == 1
    accuracy, drop = data_of(text, "flatness")["rows"][0]["panels"]
    assert (accuracy["unit"], drop["unit"]) == ("percent", "percentage points")
    assert [curve["label"] for curve in drop["curves"]] == [
        "darts: SGD + Adam",
        "darts: Adam + Adam",
    ]
    assert [curve["n"] for curve in drop["curves"]] == [2, 2]
    for kind in ("svg", "pdf", "png"):
        assert (page.parent / "figures" / f"flatness.{kind}").stat().st_size > 1000
    assert "agreement (not measured)" in text
    first = next(iter(load_study(name).runs))
    plot_figure("./my_measure.py:flatness", tmp_path / "out" / first, tmp_path / "one.png")
    for lines in (tmp_path / "out").glob("*/measures/*.jsonl"):
        lines.unlink()
    assert (
        "optnas measure RUN... ./my_measure.py:flatness"
        in report(name, tmp_path / "out").read_text()
    )
    with pytest.raises(UserError, match=rf"measure it: optnas measure .* {label}$"):
        plot_figure("./my_measure.py:flatness", tmp_path / "out" / first, "one.png")


def test_lines_are_found_by_the_measures_name(tmp_path: Path) -> None:
    sections = {
        "mine": {"name": "./my.py:flatness"},
        "more": {"name": "flatness"},
        "gap": {"name": "flatness"},
        "agreement": {"every": 1},
    }
    config = {"measures": sections}
    assert labels_of(config, "flatness") == ["flatness", "mine", "more", "gap"]
    assert labels_of(config, "agreement") == ["agreement"]
    assert labels_of(config, "gap") == []  # what is called so is another measure
    folder = RunFolder(tmp_path / "run")
    line = {"epoch": 0, "status": "ok", "values": {}, "units": {}, "settings": {}, "cost": {}}
    with folder.created(api.settings_of({"data.name": "digits"}).document() | config):
        folder.measures.put("more", line, {})
        assert lines_of(folder, "flatness")[0] == "more"
        folder.measures.put("mine", line, {})
        with pytest.raises(UserError, match="flatness as mine and as more, and a figure shows one"):
            lines_of(folder, "flatness")
        folder.measures.put("flatness", line, {})
        assert lines_of(folder, "flatness")[0] == "flatness"
    assert lines_of(folder, "noise") == ("noise", [])
    folder.measures.put("later", line, {})
    with pytest.raises(
        UserError, match=r"of noise \(of what measure the lines of flatness and later"
    ):
        measured("noise", [folder])
    assert measure_command(folder, "noise") == f"optnas measure {folder.path} noise"
    assert measure_command(folder, "nosuch") == f"optnas measure {folder.path} FILE:nosuch"
    assert measure_command("RUN...", "flatness") == "optnas measure RUN... FILE:flatness"


def test_a_matplotlib_figure_stands_in_the_report_as_a_picture() -> None:
    from matplotlib.figure import Figure as Drawing

    def own(runs: Any) -> Drawing:
        """What I drew myself."""
        return Drawing(figsize=(1, 1))

    made = figure_of_report("own", own, {"runs": []})
    assert isinstance(made, Picture)
    assert made.title == "What I drew myself"
    assert made.embedded().startswith("data:image/png;base64,")


def test_a_strangers_figure_that_fails_is_told() -> None:
    def broken(runs: Any) -> Figure:
        return Figure(runs[7], [])

    made = figure_of_report("broken", broken, {"runs": []})
    assert isinstance(made, Absent)
    assert made.why == "failed, IndexError: list index out of range"


# --- colours ----------------------------------------------------------------------------------


def config(weight: str, arch: str = "Adam", algorithm: str = "darts") -> dict[str, Any]:
    return {
        "algorithm": {"name": algorithm},
        "weight_optimizer": {"name": weight},
        "arch_optimizer": {"name": arch},
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunFolder]:
    """A run of each traditional pair, one of SDARTS-RS, one cut off."""
    folder = tmp_path_factory.mktemp("figures")
    short = TINY | {"search.epochs": 1}
    for place, pair in enumerate(TRADITIONAL):
        api.run(short | pair, out=folder / str(place))
    api.run(short | {"algorithm.name": "sdarts-rs"}, out=folder / "rs")
    return [RunFolder(folder / name) for name in ("0", "1", "2", "3", "rs")]


def test_a_pair_has_one_colour_everywhere(runs: list[RunFolder], tmp_path: Path) -> None:
    everywhere = {pair_of(pair): {PAIR_LOOKS[pair_of(pair)][0]} for pair in TRADITIONAL}
    plotted = epochs(runs, reference=["none"])
    for curve in plotted.rows[0].panels[0].curves:
        everywhere[curve.label.partition(": ")[2]].add(curve.colour)
    for ax in static.draw(drawn("epochs", plotted)).axes:
        for line in ax.get_lines():
            pair = line.get_label().partition(": ")[2]  # type: ignore[union-attr]
            if pair:
                everywhere[pair].add(to_hex(line.get_color()).upper())
    table = planted_study(arms("darts", "sdarts-rs"), lambda s, g: {"valid_accuracy": 1.0}, seeds=2)
    found = Runs(table)
    material = Material(
        found, Selection(found, found.settings["id"].notna().to_numpy(), {}), Benchmark("", "")
    )
    for figure in (named.f7(material), named.f9(material)):
        for row in figure.rows:
            for panel in row.panels:
                for curve in panel.curves:
                    everywhere[curve.label].add(curve.colour)
    assert all(len(colours) == 1 for colours in everywhere.values()), everywhere
    assert len(set.union(*everywhere.values())) == 4


def test_a_colour_does_not_depend_on_the_company() -> None:
    few = run_looks([config("AdamW"), config("SGD")])
    many = run_looks([config(w) for w in ("RMSprop", "Adam", "AdamW", "NAdam", "SGD")])
    assert few["darts: AdamW + Adam"] == many["darts: AdamW + Adam"]
    assert many["darts: AdamW + Adam"][:2] == pair_look("AdamW + Adam")
    both = run_looks([config("SGD"), config("SGD", algorithm="sdarts-rs")])
    colours = {look.colour for look in both.values()}
    assert colours == {PAIR_LOOKS["SGD + Adam"][0]}
    assert len({look.dash for look in both.values()}) == 2


# --- nothing is cut off -----------------------------------------------------------------------


def test_a_legend_of_many_names_stays_inside() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    names = ["SGD + SGD", "SGD + Adam", "Adam + SGD", "Adam + Adam", "momentum-sgd-long + AdamW"]
    curves = [
        Curve(f"{name}", [0, 1], [Seed(s, "r", [0.0, 1.0]) for s in range(n)], *pair_look(name))
        for n, name in enumerate(names, start=1)
    ]
    panels = [Panel("a", "%", curves), Panel("b", "%", curves), Panel("c", "%", curves)]
    figure = static.draw(drawn("F7", Figure("t", [Row("r", panels, "optimizers")])))
    FigureCanvasAgg(figure).draw()
    [legend] = figure.legends
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert box.y0 >= 0
    below = min(ax.get_tightbbox().y0 for ax in figure.axes)
    assert box.y1 <= below


def test_a_long_name_of_a_legend_takes_several_lines() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    settings = ", ".join(f"weight_optimizer.setting{each}=0.1234" for each in range(12))
    curves = [
        Curve(f"darts, {settings}, search.batch_size={n}: SGD + Adam", [0, 1], [seed], "#000000")
        for n, seed in enumerate([Seed(0, "r", [0.0, 1.0]), Seed(1, "s", [0.0, 1.0])])
    ]
    figure = static.draw(
        drawn("x", Figure("t", [Row("r", [Panel("a", "%", curves)], "optimizers")]))
    )
    FigureCanvasAgg(figure).draw()
    [legend] = figure.legends
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert 0 <= box.y0 < box.y1 <= figure.axes[0].get_tightbbox().y0


def test_numbers_and_notes_stand_inside_as_they_are() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    low = [2.30251, 0.2390, -93.1001]
    curves = [[Curve("a", [0, 1], [Seed(0, "r", [x, x + 1e-4])], "#000000")] for x in low]
    note = (
        "standard deviation: 1.26 at 93.4 % and more, 1.41 at 9.28 % and more; MMMMMM WWWWWWWWWWWW"
    )
    panels = [Panel("derived cell, digits test", "nats", each, remarks=[note]) for each in curves]
    made = [static.draw(drawn("x", Figure("t", [Row("r", panels)])))]

    def own(runs: Any) -> Drawing:
        drawing = Drawing()
        drawing.subplots().plot([1e6 + 1, 1e6 + 2], [0.23901, 0.23902])
        return drawing

    picture = figure_of_report("own", own, {"runs": []})
    assert isinstance(picture, Picture)
    for figure in [*made, picture.drawing]:
        FigureCanvasAgg(figure).draw()
        for axis in [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]:
            assert "+" not in axis.get_offset_text().get_text()
    boxes = [ax.get_tightbbox() for ax in made[0].axes]
    boxes += [text.get_window_extent() for text in made[0].texts]
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= made[0].bbox.x1
    first, second, third = (ax.get_tightbbox() for ax in made[0].axes)
    assert first.x1 <= second.x0 + 1
    assert second.x1 <= third.x0 + 1


@pytest.mark.parametrize("dpi", [130, 200])
def test_a_caption_is_inside_its_picture(dpi: int) -> None:
    """At 130 dots per inch letters are 3 % wider than their outlines."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    caption = (
        "Cell with h = 4 nodes, m = 16 channels, n = 12 images of cifar10, softplus, skip = "
        "convolution = 0.333 on every edge unless the axis says otherwise; 40 steps, 6 seeds."
    )
    panels = [Panel("p", "%", [Curve("a", [0], [Seed(0, "r", [1])], "#000000")])]
    figure = static.draw(drawn("x", Figure("t", [Row("", panels)], caption)), captioned=True)
    figure.set_dpi(dpi)
    FigureCanvasAgg(figure).draw()
    assert max(text.get_window_extent().x1 for text in figure.texts) <= figure.bbox.x1


def test_an_empty_panel_says_that_nothing_was_measured() -> None:
    empty = Curve("a", [0, 1], [Seed(0, "r", [None, None])], "#000000")
    panels = [Panel("p", "%", [Curve("a", [0], [Seed(0, "r", [1])], "#000000")])]
    panels += [Panel("top eigenvalue", "nats", [empty])]
    figure = static.draw(drawn("x", Figure("t", [Row("", panels)])))
    assert [text.get_text() for text in figure.axes[1].texts] == ["not measured"]


def test_runs_that_end_early_are_told() -> None:
    curve = Curve("a", [0, 1, 2], [Seed(0, "r", [1, 1, 1]), Seed(1, "s", [2, 2, None])], "#000000")
    other = Curve("b", [0, 1], [Seed(0, "t", [1, 1])], "#000000")
    [row] = drawn("x", Figure("t", [Row("", [Panel("p", "", [curve, other])])])).rows
    assert row.panels[0].notes == [
        "a: from epoch 2 on fewer runs, 1 of 2 runs at the end",
        "b ends at epoch 1",
    ]
    words = {
        text.get_text()
        for text in static.draw(
            drawn("x", Figure("t", [Row("", [Panel("p", "", [curve, other])])]))
        ).texts
    }
    assert any("b ends at epoch 1" in each for each in words)


def test_a_plot_says_which_runs_did_not_finish(runs: list[RunFolder], tmp_path: Path) -> None:
    from cases import copied

    cut = RunFolder(copied(runs[0].path, tmp_path / "cut"))
    (cut.path / "result.json").unlink()
    figure = epochs([runs[1], cut], reference=["none"])
    assert figure.rows[0].panels[0].remarks == ["cut: not finished"]


def test_f7_is_drawn_of_runs_alone(runs: list[RunFolder], tmp_path: Path) -> None:
    plot_figure("F7", runs, tmp_path / "F7.svg", reference=["none"])
    text = (tmp_path / "F7.svg").read_text()
    for pair in PAIR_LOOKS:
        assert f"<!-- {pair}" in text
    with pytest.raises(UserError, match="F8 has nothing to draw: no finished run of DARTS-"):
        plot_figure("F8", runs, tmp_path / "F8.svg")
    with pytest.raises(UserError, match="F7 is drawn from runs"):
        plot_figure("F7", [], tmp_path / "F8.svg")


@pytest.mark.thorough
def test_different_experiments_are_no_seeds_of_one(tmp_path: Path) -> None:
    """Runs of one pair with other settings have a curve each: 0.1.0 took their mean."""
    runs = []
    for place, (rate, seed) in enumerate([(0.1, 0), (0.1, 1), (0.001, 0)]):
        out = tmp_path / str(place)
        api.run(TINY | {"weight_optimizer.lr": rate, "search.seed": seed}, out=out)
        runs.append(RunFolder(out))
    (row,) = epochs(runs, reference=["none"]).rows
    curves = {curve.label: len(curve.seeds) for curve in row.panels[0].curves}
    assert curves == {
        "darts, weight_optimizer.lr=0.1: SGD + Adam": 2,
        "darts, weight_optimizer.lr=0.001: SGD + Adam": 1,
    }
    (row,) = epochs(runs[:2], reference=["none"]).rows
    assert [curve.label for curve in row.panels[0].curves] == ["darts: SGD + Adam"]
    # It said that there is no finished run of DARTS, and that is not why.
    with pytest.raises(
        UserError, match=r"no finished run of DARTS with every .* weight_optimizer\.lr"
    ):
        plot_figure("F7", runs[::2], tmp_path / "F7.svg")
    held = {"weight_optimizer.lr": 0.1}
    plot_figure("F7", runs[::2], tmp_path / "F7.svg", reference=["none"], hold=held)
    with pytest.raises(UserError, match="epochs draws runs whatever their settings; leave it out"):
        plot_figure("epochs", runs, tmp_path / "a.svg", hold=held)


@pytest.mark.thorough
def test_a_folder_of_runs_stands_for_its_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a report left beside the runs is passed over, as a shell's DIR/* hands it over."""
    for seed in (0, 1):
        api.run(TINY | {"search.seed": seed}, out=tmp_path / "runs" / f"seed={seed}")
    (tmp_path / "runs" / "figures").mkdir()
    (tmp_path / "runs" / "report.html").touch()
    everything = sorted(map(str, (tmp_path / "runs").iterdir()))
    for words in (everything, [str(tmp_path / "runs")]):
        assert command("plot", *words, "-o", str(tmp_path / "a.svg")) == 0
        assert command("measure", *words, "gap", "batches=1") == 0
    told = capsys.readouterr().out
    assert told.count("nothing new; --again measures once more") == 2
    assert told.count("(there already)") > 2
    units = r"supernet_accuracy \S+ %, .* gap \S+ points, relative_gap [^ ,]+, .* connected yes"
    assert re.search(units, told)
    assert command("plot", str(tmp_path / "none"), "-o", str(tmp_path / "a.svg")) == 2
    assert command("plot", "F7", str(tmp_path / "runs"), "-o", str(tmp_path / "a.svg")) == 2
    assert "'F7': is a figure, and folders of runs stand here" in capsys.readouterr().err


@pytest.mark.thorough
def test_versions_of_a_measure_are_not_drawn_as_one(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    api.run(TINY | {"measures.gap.every": 1}, out=run.path)
    for line in run.read_measures("gap")[1:]:
        run.measures.put("gap", {**line, "source": "0" * 64}, {})
    with pytest.raises(UserError, match="different versions of its file"):
        measured("gap", [run])


@pytest.mark.thorough
def test_a_study_whose_axis_is_no_pair_says_so_and_shows_a_strangers_figure(tmp_path: Path) -> None:
    """Two values of one setting: no value of most runs, and no false reason for what is missing."""
    measure = template("my_measure.py", tmp_path)
    grid = '[[grid]]\n"weight_optimizer.lr" = [0.01, 0.1]\n'
    address = {"measures.flatness.name": f"{measure}:flatness", "measures.flatness.every": 1}
    name = tiny_study(tmp_path, grid=grid, **address)
    for number, planned in enumerate(load_study(name).runs.values()):
        run_folder = RunFolder(tmp_path / "out" / str(number))
        with run_folder.created(planned.settings.document()):
            run(planned.settings, run_folder)
    page = report(name, tmp_path / "out").read_text()
    text = " ".join(page.split())
    assert "Several values are equally common of weight_optimizer.lr" in text
    assert "no run is finished yet" not in text
    table = (tmp_path / "out" / "figures" / "T1.csv").read_text()
    assert '"SGD + Adam, weight_optimizer.lr 0.01",1,' in table  # a row for each value
    assert '"SGD + Adam, weight_optimizer.lr 0.1",1,' in table
    assert "F7 (several values are equally common of weight_optimizer.lr)" in text
    figure = data_of(page, "flatness")
    assert "weight_optimizer.lr=0.01" in json.dumps(figure)
    assert (tmp_path / "out" / "figures" / "flatness.png").exists()

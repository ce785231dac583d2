"""The figure of the measure `indicator`: one-shot against benchmark accuracy, and baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optnas.base.errors import UserError
from optnas.base.escapes import for_shell
from optnas.base.measurements import Line
from optnas.base.records import RunFolder
from optnas.base.registry import register
from optnas.measures.drawing import COLOURS, NAMES, require_runs, run_label
from optnas.measures.figures import Curve, Figure, Panel, Row, Seed
from optnas.measures.lines import lines_of, only

BARS = {
    "convolutions_3x3": "3x3 convolutions",
    "fewer_skips": "minus skips",
    "parameters": "parameters",
    "flops": "FLOPs",
}
OPTIONS = ("images", "statistics")  # of the figure, to choose among several
SPREAD = 0.15  # to both sides of a name


@register("figure", "indicator")
def indicator(
    runs: Sequence[RunFolder], epoch: int = -1, images: int = 0, statistics: str = ""
) -> Figure:
    """Scatters of uniform cells and of the top tenth, and tau with its intervals.

    Args:
        runs: runs measured by `indicator`.
        epoch: of the measurement; -1 for the last one of each run.
        images: lines of this setting of the measure; 0 where there is but one.
        statistics: likewise; empty where there is but one.

    Returns:
        A row for each run.

    Raises:
        UserError: there is no run, or one has no such measurement, or two.
    """
    require_runs("indicator", runs)
    chosen: dict[str, Any] = {"images": images} if images else {}
    chosen |= {"statistics": statistics} if statistics else {}
    return Figure(
        "One-shot accuracy as an indicator of benchmark accuracy",
        [_row(run, _line(run, epoch, chosen)) for run in runs],
        "A point per cell. Tau: Kendall's tau-b with benchmark accuracy, of the supernet and of "
        "rankings without training, with 95 % intervals, without cells that are not connected.",
    )


def _row(run: RunFolder, line: Line) -> Row:
    config, values, arrays = run.read_config(), line["values"], run.measures.arrays(line)
    asked, data, seed = values["asked"], config["data"]["name"], config["search"]["seed"]
    truth = f"{NAMES.get(asked['dataset'], asked['dataset'])} {asked['split']}"
    connected = values["uniform"] - values["disconnected"]
    panels = [
        Panel(
            f"{words}, n = {count}: {_tau(values, key)}",
            f"{truth} (%), table {asked['table']}",
            _scatter(arrays, part, seed, run.path.name),
            x="one-shot accuracy (%)",
        )
        for part, words, key, count in (
            ("uniform", "uniform cells", "tau", connected),
            ("top", "best tenth", "tau_top", values["top"]),
        )
    ]
    bars = [
        _taus(values, key, label, colour, offset, seed, run.path.name)
        for offset, key, colour, label in (
            (-SPREAD, "tau", COLOURS[0], "uniform cells"),
            (SPREAD, "tau_top", COLOURS[4], "best tenth"),
        )
    ]
    title = (
        f"{run_label(config)}, seed {seed}, epoch {line['epoch']}; search on "
        f"{NAMES.get(data, data)}, {values['images']} validation images"
    )
    against = "tau against ranking without training"
    ticks = ["one-shot", *BARS.values()]
    return Row(title, [*panels, Panel(against, "Kendall's tau-b", bars, x="", ticks=ticks)])


def _line(run: RunFolder, epoch: int, chosen: Mapping[str, Any]) -> Line:
    _, lines = lines_of(run, "indicator", **chosen)
    found = [line for line in lines if line["status"] != "failed" and epoch in (-1, line["epoch"])]
    if not found:
        words = "".join(f" {key}={value}" for key, value in chosen.items())
        raise UserError(
            "the run has no measurement of indicator"
            + (f" with{words}" if words else "")
            + ("" if epoch == -1 else " at this epoch"),
            where=run.path,
            key="epoch",
            value=epoch,
            remedy=f"optnas measure {for_shell(run.path)} indicator{words}",
        )
    last = [line for line in found if line["epoch"] == found[-1]["epoch"]]
    return only(last, "indicator", run, OPTIONS)


def _tau(values: Mapping[str, Any], key: str) -> str:
    if values[key] is None:
        return "tau not defined"
    low, high = values[f"{key}_low"], values[f"{key}_high"]
    return f"tau = {values[key]:.2f} [{low:.2f}, {high:.2f}]"


def _scatter(arrays: Mapping[str, Any], part: str, seed: int, run: str) -> list[Curve]:
    curves = []
    for connected, marker, colour, label in (
        (True, "o", COLOURS[0], "connected cells"),
        (False, "X", COLOURS[1], "not connected, not in tau"),
    ):
        keep = arrays[part] & (arrays["connected"] == connected)
        if keep.any():
            values = Seed(seed, run, arrays["benchmark"][keep].tolist())
            x = arrays["accuracy"][keep].tolist()
            curves.append(Curve(label, x, [values], colour, "none", marker))
    return curves


def _taus(
    values: Mapping[str, Any],
    key: str,
    label: str,
    colour: str,
    offset: float,
    seed: int,
    run: str,
) -> Curve:
    """Tau of the supernet and of each baseline."""
    own = [values[key], values[f"{key}_low"], values[f"{key}_high"]]
    rows = [own, *(values["baselines"][name][key] for name in BARS)]
    found = Seed(seed, run, *([row[end] for row in rows] for end in range(3)))
    return Curve(
        label, [place + offset for place in range(len(rows))], [found], colour, "none", "s"
    )

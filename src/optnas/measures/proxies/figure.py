"""The figure of the measure `proxies`: tau of everything that ranks the cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.base.registry import register
from optnas.measures.drawing import COLOURS, NAMES, run_label
from optnas.measures.figures import Curve, Figure, Panel, Row, Seed
from optnas.measures.lines import measured

WORDS = {
    "one_shot": "one-shot",
    "grad_norm": "grad norm",
    "snip": "SNIP",
    "synflow": "SynFlow",
    "naswot": "NASWOT",
    "convolutions_3x3": "3x3 convolutions",
    "fewer_skips": "minus skips",
    "parameters": "parameters",
    "flops": "FLOPs",
}
SPREAD = 0.15  # to both sides of a name
TITLES = {
    "tau": "tau with benchmark accuracy",
    "lead": "tau of one-shot accuracy, less that of",
}


@register("figure", "proxies", needs=("proxies",))
def proxies(runs: Sequence[RunFolder], epoch: int = -1) -> Figure:
    """Tau of one-shot accuracies, proxies and counts, and by how much the supernet leads.

    Args:
        runs: runs measured by `proxies` with the same settings.
        epoch: of the measurement; -1 for the last one of each run.

    Returns:
        A row for each run.

    Raises:
        UserError: there is no run, or one has no such measurement.
    """
    rows = []
    for run, lines in zip(runs, measured("proxies", runs), strict=True):
        found = [line for line in lines if epoch in (-1, line["epoch"])]
        if not found:
            raise UserError(
                "the run has no measurement of proxies at this epoch",
                where=run.path,
                key="epoch",
                value=epoch,
                remedy=f"choose among {', '.join(str(line['epoch']) for line in lines)}",
            )
        rows.append(_row(run, found[-1]))
    return Figure(
        "What the supernet must beat",
        rows,
        "Kendall's tau-b with 95 % intervals over cells, without cells that are not connected. "
        "Above 0 on the right, the supernet ranks the same cells better.",
    )


def _row(run: RunFolder, line: Mapping[str, Any]) -> Row:
    config, values = run.read_config(), line["values"]
    seed, asked = config["search"]["seed"], values["asked"]
    counts = {"": values["uniform"] - values["disconnected"], "_top": values["top"]}
    panels = []
    for name, title in TITLES.items():
        ranked = [each for each in WORDS if each in values[name]]
        curves = []
        for suffix, words, colour, offset in (
            ("", "uniform cells", COLOURS[0], -SPREAD),
            ("_top", "best tenth", COLOURS[4], SPREAD),
        ):
            ends = (values[f"{name}{suffix}{end}"] for end in ("", "_low", "_high"))
            found = Seed(seed, run.path.name, *([end[each] for each in ranked] for end in ends))
            x = [place + offset for place in range(len(ranked))]
            label = f"{words}, n = {counts[suffix]}"
            curves.append(Curve(label, x, [found], colour, "none", "s"))
        ticks = [WORDS[each] for each in ranked]
        panels.append(Panel(title, "Kendall's tau-b", curves, x="", ticks=ticks))
    truth = f"{NAMES.get(asked['dataset'], asked['dataset'])} {asked['split']}"
    return Row(
        f"{run_label(config)}, seed {seed}, epoch {line['epoch']}; {truth}, table {asked['table']}",
        panels,
    )

"""What is done of optdarts-cpu and of its figures: writes the README.md of their records.

optnas study export optdarts-cpu --out RUNS --to results/optdarts-cpu --arrays landscape
optnas study export optdarts-cpu-figures --out RUNS --to results/optdarts-cpu-figures
                                                 --arrays landscape too
python results/optdarts_cpu.py
"""

from __future__ import annotations

import collections
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optnas.base.files import write_text
from optnas.base.records import FINISHED, RunFolder, find_runs
from optnas.measures.drawing import run_label

HERE = Path(__file__).parent
# Runs per seed: a block of each; of the figures those that the blocks do not have.
BLOCKS = dict.fromkeys(range(8, 32), 12)
OF_FIGURES = {8: 34, 9: 34, 10: 30, 11: 30, 12: 22, 13: 22}
# What the protocol gives both optimizers, told where a run has it otherwise.
MOMENTS = {"momentum": 0.9, "betas": [0.5, 0.999], "weight_decay": 0.0003}
RATES = {
    "weight_optimizer": {"SGD": 0.025, "Adam": 0.001},
    "arch_optimizer": {"SGD": 0.01, "Adam": 0.001},
}

PAGE = """# Records of the study optdarts-cpu

The runs that decide the three conclusions of Shin's comparison at its own settings, in a reduced
size: protocol `optdarts-cpu` on CIFAR-10 images (JPEG-recompressed), official NAS-Bench-201 table,
seeds 8 to 31, one block of {block} runs per seed. The claims and what decides them were declared
before the first run ([families.toml](../../src/optnas/analysis/claims/families.toml),
[statistics](../../docs/statistics/families.md)). The study ends before its last block where all
three are decided.

**Done: {done} of {all} runs, {blocks} whole blocks of {seeds}; {spent:.1f} hours spent, about
{left:.0f} left on one core at most.** What whole blocks say: [results](../../docs/results.md). A
block that is not whole says nothing about the claims, and no accuracy of it is quoted anywhere.
{failed}
| seed | done | arms |
|---|---|---|
{rows}

    optnas study claims --out results/optdarts-cpu    the ledger, as far as it is

That needs the official table, and counts what there is of a block that is not whole.

To go on, copy this folder to a place for runs and give `optnas study run optdarts-cpu --out THERE`:
what is recorded is not run again. Then
`optnas study export optdarts-cpu --out THERE --to results/optdarts-cpu --arrays landscape`, and
`python results/optdarts_cpu.py` writes this page, `python results/results.py` what whole blocks
say. The searches share a machine with other work: hours are of the clock, and no speed measurement.
"""

FIGURES = """# Records of the study optdarts-cpu-figures

What the figures of Shin's talk show beside the runs of
[`optdarts-cpu`](../optdarts-cpu/README.md): every algorithm under four pairs and four momenta,
SDARTS-ADV on two seeds, second order on four; same protocol, images and table. Runs that both
studies have are recorded there alone.

**Done: {done} of {all} runs, {blocks} whole seeds of {seeds}; {spent:.1f} hours spent, about
{left:.0f} left on one core by the mean of these.** Hours are of the clock, on a machine that was
shared. A seed whose runs are not all there is drawn nowhere; what whole ones show:
[figures](../../docs/results-figures.md).
{failed}
| seed | done | arms |
|---|---|---|
{rows}

To go on, copy both folders to one place for runs and give
`optnas study run optdarts-cpu-figures --out THERE`.
"""


def changed(config: Mapping[str, Any]) -> str:
    """What a run has otherwise than the protocol, after the name of its arm."""
    told = ""
    for section, rates in RATES.items():
        given = config[section]
        usual = {"lr": rates[given["name"]], **MOMENTS}
        others = [
            f"{key} {given[key]}" for key in usual if given.get(key, usual[key]) != usual[key]
        ]
        told += "".join(f", {'alpha: ' * (section == 'arch_optimizer')}{each}" for each in others)
    return told


def page(runs: list[RunFolder], text: str, whole: Mapping[int, int]) -> str:
    """The text of a page.

    Args:
        runs: that are recorded.
        text: with places for what they say.
        whole: how many runs each seed has.
    """
    arms: dict[int, list[str]] = collections.defaultdict(list)
    ended: collections.Counter[int] = collections.Counter()
    spent, failed = 0.0, []
    for run in runs:
        config, result = run.read_config(), run.read_result()
        assert result is not None
        seed = config["search"]["seed"]
        spent += result["seconds"] / 3600
        ended[seed] += result["status"] in FINISHED
        if result["status"] != "done":
            failed.append(f"{run.path.name} ({result['status']})")
            continue
        arms[seed].append(run_label(config) + changed(config))
    total, count = sum(whole.values()), sum(map(len, arms.values()))
    return text.format(
        block=max(whole.values()),
        done=count,
        all=total,
        blocks=sum(ended[seed] == full for seed, full in whole.items()),
        seeds=len(whole),
        spent=spent,
        left=spent / max(count, 1) * (total - count),
        failed=f"\nNot done as they should be: {', '.join(failed)}.\n" if failed else "",
        rows="\n".join(
            f"| {seed} | {len(done)} of {whole[seed]} | {'; '.join(sorted(done))} |"
            for seed, done in sorted(arms.items())
        ),
    )


def pages() -> dict[Path, str]:
    """The text of each page, by its place; runs that both studies have count in the first."""
    blocks, figures = HERE / "optdarts-cpu", HERE / "optdarts-cpu-figures"
    own = [run for run in find_runs(figures) if not (blocks / run.path.name).exists()]
    return {
        blocks / "README.md": page(find_runs(blocks), PAGE, BLOCKS),
        figures / "README.md": page(own, FIGURES, OF_FIGURES),
    }


def main() -> None:
    """Write the pages."""
    for path, text in pages().items():
        write_text(path, text)


if __name__ == "__main__":
    main()

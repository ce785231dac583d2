"""What of the study optdarts-cpu is done: writes results/optdarts-cpu/README.md.

optnas study export optdarts-cpu --out RUNS --to results/optdarts-cpu --arrays landscape
python results/optdarts_cpu.py
"""

from __future__ import annotations

import collections
from pathlib import Path

from optnas.base.files import write_text
from optnas.base.records import FINISHED, RunFolder, find_runs
from optnas.measures.drawing import run_label

RECORDS = Path(__file__).parent / "optdarts-cpu"
SEEDS, BLOCK = range(8, 32), 12

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


def page(runs: list[RunFolder]) -> str:
    """The text of the page."""
    arms: dict[int, list[str]] = collections.defaultdict(list)
    ended: collections.Counter[int] = collections.Counter()
    spent, failed = 0.0, []
    for run in runs:
        config, result = run.read_config(), run.read_result()
        assert result is not None
        spent += result["seconds"] / 3600
        ended[config["search"]["seed"]] += result["status"] in FINISHED
        if result["status"] != "done":
            failed.append(f"{run.path.name} ({result['status']})")
            continue
        momentum = config["weight_optimizer"].get("momentum", 0.9)
        told = "" if momentum == 0.9 else f", momentum {momentum}"
        arms[config["search"]["seed"]].append(run_label(config) + told)
    total, count = len(SEEDS) * BLOCK, sum(map(len, arms.values()))
    return PAGE.format(
        block=BLOCK,
        done=count,
        all=total,
        blocks=sum(count == BLOCK for count in ended.values()),
        seeds=len(SEEDS),
        spent=spent,
        left=spent / max(count, 1) * (total - count),
        failed=f"\nNot done as they should be: {', '.join(failed)}.\n" if failed else "",
        rows="\n".join(
            f"| {seed} | {len(done)} of {BLOCK} | {'; '.join(sorted(done))} |"
            for seed, done in sorted(arms.items())
        ),
    )


def main() -> None:
    """Write the page."""
    write_text(RECORDS / "README.md", page(find_runs(RECORDS)))


if __name__ == "__main__":
    main()

"""The table of docs/measures/proxies.md: what ranks cells, in four searches of optdarts-cpu.

python results/proxies.py    rewrite the built part of the page
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from documents import as_table, built

from optnas.base.files import write_text
from optnas.base.records import RunFolder, find_runs
from optnas.measures.proxies.figure import WORDS
from optnas.measures.proxies.measure import ONE_SHOT

HERE = Path(__file__).parent
RUNS = find_runs(HERE / "proxies")
DOCUMENT = HERE.parent / "docs" / "measures" / "proxies.md"
SAMPLES = {"tau": "uniform cells", "tau_top": "best tenth"}


def found(runs: Sequence[RunFolder]) -> str:
    """Tau and its interval: a row for each way to rank the cells, a column for each seed.

    Untrained networks are those of the seed, whatever the algorithm: their rows are of any run.
    """
    of_seed: dict[int, dict[str, Mapping[str, Any]]] = {}
    for run in runs:
        config, (line,) = run.read_config(), run.read_measures("proxies")
        of_seed.setdefault(config["search"]["seed"], {})[config["algorithm"]["name"]] = line[
            "values"
        ]
    seeds, algorithms = (
        sorted(of_seed),
        sorted({name for each in of_seed.values() for name in each}),
    )
    rows = [(f"{WORDS[ONE_SHOT]}, `{name}`", name, ONE_SHOT) for name in algorithms]
    rows += [(WORDS[each], algorithms[0], each) for each in WORDS if each != ONE_SHOT]
    heads = ["ranked by", *(f"{told}, seed {seed}" for told in SAMPLES.values() for seed in seeds)]
    return as_table(
        heads,
        [
            (told, *(_tau(of_seed[seed][name], key, by) for key in SAMPLES for seed in seeds))
            for told, name, by in rows
        ],
    )


def _tau(values: Mapping[str, Any], key: str, by: str) -> str:
    value, low, high = (values[f"{key}{end}"][by] for end in ("", "_low", "_high"))
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


PARTS: dict[str, Callable[[Sequence[RunFolder]], str]] = {"found": found}


def main() -> None:
    """Rewrite the page."""
    write_text(DOCUMENT, built(DOCUMENT.read_text(), PARTS, RUNS))


if __name__ == "__main__":
    main()

"""What docs/algorithms.md says was measured, and the costs that `optnas list algorithms` tells.

python benchmarks/algorithms.py --json results/numerics/algorithms.json
python tests/slow/matrix.py --json results/numerics/kills.json
python results/algorithms.py            rewrite src/optnas/algorithms/costs.json and the page
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from documents import as_table, built

from optnas.base import registry
from optnas.base.files import write_text

ROOT = Path(__file__).parents[1]
STORED = ROOT / "results" / "numerics" / "algorithms.json"
KILLS = ROOT / "results" / "numerics" / "kills.json"
COSTS = ROOT / "src" / "optnas" / "algorithms" / "costs.json"
DOCUMENT = ROOT / "docs" / "algorithms.md"
# Algorithms that share a page.
PAGES = {"sdarts-rs": "sdarts", "sdarts-adv": "sdarts"}
Rows = list[dict[str, Any]]


def stored(path: Path = STORED) -> dict[str, Any]:
    """What a program wrote: the benchmark of costs, or the matrix of kills."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def costs(rows: Rows) -> str:
    """The file of the package: of each registered algorithm, to two digits after the point."""
    of_all = {row["algorithm"]: round(row["step_cost"], 2) for row in rows}
    own = {name: cost for name, cost in of_all.items() if name in registry.names("algorithm")}
    return json.dumps(own, indent=1) + "\n"


def table(rows: Rows) -> str:
    """What was measured, beside what each algorithm says of itself."""
    measured = {row["algorithm"]: row for row in rows}
    lines = []
    for label in sorted({*registry.names("algorithm"), *measured}):
        name, _, hypergradient = label.partition(", ")
        facts = registry.facts("algorithm", name)
        page = f"algorithms/{PAGES.get(name, name)}.md"
        link = f"[`{name}`]({page})"
        row = measured.get(label)
        lines.append(
            (
                f"{link}, {hypergradient}" if hypergradient else link,
                facts["paper"] or "-",
                facts["year"] or "-",
                f"{row['step_cost']:.2f}" if row else f"[not measured]({page}#cost)",
                f"{row['memory']:.2f}" if row else "-",
                ", ".join(facts["needs"]) or "-",
            )
        )
    return as_table(("algorithm", "paper", "year", "step", "memory", "needs"), lines)


def kills(matrix: dict[str, Any]) -> str:
    """How many combinations ended as if they had not been killed, and which did not."""
    rows: Rows = matrix["rows"]
    names = ("algorithm", "weight_optimizer", "arch_optimizer")
    others = [", ".join(row[name] for name in names) for row in rows if row["equal"] is not True]
    return (
        f"**{matrix['equal']} of {len(rows)}** combinations, "
        f"{len({row['algorithm'] for row in rows})} algorithms under four pairs each, are equal in "
        f"every bit{''.join(f'; not {other}' for other in others)} (commit {matrix['commit']}, "
        f"torch {matrix['torch']}, {matrix['processor']}, one thread)."
    )


def main() -> None:
    """Write both."""
    rows, matrix = stored()["rows"], stored(KILLS)
    parts: dict[str, Callable[[None], str]] = {
        "algorithms": lambda _: table(rows),
        "kills": lambda _: kills(matrix),
    }
    write_text(COSTS, costs(rows))
    write_text(DOCUMENT, built(DOCUMENT.read_text(), parts, None))


if __name__ == "__main__":
    main()

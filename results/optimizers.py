"""The matrix of docs/optimizers/matrix.md: which optimizer passes what on which level.

python results/optimizers.py --examine [NAME ...]   sit the exam again, all or these; minutes each
python results/optimizers.py                        rewrite the page from what is stored
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from documents import as_table, built

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.files import write_text
from optnas.optimizers import limits, signatures
from optnas.search.environment import processor
from optnas.search.exam import Subject, examine, subjects
from optnas.search.exam.base import FailedError, NotExaminedError
from optnas.search.exam.optimizers import SHAPES, TOYS, solves
from optnas.search.exam.searches import SEARCHES

HERE = Path(__file__).parent
STORED = HERE / "optimizers" / "exam.json"
DOCUMENT = HERE.parent / "docs" / "optimizers" / "matrix.md"
# Beside each name at its defaults: what the shipped protocols move w and alpha with.
MORE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("SGD", {"momentum": 0.9}),
    ("Adam", {"betas": [0.5, 0.999]}),
)
LEVELS = ("on w", "on alpha")
Row = dict[str, Any]


def names() -> list[str]:
    """Every name that can serve: torch's, then registered ones."""
    of_torch = [name for name in signatures.torch_optimizers() if name not in signatures.REFUSED]
    return [*sorted(of_torch), *registry.names("optimizer")]


def examined(name: str, settings: Mapping[str, Any]) -> Row:
    """What the exam said of an optimizer: of each check why it did not pass, or None."""
    (subject,) = subjects(name, "optimizer", settings)
    found = {
        each.check: None if each.verdict == "ok" else f"{each.verdict}: {each.why}"
        for each in examine(subject)
    }
    for level, section in zip(LEVELS, SHAPES, strict=True):
        for toy in (name for name, toy in TOYS.items() if not toy.demanded):
            found[f"{level}: solves {toy}"] = _why_not(subject, section, toy)
    return {"name": name, "settings": dict(settings), "checks": found}


def _why_not(subject: Subject, section: str, toy: str) -> str | None:
    try:
        solves(subject, section, toy)
    except FailedError as error:
        return f"failed: {error}"
    except (NotExaminedError, UserError) as error:
        return f"not examined: {error}"
    return None


def examine_all(wanted: list[str]) -> None:
    """Sit the exam, and store each as it is done."""
    torch.set_num_threads(1)
    commit = ["git", "-C", str(HERE), "rev-parse", "HEAD"]
    told = {
        "command": " ".join(["results/optimizers.py", *sys.argv[1:]]),
        "commit": subprocess.run(commit, capture_output=True, text=True, check=True).stdout.strip(),
        "torch": torch.__version__,
        "processor": processor(),
    }
    if unknown := set(wanted) - set(names()):
        sys.exit(f"no optimizer: {', '.join(sorted(unknown))}")
    for name, settings in [*((name, {}) for name in names()), *MORE]:
        if wanted and name not in wanted:
            continue
        row = {**examined(name, settings), **told}
        kept = [r for r in stored() if (r["name"], r["settings"]) != (name, settings)]
        order = sorted([*kept, row], key=lambda r: (r["name"].lower(), len(r["settings"])))
        STORED.parent.mkdir(exist_ok=True)
        write_text(STORED, json.dumps(order, indent=1) + "\n")
        print(name, settings, {k: v for k, v in row["checks"].items() if v}, flush=True)


def stored() -> list[Row]:
    """The rows."""
    rows: list[Row] = json.loads(STORED.read_text()) if STORED.exists() else []
    return rows


def matrix(rows: list[Row]) -> str:
    """One line per optimizer."""
    heads = ("optimizer", "searches", *TOYS, "unrolled, on w")
    return as_table(heads, [_line(row) for row in rows])


def _line(row: Row) -> list[str]:
    settings = ", ".join(f"{key}={value}" for key, value in row["settings"].items())
    label = f"`{row['name']}`" + (f", {settings}" if settings else "")
    problems = [list(SEARCHES), *([f"solves {toy}"] for toy in TOYS)]
    refused = any(each.startswith("w") for each in limits.refuses(row["name"]))
    return [
        label,
        *(_cell(row["checks"], titles) for titles in problems),
        "refused" if refused else "ok",
    ]


def _cell(checks: Mapping[str, str | None], titles: list[str]) -> str:
    """``ok``, or what each level failed."""
    by_level = {}
    for level in LEVELS:
        why = [told for title in titles if (told := checks[f"{level}: {title}"])]
        by_level[level] = _short(why[0]) if why else "ok"
    if len(set(by_level.values())) == 1:
        return by_level[LEVELS[0]]
    return "; ".join(f"{level} {found}" for level, found in by_level.items())


def _short(why: str) -> str:
    """The share left of the distance; a dash where there is nothing to examine."""
    verdict, _, told = why.partition(": ")
    if verdict == "not examined":
        return "-"
    share, percent, _ = told.partition(" %")
    if percent and share.isdigit():
        return f"**{share} %**" if int(share) < 1000 else "**lost**"
    return f"**{told.partition(' the trace')[0]}**"


PARTS: dict[str, Callable[[list[Row]], str]] = {"matrix": matrix}


def main() -> None:
    """Rewrite the page, or sit the exam."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examine", nargs="*", metavar="NAME")
    given = parser.parse_args()
    if given.examine is not None:
        examine_all(given.examine)
    write_text(DOCUMENT, built(DOCUMENT.read_text(), PARTS, stored()))


if __name__ == "__main__":
    main()

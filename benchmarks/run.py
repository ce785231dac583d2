"""What a whole run costs beside the same run of an earlier commit, and where its time goes.

    python benchmarks/run.py [--base COMMIT] [--epochs N] [--pairs N] [--json FILE] [KEY=VALUE ...]

A run is ``optnas search`` under protocol ``cpu`` on CIFAR-10 images (``OPTNAS_DATA`` names the
data) in a process of its own, one thread, start and imports included. The base's source is unpacked
from this repository's history; the two take turns. Times are CPU seconds of the process: on a
shared machine quote the ratio. The default base is optnas 0.1.0. The shares are those of this
commit. The last line printed is the ratio of base to here, the median over pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from measures import measure_costs, search_costs, settings_of
from step import machine

from optnas.search.session import Session
from optnas.search.settings.model import DEFAULT_MEASURES
from optnas.search.state import build_state

ROOT = Path(__file__).resolve().parents[1]
FIRST_RELEASE = "9887e81"
SEARCH = "import sys; from optnas.cli import main; sys.exit(main())"
GOAL = 1.18


def unpacked(commit: str, folder: Path) -> Path:
    """The package's source at a commit of this repository."""
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit, "src"], check=True, capture_output=True
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder / "src"


def cpu_seconds(source: Path, out: Path, words: list[str]) -> float:
    """CPU seconds of one search by the package below a source folder."""
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SEARCH, "search", *words, "--out", str(out)]
    log = out.with_suffix(".log")
    with log.open("wb") as told:
        process = subprocess.Popen(command, env=environment, stdout=told, stderr=told)
        _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text()}")
    return used.ru_utime + used.ru_stime


def shares(words: list[str]) -> dict[str, float]:
    """CPU seconds of the parts of a run of this commit, epochs and cadences counted."""
    start = time.process_time()
    settings = settings_of(words)
    session = Session(build_state(settings.model_copy(update={"measures": {}})))
    built = time.process_time() - start
    session.train_epoch()
    costs = search_costs(session)
    measured = measure_costs(session, DEFAULT_MEASURES)
    epochs = settings.search.epochs
    return {
        "settings and data": built,
        "steps": epochs * costs["train"],
        "validation": (epochs + 1) * costs["validation"],
        "alpha and benchmark": (epochs + 1) * costs["alpha_and_benchmark"],
        **{name: m["cpu_seconds"] * m["times"] for name, m in measured.items()},
    }


def main() -> None:
    """Run both in turns, then say where the time of a run goes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default=FIRST_RELEASE, help="commit to compare with")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    words = [f"search.epochs={given.epochs}", *given.changes]
    search = ["protocol=cpu", "data.name=cifar10", *words]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        sources = {"base": unpacked(given.base, place), "here": ROOT / "src"}
        for pair in range(given.pairs):
            row = {
                side: cpu_seconds(source, place / f"{side}-{pair}", search)
                for side, source in sources.items()
            }
            rows.append({**row, "ratio": row["base"] / row["here"]})
            print(
                f"pair {pair}: base {row['base']:.1f} s, here {row['here']:.1f} s, "
                f"ratio {rows[-1]['ratio']:.3f}",
                flush=True,
            )
    parts = shares(words)
    for name, seconds in parts.items():
        print(f"  {name:<20} {seconds:8.2f} s {100 * seconds / sum(parts.values()):5.1f} %")
    ratio = statistics.median(row["ratio"] for row in rows)
    found = {"base": given.base, "search": search, "pairs": rows, "parts": parts, "ratio": ratio}
    if given.json:
        given.json.write_text(json.dumps(found | machine(), indent=1) + "\n")
    print(f"ratio {ratio:.3f}, goal {GOAL}")


if __name__ == "__main__":
    main()

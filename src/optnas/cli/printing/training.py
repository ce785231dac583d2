"""Stand-alone training: what is trained, each epoch, what came of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optnas.base.escapes import for_shell
from optnas.cli.printing.text import plural, say
from optnas.spaces.tables.coverage import epochs_label

if TYPE_CHECKING:
    from optnas.base.records import RunFolder
    from optnas.search.standalone.cell import Epoch, OnEpoch, OnStart
    from optnas.search.standalone.found import Found, Plan
    from optnas.search.standalone.settings import TrainingSettings
    from optnas.study.alone import Trained

PARTS = {"train": "training", "valid": "validation", "test": "test"}
PAUSE = 5.0  # seconds between lines where nobody looks on


def print_start(found: Found, settings: TrainingSettings, sizes: Mapping[str, int]) -> None:
    """What is trained, on which images, how."""
    searched = "" if found.run is None else f"  (found by {found.run})"
    say(f"cell: {found.architecture}{searched}")
    print_disconnected(found)
    counts = [f"{sizes[part]:,} {name}" for part, name in PARTS.items() if sizes[part]]
    say(f"data: {settings.data.name}, {' + '.join(counts)} images of {sizes['classes']} classes")
    network, training, space = settings.network, settings.training, found.architecture.space
    # A "cell" that halves the sides is the whole network, which no number of cells repeats.
    whole = space.is_one_sum and space.strided
    # Of several kinds of cell only the first is repeated: one that reduces stands between stages.
    kind = "cell" if len(space.wirings) == 1 else f"{space.wirings[0].name} cell"
    depth = (
        plural(space.edge_count, "layer") if whole else f"{plural(network.cells, kind)} per stage"
    )
    say(
        f"training: {network.channels} channels, {depth}, "
        f"{plural(training.epochs, 'epoch')} of batches of {training.batch_size}, "
        f"{settings.optimizer.name}, seeds {', '.join(map(str, training.seeds))}",
        flush=True,
    )


def print_disconnected(found: Found) -> None:
    """That the cell is the same for every image, where it is."""
    from optnas.spaces import is_connected

    if not is_connected(found.architecture):
        say(
            f"no path leads through the cell {found.architecture}: its output is zero whatever the "
            "image, so expect the accuracy of guessing",
            flush=True,
        )


def printer() -> tuple[OnStart, OnEpoch]:
    """What to call at the start and after each epoch: a line each, or now and then into a pipe."""
    last = [-PAUSE]

    def on_epoch(epoch: Epoch) -> None:
        now = time.monotonic()
        if not sys.stdout.isatty() and now - last[0] < PAUSE and epoch.epoch < epoch.epochs:
            return
        last[0] = now
        say(
            f"seed {epoch.seed}  epoch {epoch.epoch:>{len(str(epoch.epochs))}} of {epoch.epochs}  "
            f"train loss {epoch.train_loss:.4f}  {epoch.seconds:.1f} s",
            flush=True,
        )

    return print_start, on_epoch


def print_trained(result: Mapping[str, Any], out: Path) -> None:
    """Accuracies with their interval, and what tables say of the cell on the same data set."""
    name = result["data"]["name"]
    say(f"data: {result['data']['note']}")
    for part, of_part in result["accuracy"].items():
        say(f"{_told(result, part)}: {_accuracy(of_part, result['seeds'])}")
    if result["judged_on"] == "valid":
        told = "; the search chose the cell by images of this data set"
        say(f"there are no test images{told if result.get('same_images') else ''}")
    if result["diverged"]:
        say(f"diverged, seeds: {', '.join(map(str, result['diverged']))}")
    for said in result["tables"]:
        epochs = epochs_label(said["epochs"])
        say(
            f"table {said['table']}: {said['accuracy']:.2f} % on {name}, split {said['split']}, "
            f"epochs {epochs}"
        )
    if not result["tables"]:
        say(f"no table knows the cell on these images ({name})")
    say(f"the trained network: optnas.network({str(out)!r})")


def _told(result: Mapping[str, Any], part: str) -> str:
    images = result["data"][part]
    return f"{PARTS[part]} accuracy on {images:,} images of {result['data']['name']}"


def _accuracy(of_part: Mapping[str, Any], seeds: list[int]) -> str:
    each = ", ".join(f"{value:.2f}" for value in of_part["per_seed"])
    if of_part["interval"] is None:
        why = "one seed" if len(seeds) == 1 else f"{len(seeds)} seeds, all equal"
        return f"{of_part['mean']:.2f} % ({why}, so no interval)"
    low, high = of_part["interval"]
    return (
        f"{of_part['mean']:.2f} %, 95 % interval of the mean {low:.2f} to {high:.2f} "
        f"({len(seeds)} seeds: {each})"
    )


def print_run(run: RunFolder, planned: Plan, result: Mapping[str, Any]) -> None:
    """What the cell of a run of a study is worth alone."""
    part = result["judged_on"]
    of_part = result["accuracy"][part]
    cell = planned.found.architecture
    say(f"{run.path.name}  {PARTS[part]} {of_part['mean']:6.2f} %  {cell}", flush=True)


def print_cells(trained: Trained, study: str, out: Path) -> None:
    """What was trained of a study, and where to go on."""
    say(f"trained: {plural(trained.cells, 'cell')} of {plural(trained.runs, 'run')}")
    if trained.busy:
        say(f"{plural(trained.busy, 'cell')} left to another process")
    for state, count in trained.unfinished.items():
        say(f"{plural(count, 'run')} {state}: no cell yet")
    if trained.runs:
        say(
            f"compare: optnas study compare {for_shell(study)} --out {for_shell(out)} "
            f"--response measure.alone.{trained.judged_on} --recorded"
        )

"""One cell trained alone: the one a search found, or any other.

    training.toml      every setting, the cell, the images in numbers, hash, data fingerprint
    environment.json   versions and machine of each start
    trainings.jsonl    one line per finished training, see `optnas.search.standalone.journal`
    checkpoints/       seed-N.pt: after each epoch, at last the trained network
    result.json        accuracies per seed, their means and intervals, the values of tables

A killed command loses the epoch under way; the same command goes on, bit for bit as if it had not
been killed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

import torch

from optnas.base.errors import UserError
from optnas.base.files import present, write_text, writing
from optnas.base.folder import TRAINING, Place, folder_path
from optnas.base.json import dump_json
from optnas.base.records import RunFolder
from optnas.base.toml import dump_toml, parse_toml, read_text
from optnas.data.images import unbalanced
from optnas.measures.intervals import mean_interval
from optnas.search.checkpoints import compare, read_content, write_content
from optnas.search.environment import describe_environment, exactly, tell_elsewhere
from optnas.search.objects import named
from optnas.search.settings.model import RunSection
from optnas.search.standalone.found import DEFAULT_PROTOCOL, Found, Plan, plan
from optnas.search.standalone.journal import add, begin, entry_of, held
from optnas.search.standalone.settings import NUMBERS_VERSION, TrainingSettings
from optnas.search.standalone.train import Parts, Training, load_parts
from optnas.search.state import pick_device
from optnas.spaces import Architecture, is_connected
from optnas.spaces.tables import data_folder, sources

FORMAT = 1
CONFIG, JOURNAL, RESULT = TRAINING, "trainings.jsonl", "result.json"
SPLITS = ("test", "valid")


@dataclass(frozen=True)
class Epoch:
    """One trained epoch.

    Attributes:
        seed: of the training.
        epoch: from 1.
        epochs: how many there will be.
        train_loss: mean cross-entropy of its augmented batches, in nats.
        seconds: how long it took.
    """

    seed: int
    epoch: int
    epochs: int
    train_loss: float
    seconds: float


OnStart = Callable[[Found, TrainingSettings, Mapping[str, int]], None]
OnEpoch = Callable[[Epoch], None]


def train(
    what: Place | SupportsIndex,
    settings: Mapping[str, Any] | None = None,
    *,
    out: str | Path,
    protocol: str = DEFAULT_PROTOCOL,
    space: str | None = None,
    device: str = "auto",
    threads: int = 1,
    on_start: OnStart = lambda found, settings, sizes: None,
    on_epoch: OnEpoch = lambda epoch: None,
    where: object = "settings",
) -> dict[str, Any]:
    """Train one cell from scratch, once per seed, or go on with it.

    Args:
        what: the folder of a finished run, an architecture string, or an index.
        settings: dotted keys over the protocol, such as ``{"training.epochs": 5}``, or nested
            tables; where a name is due also an object, as of `optnas.run`.
        out: the folder of the training.
        protocol: a shipped training protocol (``cpu``, the published recipe) or a TOML file. Images
            are those of the run unless protocol or settings name others.
        space: of a cell that no run found.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads: of the CPU.
        on_start: called once, with what is trained and the number of images by part.
        on_epoch: called after each epoch.
        where: what to call ``settings`` in errors.

    Returns:
        The content of result.json.

    Raises:
        UserError: there is no such cell, a setting is wrong, the folder is taken or holds another
            training.

    Example:
        >>> train("runs/a", {"training.epochs": 5}, out="runs/a-alone")  # doctest: +SKIP
        {'status': 'done', ...}
    """
    folder = folder_path(out, "out")
    with named(settings or {}, where) as plain:
        planned = plan(what, plain, protocol=protocol, space=space, where=where)
    return carry_out(
        planned, folder, device=device, threads=threads, on_start=on_start, on_epoch=on_epoch
    )


def carry_out(
    planned: Plan,
    folder: Path,
    *,
    device: str = "auto",
    threads: int = 1,
    on_start: OnStart = lambda found, settings, sizes: None,
    on_epoch: OnEpoch = lambda epoch: None,
) -> dict[str, Any]:
    """Train what is planned, from wherever its folder stands; see `train`.

    Raises:
        UserError: the folder is taken or holds another training.
    """
    found, complete = planned.found, planned.settings
    cell, seeds = found.architecture, complete.training.seeds
    _refuse_occupied(folder)
    picked = pick_device(device)
    parts = load_parts(complete, picked)
    document = document_of(planned, parts)
    identity = document["identity"]
    with _made(folder), held(folder / JOURNAL, folder), exactly(threads):
        facts = {"format": FORMAT, "cell": cell.string, **identity}
        entries = begin(folder / JOURNAL, facts, _begun_with(folder), document)
        finished = {entry["seed"]: entry for entry in entries}
        epochs = complete.training.epochs
        missing = [
            seed
            for seed in seeds
            if seed not in finished or _stands_at(folder, seed, identity["hash"]) < epochs
        ]
        training = None
        if missing:
            training = Training(complete, parts, cell, missing[0])
            # What it refuses, nothing is left of.
            run = RunSection(threads=threads, device=device)
            environment = describe_environment(run, picked)
            stands = _stands_at(folder, missing[0], identity["hash"])
            if stands:
                tell_elsewhere(
                    RunFolder(folder).read_starts(),
                    environment,
                    f"with seed {missing[0]} after epoch {stands}",
                )
            _note_start(folder, document, environment)
        on_start(found, complete, sizes_of(parts))
        for seed in missing:
            training = training or Training(complete, parts, cell, seed)
            seconds = _to_the_end(training, seed, folder, identity["hash"], on_epoch)
            entry = entry_of(cell, seed, training.outcome(), seconds)
            training = None
            # Of a seed whose checkpoint was gone there is a line, true of the same numbers.
            if {**finished.get(seed, {}), "seconds": seconds} != entry:
                finished[seed] = entry
                add(folder / JOURNAL, entry)
        data = complete.data
        result = {
            "status": "done",
            "architecture": cell.string,
            "connected": is_connected(cell),
            "data": {"name": data.name, "note": _note(parts), **sizes_of(parts)},
            **summary([finished[seed] for seed in seeds]),
            "tables": tables_say(cell, data.name, data_folder(data.place("folder"))),
            **identity,
            **({} if planned.same_images is None else {"same_images": planned.same_images}),
        }
        write_text(folder / RESULT, dump_json(result, indent=1) + "\n")
    return result


def _note(parts: Parts) -> str:
    """Of the data, and what guessing is worth on the part that counts."""
    name, judged = ("validation", parts.valid) if parts.test is None else ("test", parts.test)
    told = "" if judged is None else unbalanced(judged, parts.dataset.classes, name)
    return parts.dataset.note + told


def _begun_with(folder: Path) -> dict[str, Any] | None:
    """The content of training.toml as an earlier command wrote it; None if it is not to be read."""
    with contextlib.suppress(UserError):
        return parse_toml(read_text(folder / CONFIG), folder / CONFIG)
    return None


def _refuse_occupied(folder: Path) -> None:
    if folder.is_dir() and (not any(folder.iterdir()) or (folder / JOURNAL).exists()):
        return
    if present(folder):
        raise UserError(
            "the output folder holds something else already"
            if folder.is_dir()
            else "is a file, and the output is a folder",
            key="--out",
            value=str(folder),
            remedy="choose an empty or new folder",
        )


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """The folder is there inside the block; bad input leaves no new folder behind."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    with writing("the training", key="--out", path=folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except UserError:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def document_of(planned: Plan, parts: Parts) -> dict[str, Any]:
    """The content of training.toml."""
    found, settings = planned.found, planned.settings
    dataset, (mean, std) = parts.dataset, parts.dataset.moments()
    searched = {} if found.settings is None else {"searched": found.settings.hash}
    return {
        "format": FORMAT,
        "architecture": found.architecture.string,
        "space": dict(found.space),
        **settings.document(),
        "images": {
            "classes": dataset.classes,
            "channels": dataset.channels,
            "class_names": list(dataset.class_names),
            "mean": list(mean),
            "std": list(std),
        },
        "identity": {
            "hash": planned.hash,
            "fingerprint": settings.fingerprint,
            "numbers_version": NUMBERS_VERSION,
            **searched,
        },
    }


def _note_start(folder: Path, document: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
    """Write what is trained, and join this start to the earlier ones."""
    place = folder / "environment.json"
    starts = RunFolder(folder).read_starts()
    write_text(folder / CONFIG, dump_toml(dict(document)))
    write_text(place, dump_json([*starts, dict(environment)], indent=1) + "\n")
    (folder / "checkpoints").mkdir(exist_ok=True)


def checkpoint_of(folder: Path, seed: int) -> Path:
    """Where the network of a seed is kept."""
    return folder / "checkpoints" / f"seed-{seed}.pt"


def _to_the_end(
    training: Training, seed: int, folder: Path, identity: str, on_epoch: OnEpoch
) -> float:
    """Train what is missing, with a checkpoint after each epoch; the seconds of all epochs."""
    path, seconds = checkpoint_of(folder, seed), 0.0
    if present(path):
        content = read_checkpoint(path, identity)
        with _told(path):
            training.restore(content)
            seconds = float(content["seconds"])
    while training.epoch < training.settings.training.epochs:
        started = time.perf_counter()
        training.train_epoch()
        taken = time.perf_counter() - started
        seconds += taken
        write_content(path, {"hash": identity, "seconds": seconds, **training.content()})
        epochs = training.settings.training.epochs
        on_epoch(Epoch(seed, training.epoch, epochs, training.losses[-1], taken))
    return seconds


def _stands_at(folder: Path, seed: int, identity: str) -> int:
    """The epoch whose network is kept, 0 of none."""
    path = checkpoint_of(folder, seed)
    return int(read_checkpoint(path, identity)["epoch"]) if present(path) else 0


def read_checkpoint(path: Path, identity: str) -> dict[str, Any]:
    """A checkpoint of a training.

    Args:
        path: the file.
        identity: hash of the training.

    Raises:
        UserError: it is damaged, or of another training.
    """
    with _told(path):
        content = read_content(path)
        compare("hash", identity, content["hash"])  # there is one
    if content["hash"] != identity:
        raise UserError(
            "the checkpoint of another training",
            where=path,
            remedy="delete it to train this seed from the beginning",
        )
    return content


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a damaged file fails in whichever way its bytes decide
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise UserError(
            f"not a readable checkpoint ({reason})",
            where=path,
            remedy="delete it to train this seed from the beginning",
        ) from error


def sizes_of(parts: Parts) -> dict[str, int]:
    """The number of images of each part, and of classes."""
    images = {"train": parts.train, "valid": parts.valid, "test": parts.test}
    counts = {name: 0 if each is None else len(each) for name, each in images.items()}
    return {"classes": parts.dataset.classes, **counts}


def summary(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Accuracies in percent: per seed, their mean, and where that over endlessly many seeds is.

    Args:
        entries: lines of finished trainings.

    Returns:
        ``seeds``; ``judged_on``, the part that counts: test images where there are any;
        ``accuracy`` by part, with ``per_seed``, ``mean`` and ``interval``, 95 % by Student's t
        within 0 to 100, None of a single seed or of equal values, whose spread is not known; and
        ``diverged``, the seeds whose last train loss is not finite.
    """
    accuracy = {}
    for split in SPLITS:
        if entries[0][split] is not None:
            values = torch.tensor([each[split] for each in entries], dtype=torch.float64)
            accuracy[split] = {
                "per_seed": values.tolist(),
                "mean": float(values.mean()),
                "interval": _interval(values) if len(values.unique()) > 1 else None,
            }
    return {
        "seeds": [each["seed"] for each in entries],
        "judged_on": next(iter(accuracy)),
        "accuracy": accuracy,
        "diverged": [each["seed"] for each in entries if each["train_loss"] is None],
    }


def _interval(values: torch.Tensor) -> list[float]:
    low, high = mean_interval(values)
    return [max(low, 0.0), min(high, 100.0)]


def tables_say(cell: Architecture, dataset: str, folder: Path | None) -> list[dict[str, Any]]:
    """What the tables that are there say of a cell on one data set, and on no other.

    Args:
        cell: the cell.
        dataset: name of the data set.
        folder: the data folder.

    Returns:
        For each table its name, split, epochs, and the accuracy in percent.
    """
    told = []
    for source in sources(cell.space.name):
        asked = [q for q in source.coverage.headline if q.dataset == dataset]
        if not (asked and source.present(folder) and source.holds(cell.space)):
            continue
        table = source.load(folder)
        accuracy = table.accuracy(cell, asked[0])
        facts = {"split": asked[0].split, "epochs": asked[0].epochs, "accuracy": accuracy}
        told.append({"table": source.name, **facts})
    return told

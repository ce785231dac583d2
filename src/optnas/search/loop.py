"""The search: one loop, read downwards. It knows no algorithm, optimizer, space or data set."""

from __future__ import annotations

import contextlib
import math
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import torch

from optnas.algorithms.base import Progress
from optnas.base.errors import UserError
from optnas.base.records import Record, RunFolder, Status
from optnas.data.batches import epoch_batches
from optnas.measures.curvature.hessian import alpha_hessian, extreme_eigenvalues
from optnas.measures.evaluation import clean_batch
from optnas.optimizers.adapter import set_learning_rate
from optnas.optimizers.stepping import to_evaluation_point, to_training_point
from optnas.search.describe import describe_alpha
from optnas.search.environment import cpu_threads, describe_environment
from optnas.search.observe import keeps, observe
from optnas.search.settings.model import Settings
from optnas.search.state import SearchState, build_state, restore, save
from optnas.search.steps import (
    arch_step,
    batch_loss,
    recalibrated_statistics,
    remembering,
    select,
    train_batch,
    valid_batch,
    validate,
    weight_step,
)
from optnas.search.trackers.guard import Guarded, tracker_of
from optnas.spaces.tables.told import describe_benchmark

OnEpoch = Callable[[Record], None]


class DivergedError(Exception):
    """A loss stopped being a finite number."""


def run(settings: Settings, folder: RunFolder, on_epoch: OnEpoch = lambda record: None) -> Status:
    """Search from wherever the folder's checkpoint stands to the last epoch.

    The folder is created and locked by the caller and holds this run's config.toml. Every epoch is
    a record in epochs.jsonl, then the lines of the measures that are due, then a checkpoint; what
    came after the last checkpoint is cut off first, so an interrupted run goes on as if it had not
    been.

    Args:
        settings: the run's settings.
        folder: the run's folder.
        on_epoch: called with each new record.

    Returns:
        ``done`` or ``diverged``.

    Raises:
        UserError: the settings or files turn out unusable; nothing was recorded yet.
        KeyboardInterrupt: passed on after ``interrupted`` is recorded.
    """
    tracker = tracker_of(settings, folder)
    with cpu_threads(settings.run.threads), _followed(folder, tracker), _recorded(folder):
        state = build_state(settings)
        if folder.checkpoint.exists():
            restore(state, folder.checkpoint)
        folder.start(describe_environment(settings.run), state.records_bytes, state.epoch)
        tracker.start(settings)

        def tell(record: Record) -> None:
            tracker.record(record)
            on_epoch(record)

        try:
            _loop(state, folder, tell)
        except DivergedError as error:
            folder.finish("diverged", epoch=state.epoch + 1, reason=str(error))
            return "diverged"
        folder.finish("done", **_outcome(state, folder.read_epochs()[-1]))
        return "done"


def _loop(state: SearchState, folder: RunFolder, on_epoch: OnEpoch) -> None:
    epochs = state.settings.search.epochs
    for epoch in range(state.epoch + 1, epochs + 1):
        started = time.perf_counter()
        progress = Progress(epoch, epochs)
        trained = _train_epoch(state, progress) if epoch else _untrained()
        record = {"epoch": epoch, **trained, **_measure(state, progress)}
        record["seconds"] = time.perf_counter() - started
        state.epoch = epoch
        state.seconds += record["seconds"]
        state.records_bytes = folder.append(record)
        observe(state, folder)
        if keeps(state):
            save(state, folder.kept(epoch))
        save(state, folder.checkpoint)
        on_epoch(record)


def _untrained() -> Record:
    return dict.fromkeys(("train_loss", "train_accuracy", "weight_lr", "arch_lr"))


def _train_epoch(state: SearchState, progress: Progress) -> Record:
    settings = state.settings
    select(state, progress)
    learning_rates, rates = state.learning_rates(progress.epoch), {}
    for level, optimizer in (("weight", state.weight_optimizer), ("arch", state.arch_optimizer)):
        rates[f"{level}_lr"] = rate = learning_rates[f"{level}_optimizer"]
        set_learning_rate(optimizer, rate)
        to_training_point(optimizer)
    loss_sum = torch.zeros((), dtype=torch.float64)
    correct = torch.zeros((), dtype=torch.int64)
    size = len(state.train)
    for indices_B in epoch_batches(
        size, settings.search.batch_size, state.generators["train-order"]
    ):
        train = train_batch(state, indices_B)
        if settings.search.step_order == "arch-first":
            arch_step(state, train, valid_batch(state), progress)
            score = weight_step(state, train, progress)
        else:
            score = weight_step(state, train, progress)
            arch_step(state, train, valid_batch(state), progress)
        loss_sum += score.loss_sum.cpu()
        correct += score.correct.cpu()
    # Whatever is recorded, measured or saved from here on sees the points that are judged.
    moved = [to_evaluation_point(o) for o in (state.weight_optimizer, state.arch_optimizer)]
    if any(moved):
        state.statistics = recalibrated_statistics(state, progress)
    train_loss = _finite("train loss", float(loss_sum) / size)
    return {"train_loss": train_loss, "train_accuracy": 100.0 * int(correct) / size, **rates}


def _finite(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise DivergedError(f"{name} is {value}")
    return value


def _measure(state: SearchState, progress: Progress) -> Record:
    """Everything observed at the end of an epoch; the state is not touched."""
    settings, algorithm = state.settings, state.algorithm
    progress = remembering(state, progress)
    alpha_EO = state.alpha_EO.detach()
    op_weights_EO = algorithm.relax(alpha_EO, progress)
    loss, accuracy = validate(state, op_weights_EO)
    record: dict[str, Any] = {
        "valid_loss": _finite("validation loss", loss),
        "valid_accuracy": accuracy,
    }
    for name, relax in algorithm.also_validate.items():
        record[f"valid_accuracy_{name}"] = validate(state, relax(alpha_EO, progress))[1]
    _finite("the norm of alpha", float(alpha_EO.norm()))
    choice = algorithm.cell(alpha_EO, progress)
    record |= describe_alpha(alpha_EO, state.alpha_start_EO, op_weights_EO, choice, state.space)
    record["alpha_path_length"] = float(state.path_length)
    weights = [weight.detach().double().norm() for weight in state.supernet.weights.values()]
    record["weight_norm"] = float(torch.stack(weights).norm())
    record["benchmark"] = describe_benchmark(state.table, state.space.architecture(choice))
    every = settings.curvature.every
    due = every and (progress.epoch % every == 0 or progress.epoch == progress.epochs)
    top, bottom = _curvature(state, progress) if due else (None, None)
    return record | {"alpha_hessian_max": top, "alpha_hessian_min": bottom}


def _curvature(state: SearchState, progress: Progress) -> tuple[float, float]:
    """Extreme eigenvalues in logits on the first validation images, batch statistics, no decay."""
    indices_B = torch.arange(state.settings.curvature.batch_size)
    batch = clean_batch(state.valid, indices_B, state.dtype)
    loss = batch_loss(state, batch)
    held = {name: weight.detach() for name, weight in state.supernet.weights.items()}
    hessian = alpha_hessian(
        lambda op_weights_EO: loss(op_weights_EO, held).loss,
        lambda alpha_EO: state.algorithm.relax(alpha_EO, progress),
        state.alpha_EO,
        inert=(state.space.none,),
    )
    top, bottom = extreme_eigenvalues(hessian)
    return _finite("the alpha-Hessian", top), bottom


def _outcome(state: SearchState, last: Record) -> dict[str, Any]:
    keys = ("architecture", "benchmark", "valid_accuracy", "alpha_path_length")
    return {
        "hash": state.settings.hash,
        "epochs": state.epoch,
        "seconds": state.seconds,
        "note": state.note,
        **{key: last[key] for key in keys},
    }


@contextlib.contextmanager
def _followed(folder: RunFolder, tracker: Guarded) -> Iterator[None]:
    """A tracker is told how the start ended, whichever way that was."""
    try:
        yield
    finally:
        result = folder.read_result()
        if result is not None:
            tracker.finish(result["status"])


@contextlib.contextmanager
def _recorded(folder: RunFolder) -> Iterator[None]:
    """A failing or interrupted run is a recorded status; bad input is the caller's to tell."""
    try:
        yield
    except UserError:
        raise
    except KeyboardInterrupt:
        folder.finish("interrupted")
        raise
    except Exception as error:
        if isinstance(error, OSError) and not folder.checkpoint.exists():
            raise folder.unwritable(error) from error
        with contextlib.suppress(OSError):  # a full disk may be what failed
            folder.finish(
                "failed",
                reason=f"{type(error).__name__}: {error}",
                traceback=traceback.format_exc().splitlines(),
            )
        raise

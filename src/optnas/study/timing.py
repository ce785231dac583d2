"""What runs would cost on this machine, measured on a few real steps of each kind of run."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from optnas.base.errors import UserError
from optnas.search.environment import cpu_threads
from optnas.search.settings.model import Settings
from optnas.study.declare import PlannedRun, Study
from optnas.study.progress import cost_key

if TYPE_CHECKING:
    from optnas.search.state import SearchState

STEPS = 3  # measured; one more before them is not
BATCHES = 2  # of training and of validation images that are loaded for it


def estimate(study: Study) -> dict[str, float]:
    """Seconds that each run of a study would take alone; those of equal `cost_key` measured once.

    Args:
        study: the study.

    Returns:
        Seconds by id.

    Raises:
        UserError: torch refuses what could be checked by it only.
    """
    kinds: dict[str, list[PlannedRun]] = {}
    for run in study.runs.values():
        kinds.setdefault(cost_key(run.settings), []).append(run)
    seconds: dict[str, float] = {}
    for alike in kinds.values():
        try:
            each = seconds_of_run(alike[0].settings)
        except UserError as error:
            raise error.at(f"{study.label}: {alike[0].label}") from error
        seconds |= {run.id: each for run in alike}
    return seconds


def seconds_of_run(settings: Settings) -> float:
    """Measure a few steps, a validation batch and one column of the alpha-Hessian, and add up.

        epochs (batches step + validation) + validation + curvatures curvature

    Loading the images, writing and measures are left out.

    Args:
        settings: complete settings of a run.

    Returns:
        Wall seconds with ``run.threads`` threads.
    """
    from optnas.algorithms.base import Progress
    from optnas.optimizers.stepping import to_training_point
    from optnas.search.state import build_state

    with cpu_threads(settings.run.threads):
        state = build_state(_smaller(settings))
        to_training_point(state.weight_optimizer)
        to_training_point(state.arch_optimizer)
        progress = Progress(1, settings.search.epochs)
        step = _median(_step(state, progress), STEPS)
        validation = _median(_validation(state, progress), 1)
        curvature = _curvature_seconds(state, progress) if settings.curvature.every else 0.0
    # Once at the operation weights of the search, and once at each of those also judged.
    validation *= 1 + len(state.algorithm.also_validate)
    search = settings.search
    batches = math.ceil(settings.data.train_size / search.batch_size)
    validation *= settings.data.valid_size / state.settings.data.valid_size
    curvatures = _curvatures(search.epochs, settings.curvature.every)
    return search.epochs * (batches * step + validation) + validation + curvatures * curvature


def _curvatures(epochs: int, every: int) -> int:
    return sum(e % every == 0 or e == epochs for e in range(epochs + 1)) if every else 0


def _smaller(settings: Settings) -> Settings:
    """The same run on few images: a step does not depend on how many there are."""
    size = BATCHES * max(settings.search.batch_size, settings.curvature.batch_size)
    data = settings.data.model_copy(
        update={
            "train_size": min(size, settings.data.train_size),
            "valid_size": min(size, settings.data.valid_size),
        }
    )
    return settings.model_copy(update={"data": data})


def _median(work: Callable[[], Any], times: int) -> float:
    work()
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _step(state: SearchState, progress: Any) -> Callable[[], Any]:
    import torch

    from optnas.search.steps import arch_step, train_batch, valid_batch, weight_step

    indices_B = torch.arange(min(state.settings.search.batch_size, len(state.train)))

    def step() -> None:
        train = train_batch(state, indices_B)
        arch_step(state, train, valid_batch(state), progress)
        float(weight_step(state, train, progress).loss_sum)

    return step


def _validation(state: SearchState, progress: Any) -> Callable[[], Any]:
    from optnas.search.steps import validate

    return lambda: validate(state, state.algorithm.relax(state.alpha_EO.detach(), progress))


def _curvature_seconds(state: SearchState, progress: Any) -> float:
    """One column of operations, times their number; the forward pass is counted too often."""
    import torch

    from optnas.measures.curvature.hessian import alpha_hessian
    from optnas.measures.evaluation import clean_batch
    from optnas.search.steps import batch_loss

    space = state.space
    live = [column for column in range(space.operation_count) if column != space.none]
    indices_B = torch.arange(state.settings.curvature.batch_size)
    loss = batch_loss(state, clean_batch(state.valid, indices_B, state.dtype))
    held = {name: weight.detach() for name, weight in state.supernet.weights.items()}
    began = time.perf_counter()
    alpha_hessian(
        lambda op_weights_EO: loss(op_weights_EO, held).loss,
        lambda alpha_EO: state.algorithm.relax(alpha_EO, progress),
        state.alpha_EO,
        inert=(space.none, *live[1:]),
    )
    return (time.perf_counter() - began) * len(live)

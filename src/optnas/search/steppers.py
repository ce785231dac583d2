"""How the steps of an epoch are taken: each by Python, or replayed from a CUDA graph.

A step of a small supernet is thousands of short kernels, which a GPU waits for: Python takes longer
to launch them than the GPU to run them. A CUDA graph is such a step recorded once, with its kernels
and their arguments, and launched as a whole.

What Python decides while a step is recorded is decided for every replay: learning rates, the epoch,
branches. So an epoch records its own graph, from its second step, and throws it away: within an
epoch only tensors change. Whatever a step is given is copied to where the recorded one reads it.
"""

from __future__ import annotations

import contextlib
import functools
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor

from optnas.algorithms.base import Draw
from optnas.base.errors import UserError
from optnas.measures.evaluation import Score
from optnas.optimizers.capture import counting_on_device, uncapturable
from optnas.search.draws import StepDraws
from optnas.search.state import OPERATION_NOISE, SearchState

Step = Callable[[StepDraws], Score]
ASKED: dict[str, Any] = {
    "key": "run.stepper",
    "value": "graph",
    "remedy": "use run.stepper=eager",
}
# What records a step that is called without arguments, and hands back what replays it.
Capture = Callable[[Callable[[], Score]], Callable[[], Score]]


class Stepper(Protocol):
    """How the steps of one epoch are taken."""

    def __call__(self, step: Step, state: SearchState) -> AbstractContextManager[Step]:
        """Steps for the duration of an epoch.

        Args:
            step: takes a step of each level and hands back the train batch's score.
            state: what it changes.
        """


@contextlib.contextmanager
def eager(step: Step, state: SearchState) -> Iterator[Step]:
    """Every step is taken by Python.

    Yields:
        The step as it is.
    """
    del state
    yield step


@functools.cache
def _own_stream(device: int) -> torch.cuda.Stream:
    """One for all epochs of a process: libraries keep memory for each stream they have seen."""
    return torch.cuda.Stream(device)


@contextlib.contextmanager
def graph(step: Step, state: SearchState) -> Iterator[Step]:
    """From an epoch's second step on, batches of full size are steps of one CUDA graph.

    Yields:
        The step; a score that it hands back is overwritten by the next one.

    Raises:
        UserError: the step cannot be recorded.
    """
    # Streams and graphs are those of the current device, which need not be that of the search.
    with torch.cuda.device(state.alpha_EO.device):
        # Autograd runs a leaf's part of the backward pass on the stream of its first use, and a
        # graph may not depend on the default one.
        before, own = torch.cuda.current_stream(), _own_stream(torch.cuda.current_device())
        own.wait_stream(before)
        with Recorded(step, state, captured) as recorded:
            with torch.cuda.stream(own):
                yield recorded
            before.wait_stream(own)


STEPPERS: dict[str, Stepper] = {"eager": eager, "graph": graph}


class Recorded:
    """A step that is recorded the second time it is taken, and replayed from then on.

    Args:
        step: takes a step.
        state: what it changes.
        capture: records and replays.
    """

    def __init__(self, step: Step, state: SearchState, capture: Capture):
        self._step, self._state, self._capture = step, state, capture
        self._shapes: list[torch.Size] | None = None
        self._held: list[Tensor] = []
        self._replay: Callable[[], Score] | None = None
        self._counting = contextlib.ExitStack()

    def __enter__(self) -> Recorded:
        return self

    def __exit__(self, *error: object) -> None:
        self._forget()

    def __call__(self, draws: StepDraws) -> Score:
        """Take a step.

        Args:
            draws: of this step; sizes unlike those of the step before are not replayed.

        Returns:
            The train batch's score.
        """
        given = tensors_of(draws)
        shapes = [each.shape for each in given]
        if shapes != self._shapes:
            # What is made once is made here: an optimizer's state, the libraries' own memory.
            self._forget()
            self._shapes = shapes
            return self._step(draws)
        if self._replay is None:
            self._replay = self._record(draws)
        else:
            for held, each in zip(self._held, given, strict=True):
                held.copy_(each)
        return self._replay()

    def _forget(self) -> None:
        self._replay, self._held = None, []
        self._counting.close()

    def _record(self, draws: StepDraws) -> Callable[[], Score]:
        state = self._state
        held, memory = ahead_of_time(draws), dict(state.memory)
        self._held = tensors_of(held)

        def step() -> Score:
            """A step whose memory stays where the recorded one reads it."""
            score = self._step(held)
            if state.memory.keys() != memory.keys():
                cannot("remembers other tensors after it than before")
            for name, tensor in state.memory.items():
                memory[name].copy_(tensor)
            state.memory = memory
            return score

        optimizers = (state.weight_optimizer, state.arch_optimizer)
        self._counting.enter_context(counting_on_device(optimizers))
        streams = {name: each.get_state() for name, each in state.generators.items()}
        replay = self._capture(step)
        for name, before in streams.items():
            if not torch.equal(before, state.generators[name].get_state()):
                cannot(f"draws numbers from the stream {name}")
        return replay


class _Ahead(Draw):
    """A draw that was made ahead: a recorded step would draw the same numbers in every replay."""

    def generator(self) -> torch.Generator:
        cannot("draws other numbers than one per alpha")


def ahead_of_time(draws: StepDraws) -> StepDraws:
    """The same draws in tensors of their own, of which no step can draw more."""
    return StepDraws(
        draws.train_KB.clone(),
        draws.valid_KB.clone(),
        {
            level: _Ahead(draw.seed, None if draw.ahead_EO is None else draw.ahead_EO.clone())
            for level, draw in draws.draws.items()
        },
        None if draws.noise_EO is None else draws.noise_EO.clone(),
    )


def tensors_of(draws: StepDraws) -> list[Tensor]:
    """All tensors of a step's draws, in one order."""
    found = [draws.train_KB, draws.valid_KB, draws.noise_EO]
    found += [draw.ahead_EO for draw in draws.draws.values()]
    return [each for each in found if each is not None]


def captured(step: Callable[[], Score]) -> Callable[[], Score]:
    """Record a step as a CUDA graph; it is not taken.

    Args:
        step: on tensors that stay where they are.

    Returns:
        What takes it; the score is overwritten each time.

    Raises:
        UserError: the step reads a number of the GPU or sends one.
    """
    recorded = torch.cuda.CUDAGraph()
    cause: Exception | None = None
    try:
        with torch.cuda.graph(recorded, stream=torch.cuda.current_stream()):
            try:
                score = step()
            except Exception as error:
                cause = error
                raise
    except RuntimeError as error:
        # What ends a recording complains in its turn, in the place of what had failed.
        cause = cause or error
        if isinstance(cause, UserError):
            raise cause from None
        raise UserError(f"a CUDA graph cannot record the step ({_why(cause)})", **ASKED) from cause

    def replay() -> Score:
        recorded.replay()
        return score

    return replay


def _why(error: Exception) -> str:
    """What it says, and the last line outside torch that led to it."""
    torchs = str(Path(torch.__file__).parent)
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if not frame.filename.startswith(torchs)]
    at = f", at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    return f"{str(error).partition(chr(10))[0][:120]}{at}"


def check_stepper(state: SearchState) -> None:
    """Refuse what is known not to be recordable before anything is computed.

    Args:
        state: of a search that may ask for a graph.

    Raises:
        UserError: no GPU, an optimizer whose step counts or decides in Python, an algorithm that
            asks for further batches within its step, or counts steps.
    """
    if state.settings.run.stepper != "graph":
        return
    device = state.alpha_EO.device
    if device.type != "cuda":
        raise UserError(f"is for GPUs, and this run computes on the {device.type}", **ASKED)
    for section in ("weight_optimizer", "arch_optimizer"):
        name = uncapturable(getattr(state, section))
        if name is not None:
            cannot(f"of {section} = {name} counts or decides in Python")
    if "train-batches" in state.needs:
        cannot("asks for further train batches")
    if "step-number" in state.needs:
        cannot("depends on its number in the epoch")
    if OPERATION_NOISE in state.generators:
        noisy = any(each.noise for each in state.space.candidates())
        noise = f"draws the noise of an operation of {state.space.name}"
        cannot(noise if noisy else "draws what it drops of skips")


def cannot(reason: str) -> NoReturn:
    """Tell why a step is not recorded.

    Args:
        reason: a verb and what follows it, said of the step.

    Raises:
        UserError: always.
    """
    raise UserError(f"the step {reason}, which a CUDA graph cannot record", **ASKED)

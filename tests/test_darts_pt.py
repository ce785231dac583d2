"""A whole search with perturbation-based selection equals a plain loop, decision by decision.

The twin is that of test_steps, with the naive supernet; the selection is restated as the published
code runs it: mask one operation after the other, run through the validation half, take the one
whose removal hurts most.

Shapes: E edges, O operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from test_steps import BATCH, SIZE, WEIGHT_LR, Twin, assert_same, settings, sgd
from tiny import train_batch, valid_batch
from torch import Tensor
from torch.func import functional_call
from torch.testing import assert_close

from optnas.base.seeds import named_generator
from optnas.measures.evaluation import clean_batch
from optnas.search import steps
from optnas.search.session import Session
from optnas.search.state import SearchState, build_state

EPOCHS, SELECTION, JUDGED = 7, 3, 10
CHOSEN: dict[str, Any] = {
    "algorithm": {"name": "darts-pt", "share": SELECTION / EPOCHS},
    "search": {"epochs": EPOCHS},
    "evaluation": {"batch_size": JUDGED},
}
# At a larger rate Adam blows rounding up to more than 1e-9 within these steps.
ADAM_LR = 0.01
ADAM = {"weight_optimizer": {"name": "Adam", "lr": ADAM_LR, "schedule": "constant"}}
adam = partial(torch.optim.Adam, lr=ADAM_LR, weight_decay=3e-4)
# edges decided at the beginning of each epoch of the selection, of six
DECIDED = {5: 1, 6: 2, 7: 6}


class Judgement(NamedTuple):
    """Masked operation weights, and the accuracy with them in percent."""

    op_weights_EO: Tensor
    accuracy: float


class Selecting(Twin):
    """A search whose decided edges have one operation."""

    def __init__(self, state: SearchState, **more: Any):
        super().__init__(state, epochs=EPOCHS, **more)
        self.chosen: dict[int, int] = {}
        self.judged: list[Judgement] = []

    def relaxed(self, alpha_EO: Tensor) -> Tensor:
        rows = [
            F.one_hot(torch.tensor(self.chosen[e]), len(row)) + 0 * row  # no gradient
            if e in self.chosen
            else row.exp() / row.exp().sum()
            for e, row in enumerate(alpha_EO)
        ]
        return torch.stack(rows)

    def accuracy(self, state: SearchState, A_EO: Tensor) -> float:
        """Of the validation half in order, each batch under its own statistics, which stay."""
        right = 0
        for start in range(0, SIZE, JUDGED):
            places = torch.arange(start, min(start + JUDGED, SIZE))
            batch = clean_batch(state.valid, places, torch.float64)
            buffers = {name: buffer.clone() for name, buffer in self.net.named_buffers()}
            held = dict(self.net.named_parameters()) | buffers
            logits = functional_call(self.net.train(), held, (batch.images_BCHW, A_EO))
            right += int((logits.argmax(-1) == batch.labels_B).sum())
        return 100 * right / SIZE

    def select(self, state: SearchState, epoch: int) -> None:
        """Decide edges, each on the supernet with those before it decided."""
        stream = named_generator(state.settings.search.seed, f"selection-{epoch}")
        while len(self.chosen) < DECIDED[epoch]:
            undecided = [e for e in range(6) if e not in self.chosen]
            edge = undecided[int(torch.randint(len(undecided), (), generator=stream))]
            worst = math.inf
            for operation in range(5):
                A_EO = self.relaxed(self.alpha_EO)
                A_EO[edge, operation] = 0
                accuracy = self.accuracy(state, A_EO)
                self.judged.append(Judgement(A_EO, accuracy))
                if accuracy < worst:
                    worst, best = accuracy, operation
            self.chosen[edge] = best


@pytest.mark.thorough
@pytest.mark.parametrize(("own", "weights"), [({}, sgd), (ADAM, adam)], ids=["SGD", "Adam"])
def test_a_search_that_selects_equals_the_twin_decision_by_decision(
    own: dict[str, Any],
    weights: Callable[..., torch.optim.Optimizer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state, source = (build_state(settings(CHOSEN, own)) for _ in range(2))
    twin, session = Selecting(state, weights=weights), Session(state)
    judged: list[Judgement] = []
    evaluate = steps.SearchTrial.evaluate

    def spied(trial: Any, op_weights_EO: Tensor) -> tuple[float, float]:
        found = evaluate(trial, op_weights_EO)
        judged.append(Judgement(op_weights_EO.clone(), found[1]))
        return found

    monkeypatch.setattr(steps.SearchTrial, "evaluate", spied)
    session.train_epoch()  # epoch 0: nothing is trained yet
    for epoch in range(1, EPOCHS + 1):
        session.train_epoch()
        twin.begin(epoch)
        searching = EPOCHS - SELECTION
        if epoch > searching:
            rate = 0.1 * (ADAM_LR if own else WEIGHT_LR)
        elif own:
            rate = ADAM_LR
        else:
            elapsed = (epoch - 1) / searching
            rate = 0.001 + (WEIGHT_LR - 0.001) * (1 + math.cos(math.pi * elapsed)) / 2
        if epoch == searching + 1:
            twin.optimizer = weights(twin.net.parameters())
        if epoch > searching:
            twin.select(source, epoch)
        twin.optimizer.param_groups[0]["lr"] = rate
        order = torch.randperm(SIZE, generator=source.generators["train-order"])
        for start in range(0, SIZE, BATCH):
            train = train_batch(source, order[start : start + BATCH])
            twin.arch_step(train, valid_batch(source))
            twin.weight_step(train)
        assert_same(state, twin)
        chosen = [twin.chosen.get(e, -1) for e in range(6)]
        assert state.memory["chosen_E"].tolist() == chosen
    assert_close(judged, twin.judged, rtol=1e-9, atol=1e-9)
    assert len(judged) == 30
    cell = [twin.chosen[e] for e in range(6)]
    assert session.snapshot.choice == cell
    # The decisions are worth comparing: accuracies differ, and alpha would have chosen otherwise.
    assert len({each.accuracy for each in judged}) > 3
    assert cell != twin.alpha_EO.argmax(-1).tolist()

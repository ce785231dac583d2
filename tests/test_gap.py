"""The discretization gap and recalibrated statistics against the naive supernet.

The twin keeps its statistics in torch's own BatchNorm2d: reset, ``momentum=None`` (its cumulative
average), and a pass in training mode over each batch. Shapes: E edges, O operations.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from naive_supernet import NaiveSupernet
from tiny import trained
from torch import Tensor, nn
from torch.testing import assert_close

from optnas.measures.evaluation import fixed_indices
from optnas.measures.gap.measure import gap
from optnas.measures.snapshot import Snapshot
from optnas.search.observe import snapshot_of
from optnas.search.session import Session
from optnas.search.state import SearchState
from optnas.spaces import NAS_BENCH_201

TIGHT = {"rtol": 1e-9, "atol": 1e-11}
BATCHES, BATCH = 5, 12
VARIANTS: dict[str, dict[str, Any]] = {
    "darts": {"algorithm__name": "darts"},
    "darts-minus": {"algorithm__name": "darts-minus"},
    "batch": {"supernet__batch_norm": "batch", "supernet__arch_step_updates_statistics": False},
}


def naive_of(state: SearchState) -> NaiveSupernet:
    net = NaiveSupernet(
        NAS_BENCH_201.edges,
        NAS_BENCH_201.operations,
        channels=2,
        cells=1,
        classes=10,
        image_channels=1,
    ).double()
    net.load(state.supernet.weights)
    if state.statistics is not None:
        held = state.supernet.named_statistics(state.statistics)
        for name, (mean, variance) in net.named_statistics().items():
            mean.copy_(held[name][0])
            variance.copy_(held[name][1])
    return net


def pixels(half: Any) -> Tensor:
    mean, std = half.mean_C[:, None, None], half.std_C[:, None, None]
    return (half.images_NCHW.double() / 255 - mean) / std


def naive_recalibrated(net: NaiveSupernet, A_EO: Tensor, state: SearchState) -> NaiveSupernet:
    net = copy.deepcopy(net)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    net.train()
    images, size = pixels(state.train), len(state.train)
    with torch.no_grad():
        for b in range(BATCHES):
            net(images[[i % size for i in range(b * BATCH, (b + 1) * BATCH)]], A_EO)
    return net.eval()


def naive_score(net: NaiveSupernet, A_EO: Tensor, state: SearchState, mode: str) -> list[float]:
    net = copy.deepcopy(net).train(mode == "batch")
    images, labels = pixels(state.valid), state.valid.labels_N
    with torch.no_grad():
        logits = net(images, A_EO)  # evaluation.batch_size holds the whole half
    right = sum(int(row.argmax()) == int(y) for row, y in zip(logits, labels, strict=True))
    return [float(F.cross_entropy(logits, labels)), 100 * right / len(labels)]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.thorough
def test_the_gap_is_that_of_the_naive_twin(variant: str) -> None:
    state = trained(VARIANTS[variant], 1)
    state.epoch = 1
    numbers = gap(BATCHES, BATCH).measure(snapshot_of(state, "gap")).numbers
    alpha_EO = state.alpha_EO.detach()
    A_EO = alpha_EO.softmax(-1)
    if variant == "darts-minus":
        A_EO[:, NAS_BENCH_201.skip] += 1.0  # beta in the first epoch
    one_hot_EO = torch.zeros_like(A_EO)
    for edge, row in enumerate(alpha_EO):
        one_hot_EO[edge, int(row.argmax())] = 1
    net = naive_of(state)
    mode = "batch" if variant == "batch" else "running"
    s = naive_score(net, A_EO, state, mode)
    q0 = naive_score(net, one_hot_EO, state, mode)
    q = naive_score(naive_recalibrated(net, one_hot_EO, state), one_hot_EO, state, "running")
    expected = {
        "supernet": s,
        "one_hot": q0,
        "recalibrated": q,
    }
    for key, (loss, accuracy) in expected.items():
        assert numbers[f"{key}_loss"] == pytest.approx(loss, **{"rel": 1e-9})
        assert numbers[f"{key}_accuracy"] == pytest.approx(accuracy)
    partway_EO = 0.75 * A_EO + 0.25 * one_hot_EO
    own = naive_recalibrated(net, partway_EO, state)
    p = naive_score(own, partway_EO, state, "running")
    assert numbers["partway_accuracy"] == pytest.approx(p[1])
    assert numbers["partway_gap"] == pytest.approx(s[1] - p[1])
    assert numbers["gap"] == pytest.approx(s[1] - q[1])
    assert numbers["gap_without_recalibration"] == pytest.approx(s[1] - q0[1])
    assert numbers["relative_gap"] == pytest.approx((s[1] - q[1]) / s[1])
    assert numbers["loss_gap"] == pytest.approx(q[0] - s[0])
    assert numbers["loss_gap_without_recalibration"] == pytest.approx(q0[0] - s[0])
    for edge, margin in enumerate(numbers["margins"]):
        chosen = int(alpha_EO[edge].argmax())
        others = [float(A_EO[edge, o]) for o in range(5) if o != chosen]
        assert margin == pytest.approx(float(A_EO[edge, chosen]) - max(others))
    assert (min(numbers["margins"]) < 0) == (variant == "darts-minus")


def test_recalibrated_statistics_are_torchs_cumulative_average() -> None:
    state = trained(VARIANTS["darts"], 1)
    state.epoch = 1
    snapshot = snapshot_of(state, "gap")
    one_hot_EO = snapshot.one_hot([3, 2, 1, 4, 0, 3])
    found = snapshot.recalibrated(one_hot_EO, BATCHES, BATCH)
    net = naive_recalibrated(naive_of(state), one_hot_EO, state)
    assert_close(state.supernet.named_statistics(found), net.named_statistics(), **TIGHT)


def test_the_records_accuracy_is_the_snapshots() -> None:
    state = trained(VARIANTS["darts"], 1)
    state.epoch = 1
    snapshot, record = snapshot_of(state, "gap"), Session(state).measure()
    found = snapshot.evaluate(snapshot.op_weights_EO, snapshot.statistics)
    assert found == (record["valid_loss"], record["valid_accuracy"])


def measured_at(row: list[float]) -> dict[str, Any]:
    state = trained(VARIANTS["darts"], 0)
    state.epoch = 0
    with torch.no_grad():
        state.alpha_EO.copy_(torch.tensor([row] * 6))
    return dict(gap(BATCHES, BATCH).measure(snapshot_of(state, "gap")).numbers)


def test_a_disconnected_cell_is_reported() -> None:
    numbers = measured_at([9.0, 0, 0, 0, 0])
    assert numbers["connected"] is False
    assert numbers["architecture"].count("none") == 6
    # Nothing reaches the last cell's output: every image gets the same logits.
    assert numbers["recalibrated_accuracy"] <= 30
    assert numbers["benchmark"]["accuracy"]["cifar10"] == pytest.approx(10, abs=1)
    assert measured_at([0, 0, 0, 9.0, 0])["connected"] is True


def test_at_a_one_hot_cell_nothing_is_lost() -> None:
    numbers = measured_at([0, 0, 1000.0, 0, 0])
    assert numbers["gap_without_recalibration"] == numbers["loss_gap_without_recalibration"] == 0
    assert numbers["margins"] == [1.0] * 6


def test_fixed_batches_are_full_and_wrap_round() -> None:
    found = [indices.tolist() for indices in fixed_indices(5, 3, 3)]
    assert found == [[0, 1, 2], [3, 4, 0], [1, 2, 3]]
    with pytest.raises(ValueError, match="a batch of 6 from 5 images"):
        list(fixed_indices(5, 1, 6))


def test_the_snapshot_holds_no_leaf_of_the_search() -> None:
    state = trained(VARIANTS["darts"], 0)
    state.epoch = 0
    snapshot: Snapshot = snapshot_of(state, "gap")
    tensors = [*snapshot.supernet.weights.values(), snapshot.alpha_EO, snapshot.op_weights_EO]
    assert not any(tensor.requires_grad for tensor in tensors)
    assert all(weight.requires_grad for weight in state.supernet.weights.values())

"""The merged supernet against its naive twin, in double precision, and its promises.

Shapes: B images, C channels, H and W sides, E edges, O operations, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from naive_supernet import NaiveSupernet
from tiny import normal
from torch import Tensor
from torch.testing import assert_close

from optnas.spaces.nasbench201 import NAS_BENCH_201
from optnas.spaces.network import Statistics, Supernet
from optnas.spaces.network.pool import average_pool

EDGES = len(NAS_BENCH_201.edges)
OPERATIONS = len(NAS_BENCH_201.operations)
CLASSES = 5
BATCH = 6
TIGHT = {"rtol": 1e-10, "atol": 1e-10}
TIGHTER = {"rtol": 1e-12, "atol": 1e-12}


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(seed: int = 1, batch: int = BATCH, side: int = 8) -> Tensor:
    return normal(batch, 3, side, side, seed=seed)


def labels(batch: int = BATCH) -> Tensor:
    return torch.arange(batch) % CLASSES


def softmax_weights(seed: int = 2) -> Tensor:
    return normal(EDGES, OPERATIONS, seed=seed).softmax(-1)


def one_hot(columns: list[int] | int) -> Tensor:
    return torch.eye(OPERATIONS, dtype=torch.float64)[columns].expand(EDGES, -1).clone()


def supernet(
    *,
    channels: int = 4,
    cells: int = 1,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    head_affine: bool = True,
) -> Supernet:
    return Supernet(
        NAS_BENCH_201,
        channels=channels,
        cells=cells,
        classes=CLASSES,
        image_channels=3,
        generator=rng(seed),
        dtype=dtype,
        head_affine=head_affine,
    )


def twin(
    weights: Mapping[str, Tensor], *, channels: int = 4, cells: int = 1, head_affine: bool = True
) -> NaiveSupernet:
    naive = own_start(channels=channels, cells=cells, head_affine=head_affine).double()
    naive.load(weights)
    return naive


def own_start(*, channels: int, cells: int = 1, head_affine: bool = True) -> NaiveSupernet:
    """A twin with torch's own first values; the global generator is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return NaiveSupernet(
            NAS_BENCH_201.edges,
            NAS_BENCH_201.operations,
            channels=channels,
            cells=cells,
            classes=CLASSES,
            image_channels=3,
            head_affine=head_affine,
        )


def with_random_affine(weights: Mapping[str, Tensor], seed: int = 3) -> dict[str, Tensor]:
    """Leaves like the given ones, their batch-norm scales and biases no longer 1 and 0."""
    generator = rng(seed)
    return {
        name: (
            weight.detach()
            + (0.3 if "norm" in name else 0.0)
            * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
        ).requires_grad_()
        for name, weight in weights.items()
    }


def moved(net: Supernet, weights: Mapping[str, Tensor] | None = None) -> Statistics:
    """Statistics after three updating forwards over three batches."""
    statistics = net.initial_statistics()
    for seed in (11, 12, 13):
        _, statistics = net.forward(
            images(seed), softmax_weights(seed), weights=weights, statistics=statistics, update=True
        )
        assert statistics is not None
    return statistics


def move_twin(naive: NaiveSupernet) -> None:
    naive.train()
    for seed in (11, 12, 13):
        naive(images(seed), softmax_weights(seed))


def same_statistics(net: Supernet, statistics: Statistics | None, naive: NaiveSupernet) -> None:
    assert statistics is not None
    assert_close(net.named_statistics(statistics), naive.named_statistics(), **TIGHTER)


def snapshot(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def same_bits(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def statistics_bits(net: Supernet, statistics: Statistics) -> dict[str, Tensor]:
    """A copy of every mean and variance."""
    pairs = net.named_statistics(statistics).items()
    return {f"{n}/{i}": value.clone() for n, pair in pairs for i, value in enumerate(pair)}


# --- against the twin -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["batch", "updating", "running"])
@pytest.mark.parametrize("cells", [1, 2])
def test_logits_and_all_gradients_equal_the_twins(cells: int, mode: str) -> None:
    net = supernet(cells=cells)
    weights = with_random_affine(net.weights)
    naive = twin(weights, cells=cells)
    move_twin(naive)
    naive.train(mode != "running")
    alpha_EO = normal(EDGES, OPERATIONS, seed=4).requires_grad_()

    logits, after = net.forward(
        images(),
        alpha_EO.softmax(-1),
        weights=weights,
        statistics=None if mode == "batch" else moved(net, weights),
        update=mode == "updating",
    )
    expected = naive(images(), alpha_EO.softmax(-1))
    assert_close(logits, expected, **TIGHT)
    if mode != "batch":
        same_statistics(net, after, naive)

    gradients = torch.autograd.grad(
        F.cross_entropy(logits, labels()), [alpha_EO, *weights.values()]
    )
    naive_weights = naive.named_weights()
    expected_gradients = torch.autograd.grad(
        F.cross_entropy(expected, labels()), [alpha_EO, *(naive_weights[n] for n in weights)]
    )
    assert gradients[0].abs().max() > 1e-4
    for name, got, want in zip(["alpha", *weights], gradients, expected_gradients, strict=True):
        assert_close(got, want, **TIGHT, msg=lambda text, name=name: f"{name}: {text}")


def test_a_head_without_affine_terms_equals_the_twins() -> None:
    """Protocol nats-bench has such a head, as its source.

    The published network (D-X-Y/AutoDL-Projects at f46486e, GenericNAS201Model, C = 4, N = 1) ran
    beside this one for 20 steps of both levels in float64, from the same weights on the same
    batches: alpha moved by 2.1e-3 and differed by at most 1.1e-17; with an affine head by 2.8e-3.
    """
    net = supernet(head_affine=False)
    naive = twin(net.weights, head_affine=False)
    alpha_EO = normal(EDGES, OPERATIONS, seed=4).requires_grad_()
    found = net.forward(images(), alpha_EO.softmax(-1), statistics=None).logits_BK
    expected = naive(images(), alpha_EO.softmax(-1))
    assert_close(found, expected, **TIGHT)
    (got,) = torch.autograd.grad(F.cross_entropy(found, labels()), alpha_EO)
    (want,) = torch.autograd.grad(F.cross_entropy(expected, labels()), alpha_EO)
    assert_close(got, want, **TIGHT)


@pytest.mark.parametrize(
    "op_weights_EO",
    [
        *(
            pytest.param(one_hot(o), id=f"one-hot-{n}")
            for o, n in enumerate(NAS_BENCH_201.operations)
        ),
        pytest.param(one_hot([3, 1, 2, 4, 0, 3]), id="one-hot-mixed"),
        pytest.param(-softmax_weights(), id="negative"),
        pytest.param(3 + softmax_weights(), id="larger-than-one"),
        pytest.param(normal(EDGES, OPERATIONS, seed=5), id="both-signs"),
        pytest.param(torch.zeros(EDGES, OPERATIONS, dtype=torch.float64), id="zero"),
    ],
)
@pytest.mark.parametrize("running", [False, True], ids=["batch", "running"])
def test_operation_weights_may_be_any_matrix(op_weights_EO: Tensor, running: bool) -> None:
    net = supernet()
    naive = twin(net.weights)
    move_twin(naive)
    naive.train(not running)
    op_weights_EO.requires_grad_()

    logits, _ = net.forward(images(), op_weights_EO, statistics=moved(net) if running else None)
    expected = naive(images(), op_weights_EO)
    assert_close(logits, expected, **TIGHT)

    naive_weights = naive.named_weights()
    got = torch.autograd.grad(
        F.cross_entropy(logits, labels()), [op_weights_EO, *net.weights.values()]
    )
    want = torch.autograd.grad(
        F.cross_entropy(expected, labels()),
        [op_weights_EO, *(naive_weights[n] for n in net.weights)],
    )
    assert_close(list(got), list(want), **TIGHT)


@pytest.mark.parametrize("cells", [1, 2])
def test_running_statistics_equal_the_twins(cells: int) -> None:
    net = supernet(cells=cells)
    naive = twin(net.weights, cells=cells)
    same_statistics(net, net.initial_statistics(), naive)
    move_twin(naive)
    same_statistics(net, moved(net), naive)


@pytest.mark.thorough
def test_alpha_hessian_equals_the_twins() -> None:
    net = supernet(channels=2)
    naive = twin(net.weights, channels=2)
    x_BCHW, y_B = images(batch=4), labels(4)
    alpha_EO = normal(EDGES, OPERATIONS, seed=4)
    frozen = snapshot(net.weights)

    def hessian(logits_of) -> Tensor:
        leaf_EO = alpha_EO.clone().requires_grad_()
        loss = F.cross_entropy(logits_of(leaf_EO.softmax(-1)), y_B)
        (gradient_EO,) = torch.autograd.grad(loss, leaf_EO, create_graph=True)
        rows = [torch.autograd.grad(g, leaf_EO, retain_graph=True)[0] for g in gradient_EO.view(-1)]
        return torch.stack([row.view(-1) for row in rows])

    got = hessian(lambda a: net.forward(x_BCHW, a, weights=frozen, statistics=None).logits_BK)
    want = hessian(lambda a: naive(x_BCHW, a))
    assert want.abs().max() > 1e-4
    assert_close(got, want, rtol=1e-8, atol=1e-8)
    assert_close(got, got.T, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("running", [False, True], ids=["batch", "running"])
def test_one_image_is_a_batch(running: bool) -> None:
    net = supernet()
    naive = twin(net.weights)
    move_twin(naive)
    naive.train(not running)
    x_BCHW = images(batch=1)
    logits, _ = net.forward(x_BCHW, softmax_weights(), statistics=moved(net) if running else None)
    assert_close(logits, naive(x_BCHW, softmax_weights()), **TIGHT)


def test_one_value_a_channel_has_no_batch_statistics() -> None:
    net = supernet()
    naive = twin(net.weights)
    x_BCHW = images(batch=1, side=4)  # 1 x 1 in the last stage
    for forward in (naive, lambda x, a: net.forward(x, a, statistics=None)):
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            forward(x_BCHW, softmax_weights())
    statistics = moved(net)
    assert net.forward(x_BCHW, softmax_weights(), statistics=statistics).logits_BK.isfinite().all()


# --- what is asked for, and only that ---------------------------------------------------------


def test_alpha_alone_and_weights_alone_have_the_same_gradients_as_together() -> None:
    net = supernet()
    alpha_EO = normal(EDGES, OPERATIONS, seed=4).requires_grad_()
    leaves = list(net.weights.values())

    def loss(op_weights_EO: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        output = net.forward(images(), op_weights_EO, weights=weights, statistics=None)
        return F.cross_entropy(output.logits_BK, labels())

    both = torch.autograd.grad(loss(alpha_EO.softmax(-1)), [alpha_EO, *leaves])
    frozen = {name: weight.detach() for name, weight in net.weights.items()}
    alone = torch.autograd.grad(loss(alpha_EO.softmax(-1), frozen), [alpha_EO])
    weights_alone = torch.autograd.grad(loss(alpha_EO.softmax(-1).detach()), leaves)
    assert_close([*alone, *weights_alone], list(both), **TIGHTER)
    assert alpha_EO.grad is None
    assert all(leaf.grad is None for leaf in leaves)


def test_backward_fills_the_leaves_and_a_second_forward_may_come_first() -> None:
    net = supernet()
    statistics = net.initial_statistics()
    first, statistics = net.forward(images(), softmax_weights(), statistics=statistics, update=True)
    net.forward(images(7), softmax_weights(), statistics=statistics, update=True)
    F.cross_entropy(first, labels()).backward()
    assert all(leaf.grad is not None for leaf in net.weights.values())


@pytest.mark.parametrize("update", [False, True])
def test_statistics_carry_no_graph(update: bool) -> None:
    net = supernet()
    _, after = net.forward(
        images(),
        softmax_weights().requires_grad_(),
        statistics=net.initial_statistics(),
        update=update,
    )
    assert not any(v.requires_grad for v in statistics_bits(net, after).values())


# --- values, not hidden state -----------------------------------------------------------------


def test_foreign_weights_and_statistics_leave_our_own_alone() -> None:
    net = supernet()
    other = with_random_affine(supernet(seed=9).weights)
    own, foreign = snapshot(net.weights), snapshot(other)
    before, _ = net.forward(images(), softmax_weights(), statistics=None)

    logits, _ = net.forward(
        images(),
        softmax_weights(),
        weights=other,
        statistics=net.initial_statistics(),
        update=True,
    )
    F.cross_entropy(logits, labels()).backward()
    assert_close(logits, twin(other)(images(), softmax_weights()), **TIGHT)
    assert same_bits(net.weights, own)
    assert same_bits(other, foreign)
    assert all(leaf.grad is None for leaf in net.weights.values())
    assert all(leaf.grad is not None for leaf in other.values())
    again, _ = net.forward(images(), softmax_weights(), statistics=None)
    assert torch.equal(before, again)


@pytest.mark.parametrize("update", [False, True])
def test_statistics_handed_in_are_never_mutated(update: bool) -> None:
    net = supernet()
    statistics = moved(net)
    before = statistics_bits(net, statistics)
    logits, after = net.forward(images(), softmax_weights(), statistics=statistics, update=update)
    F.cross_entropy(logits, labels()).backward()
    assert same_bits(statistics_bits(net, statistics), before)
    unchanged = [torch.equal(v, before[n]) for n, v in statistics_bits(net, after).items()]
    assert not any(unchanged) if update else all(unchanged)


def test_nothing_is_tracked_without_statistics() -> None:
    net = supernet()
    assert net.forward(images(), softmax_weights(), statistics=None).statistics is None


def test_statistics_are_needed_to_update_them() -> None:
    with pytest.raises(ValueError, match="statistics"):
        supernet().forward(images(), softmax_weights(), statistics=None, update=True)


def test_inputs_are_never_mutated() -> None:
    net = supernet()
    x_BCHW, op_weights_EO = images(), softmax_weights().requires_grad_()
    before = snapshot({"x": x_BCHW, "op_weights": op_weights_EO})
    logits, _ = net.forward(x_BCHW, op_weights_EO, statistics=None)
    F.cross_entropy(logits, labels()).backward()
    assert same_bits({"x": x_BCHW, "op_weights": op_weights_EO.detach()}, before)


@pytest.mark.parametrize("running", [False, True], ids=["batch", "running"])
def test_memory_format_of_the_images_does_not_matter(running: bool) -> None:
    net = supernet()
    statistics = moved(net) if running else None
    planes = images()
    pixels = planes.contiguous(memory_format=torch.channels_last)
    logits = [
        net.forward(x, softmax_weights(), statistics=statistics).logits_BK for x in (planes, pixels)
    ]
    assert_close(*logits, **TIGHTER)


# --- network weights and their first values ---------------------------------------------------


@pytest.mark.parametrize("cells", [1, 2])
def test_one_leaf_an_edge_and_convolution(cells: int) -> None:
    net = supernet(cells=cells)
    in_cells = {
        f"cells.{i}.edges.{e}.{operation}.weight"
        for i in range(3 * cells)
        for e in range(EDGES)
        for operation in ("nor_conv_1x1", "nor_conv_3x3")
    }
    assert {name for name in net.weights if name.startswith("cells.")} == in_cells
    assert len(net.weights) == len(in_cells) + 3 + 2 * 7 + 4
    assert all(w.is_leaf and w.requires_grad for w in net.weights.values())
    storages = {weight.untyped_storage().data_ptr() for weight in net.weights.values()}
    assert len(storages) == len(net.weights)


def test_first_values_have_the_distribution_of_torch() -> None:
    net = supernet(channels=16)
    for name, weight in net.weights.items():
        if "norm" in name:
            assert torch.equal(weight, torch.full_like(weight, float(name.endswith("weight"))))
            continue
        inputs = net.weights["head.linear.weight" if name == "head.linear.bias" else name][0]
        bound = 1 / math.sqrt(inputs.numel())
        assert weight.abs().max() <= bound
        if weight.numel() < 2000:
            continue
        n = weight.numel()
        uniform = (weight.detach().view(-1) / bound + 1).div(2).sort().values
        steps = torch.arange(n + 1, dtype=torch.float64) / n
        distance = torch.maximum(steps[1:] - uniform, uniform - steps[:-1]).max()
        assert distance * math.sqrt(n) < 1.95, name  # Kolmogorov-Smirnov, 0.1 per cent
        assert abs(uniform.mean() - 1 / 2) < 4 * math.sqrt(1 / 12 / n), name
        assert abs(uniform.var() - 1 / 12) < 4 * math.sqrt(1 / 180 / n), name


def test_first_values_lie_where_the_twins_do() -> None:
    weights = supernet(channels=16).weights
    torch_weights = own_start(channels=16).named_weights()
    assert weights.keys() == torch_weights.keys()
    for name, expected in torch_weights.items():
        assert weights[name].shape == expected.shape
        if expected.numel() >= 2000:  # the extremes of this many draws are near the bounds
            assert_close(
                weights[name].abs().max(), expected.abs().max().double(), rtol=0.02, atol=0
            )


def test_first_values_come_from_the_generator_alone() -> None:
    torch_state = torch.get_rng_state()
    first, again, other = (snapshot(supernet(seed=s).weights) for s in (0, 0, 1))
    assert same_bits(first, again)
    assert not any(torch.equal(first[n], other[n]) for n in first if "norm" not in n)
    net = supernet()
    logits, _ = net.forward(
        images(), softmax_weights(), statistics=net.initial_statistics(), update=True
    )
    F.cross_entropy(logits, labels()).backward()
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_dtype_is_that_of_weights_and_statistics() -> None:
    net = supernet(dtype=torch.float32)
    double = supernet().weights
    logits, after = net.forward(
        images().float(),
        softmax_weights().float(),
        statistics=net.initial_statistics(),
        update=True,
    )
    tensors = [logits, *net.weights.values(), *statistics_bits(net, after).values()]
    assert {tensor.dtype for tensor in tensors} == {torch.float32}
    assert all(torch.equal(w, double[n].float()) for n, w in net.weights.items())


@pytest.mark.parametrize("side", [1, 2, 3, 8])
def test_the_average_pool_is_torchs(side: int) -> None:
    x_BCHW = normal(2, 3, side, side, seed=7).requires_grad_()
    expected = F.avg_pool2d(x_BCHW, 3, stride=1, padding=1, count_include_pad=False)
    assert_close(average_pool(x_BCHW), expected, **TIGHTER)
    assert torch.autograd.gradcheck(average_pool, x_BCHW)
    assert torch.autograd.gradgradcheck(average_pool, x_BCHW)


def test_the_average_pool_can_be_differentiated_after_inference() -> None:
    x_BCHW = normal(1, 5, 7, 7, seed=7)  # a shape that no other test has
    with torch.inference_mode():
        average_pool(x_BCHW)
    x_BCHW.requires_grad_()
    expected = F.avg_pool2d(x_BCHW, 3, stride=1, padding=1, count_include_pad=False)
    (ours,) = torch.autograd.grad((average_pool(x_BCHW) ** 2).sum(), x_BCHW)
    (torchs,) = torch.autograd.grad((expected**2).sum(), x_BCHW)
    assert_close(ours, torchs, **TIGHTER)


@pytest.mark.parametrize("cells", [1, 2])
@pytest.mark.parametrize("op_weights_EO", [softmax_weights(), normal(EDGES, OPERATIONS, seed=9)])
def test_folded_filters_compute_the_same_function(cells: int, op_weights_EO: Tensor) -> None:
    net = supernet(cells=cells)
    statistics = moved(net)
    judge = net.judged_by(op_weights_EO, statistics)
    for seed in (4, 5):
        expected = net(images(seed), op_weights_EO, statistics=statistics).logits_BK
        found = judge(images(seed))
        assert not found.requires_grad
        assert_close(found, expected.detach(), **TIGHTER)


def test_folded_filters_leave_weights_and_statistics_alone() -> None:
    net = supernet()
    statistics, weights = moved(net), snapshot(net.weights)
    before = statistics.clone()
    net.judged_by(softmax_weights(), statistics)(images())
    assert same_bits(weights, net.weights)
    assert torch.equal(before.mean_S, statistics.mean_S)
    assert torch.equal(before.variance_S, statistics.variance_S)

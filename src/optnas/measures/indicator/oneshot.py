"""Accuracies of many cells with the weights of one supernet, much faster than one by one.

Shapes: N cells, I images, B images of a batch, C channels, K classes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.measures.evaluation import Batch, recalibrated
from optnas.spaces import Architecture, edge_expressions, supernet_string, without_dead_edges
from optnas.spaces.network import Supernet
from optnas.spaces.network.cells import Normalise, SearchCell
from optnas.spaces.network.layers import EPSILON, readable
from optnas.spaces.network.mixed import MixedCell
from optnas.spaces.network.protocol import ONE_SHOT, SearchNetwork

# Functions whose batch-norm statistics are held at one time.
CHUNK = 256

# Batch norm of a value under a key: the value, the key, affine weight and bias.
Key = tuple[str, str]
Norm = Callable[[Tensor, Key, Tensor | None, Tensor | None], Tensor]
# The same of the value that a term names, by the name of its layer.
TermNorm = Callable[[str, Tensor, str], Tensor]
Once = Callable[[str, Callable[[], Any]], Any]


class Scores(NamedTuple):
    """What cells make of the same images.

    Attributes:
        loss_N: mean cross-entropy in nats, ``float64``.
        correct_NI: whether a cell has an image right, ``bool``.
    """

    loss_N: Tensor
    correct_NI: Tensor


@dataclass(frozen=True)
class _Function:
    """A cell that stands for all with the same output; its terms name values of the first cell."""

    name: str
    cell: Architecture
    terms: list[tuple[str, ...]]


def distinct(cells: Sequence[Architecture]) -> dict[str, Architecture]:
    """One cell for each function that cells compute with shared weights, those alike adjacent.

    Args:
        cells: cells of one space.

    Returns:
        `supernet_string` to the cell without dead edges, in the order of their operations: cells
        with the same first nodes follow one another.
    """
    found: dict[str, Architecture] = {}
    for cell in cells:
        found.setdefault(supernet_string(cell), without_dead_edges(cell))
    return dict(sorted(found.items(), key=lambda each: each[1].operations))


def score_cells(
    network: SearchNetwork,
    cells: Sequence[Architecture],
    batches: Sequence[Batch],
    *,
    calibration: Sequence[Batch] = (),
) -> Scores:
    """Loss and correct images of cells, each with one operation per edge and the shared weights.

    The result is that of ``supernet(images, one_hot)`` cell by cell, arranged for speed:

    1. An edge computes its one operation, and what leaves a node one ReLU and one of each operation
       without weights; a dead edge, on no path from input to output, computes nothing.
    2. Cells that compute the same function of the same weights are scored once.
    3. The stem is computed once per batch, and so is each value of the first cell: cells come in
       the order of their first edges, and the latest values, as many as the space has operations on
       edges, are kept.
    4. No autograd.

    Of a network of another kind only 2 and 4 hold.

    Args:
        network: the network; its weights are used. Its mixed cells are the space's own: in another
            one, such as `PartialCell`, a dead edge computes something, and 1 and 2 are wrong.
        cells: cells of its space, disconnected ones too (their logits are the same for all images).
        batches: images to judge on, all in memory.
        calibration: batches of equal size from which each cell gets batch-norm statistics of its
            own, as `optnas.measures.evaluation.recalibrated`; none normalises each batch by its
            own statistics.

    Returns:
        Scores in the order of the cells, on the CPU.

    Raises:
        UserError: the space has several kinds of cell, whose functions have no name.
    """
    functions = [
        _Function(name, cell, edge_expressions(cell)) for name, cell in distinct(cells).items()
    ]
    merged = ONE_SHOT in network.offers
    with torch.inference_mode():
        scored = {
            name: score
            for start in range(0, len(functions), CHUNK)
            for name, score in (
                _score(
                    cast(Supernet, network), functions[start : start + CHUNK], batches, calibration
                )
                if merged
                else _one_by_one(network, functions[start : start + CHUNK], batches, calibration)
            )
        }
    scores = [scored[supernet_string(cell)] for cell in cells]
    return Scores(
        torch.stack([score.loss_N for score in scores]),
        torch.stack([score.correct_NI for score in scores]),
    )


def _one_by_one(
    network: SearchNetwork,
    functions: Sequence[_Function],
    batches: Sequence[Batch],
    calibration: Sequence[Batch],
) -> Iterator[tuple[str, Scores]]:
    """The network at the one-hot operation weights of each function."""
    like = next(iter(network.weights.values()))
    for function in functions:
        cell = function.cell
        one_hot_EO = like.new_tensor(cell.space.one_hot(cell.operations))
        statistics = recalibrated(network, one_hot_EO, calibration) if calibration else None
        losses, correct = [], []
        for batch in batches:
            logits_BK = network(batch.images_BCHW, one_hot_EO, statistics=statistics).logits_BK
            losses.append(F.cross_entropy(logits_BK, batch.labels_B, reduction="none"))
            correct.append(logits_BK.argmax(dim=1) == batch.labels_B)
        loss = torch.cat(losses).double().mean().cpu()
        yield function.name, Scores(loss, torch.cat(correct).cpu())


def _score(
    supernet: Supernet,
    functions: Sequence[_Function],
    batches: Sequence[Batch],
    calibration: Sequence[Batch],
) -> Iterator[tuple[str, Scores]]:
    norm: Norm = _by_batch
    if calibration:
        moments = _Moments()
        for batch in calibration:
            for _ in _logits(supernet, functions, batch, moments.collect):
                pass
            moments.next_batch()
        norm = moments.apply
    losses: list[list[Tensor]] = [[] for _ in functions]
    correct: list[list[Tensor]] = [[] for _ in functions]
    for batch in batches:
        for place, logits_BK in enumerate(_logits(supernet, functions, batch, norm)):
            losses[place].append(F.cross_entropy(logits_BK, batch.labels_B, reduction="none"))
            correct[place].append(logits_BK.argmax(dim=1) == batch.labels_B)
    for function, loss, right in zip(functions, losses, correct, strict=True):
        yield function.name, Scores(torch.cat(loss).double().mean().cpu(), torch.cat(right).cpu())


def _logits(
    supernet: Supernet, functions: Sequence[_Function], batch: Batch, norm: Norm
) -> Iterator[Tensor]:
    """Logits of each function; the stem and the values of the first cell are shared."""
    weights, first = supernet.weights, supernet.stages[0][0]
    latest = _Latest(supernet.space.edge_count * supernet.space.operation_count)
    stem_BCHW = supernet.stem(batch.images_BCHW, weights, _named(norm, weights, "stem"))

    def shared(term: str, y: Tensor, name: str) -> Tensor:
        return _named(norm, weights, term)(y, name, None, None)

    for function in functions:
        normalise = _named(norm, weights, function.name)

        def own(term: str, y: Tensor, name: str, normalise: Normalise = normalise) -> Tensor:
            return normalise(y, name, None, None)

        def run_cell(
            cell: SearchCell,
            x: Tensor,
            held: Mapping[str, Tensor],
            normalise: Normalise,
            function: _Function = function,
            own: TermNorm = own,
        ) -> Tensor:
            assert isinstance(cell, MixedCell)  # as `ONE_SHOT` says
            if cell is first:
                return _through(cell, function, x, held, shared, latest.get)
            return _through(cell, function, x, held, own, _compute)

        yield supernet.after_stem(run_cell, stem_BCHW, weights, normalise)


@dataclass(frozen=True)
class _Node:
    """A node's value, and what all edges that leave it share."""

    value: Tensor

    @cached_property
    def active(self) -> Tensor:
        return self.value.relu()

    @cached_property
    def shared(self) -> dict[int, Tensor]:
        return {}


def _through(
    cell: MixedCell,
    function: _Function,
    x_BCHW: Tensor,
    weights: Mapping[str, Tensor],
    normalise: TermNorm,
    once: Once,
) -> Tensor:
    """Last node of a cell with one operation per edge; ``once`` may know a value by its name."""
    space, operations, terms = cell.space, function.cell.operations, function.terms
    nodes: dict[int, _Node] = {0: _Node(x_BCHW)}

    def along(edge: int) -> Tensor:
        operation, node = operations[edge], nodes[space.edges[edge][0]]
        if operation in cell.shared:
            if operation not in node.shared:
                node.shared[operation] = cell.weightless(operation, node.value)
            return node.shared[operation]
        term = terms[edge][0]
        if (edge, operation) in cell.alone:
            placed = cell.alone[edge, operation]

            def named(y: Tensor, name: str, weight: Tensor | None, bias: Tensor | None) -> Tensor:
                return normalise(term, y, name)

            return once(term, lambda: placed(node.value, weights, named))
        name, kernel = cell.filter_name(edge, operation), cell.convolutions[operation]

        def convolved() -> Tensor:
            y = F.conv2d(node.active, weights[name], padding=kernel // 2)
            return normalise(term, y, f"{name.removesuffix('.weight')}.norm")

        return once(term, convolved)

    def joined(edges: Sequence[int]) -> _Node:
        arriving = [along(edge) for edge in edges]
        value = arriving[0] if len(arriving) == 1 else arriving[0] + arriving[1]
        for y in arriving[2:]:
            value.add_(y)
        return _Node(value)

    for target in range(1, space.nodes):
        edges = [e for e, (_, into) in enumerate(space.edges) if into == target and terms[e]]
        if edges:
            name = "+".join(sorted(term for edge in edges for term in terms[edge]))
            nodes[target] = once(f"node {name}", partial(joined, edges))
    last = nodes.get(space.nodes - 1)
    return torch.zeros_like(x_BCHW) if last is None else last.value


def _compute(name: str, compute: Callable[[], Any]) -> Any:
    return compute()


class _Latest:
    """The values used last, by name."""

    def __init__(self, size: int):
        self._size = size
        self._values: OrderedDict[str, Any] = OrderedDict()

    def get(self, name: str, compute: Callable[[], Any]) -> Any:
        """The value of this name, computed unless it is among them."""
        value = self._values.pop(name, None)
        self._values[name] = compute() if value is None else value
        if len(self._values) > self._size:
            self._values.popitem(last=False)
        return self._values[name]


def _named(norm: Norm, weights: Mapping[str, Tensor], owner: str) -> Normalise:
    """Batch norm by the names of the network's layers, for the values of one owner."""

    def normalise(
        y: Tensor, name: str, weight: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        return norm(y, (owner, name), weights.get(f"{name}.weight"), weights.get(f"{name}.bias"))

    return normalise


def _by_batch(y: Tensor, key: Key, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    return F.batch_norm(y, None, None, weight, bias, training=True, eps=EPSILON)


@dataclass
class _Moments:
    """Averages over batches of the means and unbiased variances of values, by key."""

    sums: dict[Key, Tensor] = field(default_factory=dict)
    seen: set[Key] = field(default_factory=set)
    count: int = 0

    def collect(self, y: Tensor, key: Key, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """Normalise by the batch, and note its moments; a value computed twice counts once."""
        # Moved in place, from 0 to the batch's own; two tensors, for cuDNN reads where one begins.
        mean_C, variance_C = y.new_zeros(y.shape[1]), y.new_zeros(y.shape[1])
        with readable(mean_C, variance_C, weight, bias):
            y = F.batch_norm(
                y, mean_C, variance_C, weight, bias, training=True, momentum=1.0, eps=EPSILON
            )
        if key not in self.seen:
            self.seen.add(key)
            moments_2C = torch.stack([mean_C, variance_C]).double()
            self.sums[key] = self.sums[key] + moments_2C if key in self.sums else moments_2C
        return y

    def next_batch(self) -> None:
        """A batch is over."""
        self.seen.clear()
        self.count += 1

    def apply(self, y: Tensor, key: Key, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """Normalise by the averages."""
        mean_C, variance_C = (self.sums[key] / self.count).to(y.dtype)
        with readable(mean_C, variance_C, weight, bias):
            return F.batch_norm(y, mean_C, variance_C, weight, bias, training=False, eps=EPSILON)

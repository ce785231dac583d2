"""Three iterations of every algorithm equal a plain reimplementation of them.

The twin is the naive supernet in train() or eval() mode, torch's own optimizers for the network
weights, and everything of alpha by hand. It shares with optnas the initial values, the batches and
the named random streams, and nothing else.

Shapes: B images, E edges, O operations.
"""

from __future__ import annotations

import copy
import math
import unittest.mock
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from naive_supernet import MixedEdge, NaiveSupernet
from scipy.stats import gamma
from tiny import train_batch, valid_batch
from torch import Tensor, nn
from torch.func import functional_call
from torch.testing import assert_close

from optnas.algorithms.base import Progress
from optnas.base.records import RunFolder
from optnas.base.seeds import named_generator
from optnas.data.batches import fresh_batch
from optnas.measures.evaluation import augmented_batch
from optnas.search.checkpoints import restore
from optnas.search.loop import run
from optnas.search.settings.layers import Layer, resolve
from optnas.search.settings.model import Settings
from optnas.search.state import SearchState, build_state
from optnas.search.steps import Batch, arch_step, weight_step

EPOCHS, BATCH, SIZE = 4, 8, 24
SIZES = {"channels": 2, "cells": 1}
MAX_NORM = 0.5
WEIGHT_LR, ARCH_LR = 0.1, 0.2
TIGHT = {"rtol": 1e-9, "atol": 1e-9}

DOCUMENT = {
    "protocol": "cpu",
    "search": {"epochs": EPOCHS, "batch_size": BATCH, "seed": 3},
    "supernet": SIZES | {"dtype": "float64", "alpha_scale": 1.0},
    "data": {"name": "digits", "train_size": SIZE, "valid_size": SIZE},
    "weight_optimizer": {"name": "SGD", "lr": WEIGHT_LR},
    "arch_optimizer": {"name": "Adam", "lr": ARCH_LR},
    "clipping": {"max_norm": MAX_NORM},
    "curvature": {"every": 3, "batch_size": BATCH},
    "run": {"device": "cpu"},
}


def settings(*layers: dict[str, Any]) -> Settings:
    return resolve([Layer("test", document) for document in (DOCUMENT, *layers)])


# --- the twin ---------------------------------------------------------------------------------


class EdgeWithAuxiliarySkip(nn.Module):
    """A mixed edge beside a skip connection that belongs to no candidate."""

    def __init__(self, edge: MixedEdge):
        super().__init__()
        self.edge, self.skip, self.beta = edge, nn.Identity(), 1.0

    @property
    def candidates(self) -> nn.ModuleList:
        return self.edge.candidates

    def forward(self, x_BCHW: Tensor, weights_O: Tensor) -> Tensor:
        return self.edge(x_BCHW, weights_O) + self.beta * self.skip(x_BCHW)


def clip_rows(rows_EO: Tensor) -> Tensor:
    """Each row clamped to [0, 1], its largest entry 1 if nothing is left, divided by its sum."""
    rows = []
    for row_O in rows_EO:
        clamped_O = row_O.clamp(0, 1)
        if clamped_O.sum() == 0:
            clamped_O[row_O.argmax()] = 1.0
        rows.append(clamped_O / clamped_O.sum())
    return torch.stack(rows)


sgd = partial(torch.optim.SGD, lr=WEIGHT_LR, momentum=0.9, weight_decay=3e-4)
nesterov = partial(torch.optim.SGD, lr=WEIGHT_LR, momentum=0.9, weight_decay=5e-4, nesterov=True)
adam = partial(torch.optim.Adam, lr=WEIGHT_LR, weight_decay=3e-4)


def dirichlet(alpha_EO: Tensor, uniform_EO: Tensor) -> Tensor:
    """A draw of Dir(elu(alpha) + 1) from gamma quantiles, differentiated by torch's own rule."""
    c_EO = F.elu(alpha_EO) + 1
    x_EO = torch.from_numpy(gamma.ppf(uniform_EO.numpy(), c_EO.detach().numpy()))
    drawn_EO = x_EO / x_EO.sum(-1, keepdim=True)
    with unittest.mock.patch.object(torch, "_sample_dirichlet", return_value=drawn_EO):
        return torch.distributions.Dirichlet(c_EO).rsample()


class Twin:
    """The search, restated plainly.

    Args:
        state: where the initial values come from.
        perturbation: what happens to A in the weight step.
        auxiliary: whether every edge has an auxiliary skip.
        unrolled: how the gradient of alpha passes through a virtual SGD step; "" if it does not.
        terms: of the Neumann series in SGD's step, in the gradient of alpha; 0 if there is none.
        frozen: whether alpha stays.
        beta: weight of the logsumexp penalty that would be reached after the last epoch.
        lambda_train: weight of the train loss that alpha descends.
        lambda_valid: weight of the validation loss that it descends.
        sampled: how each step draws A: ``hard`` Gumbel (10 to 0.1), ``soft`` (10 towards 1),
            ``dirichlet``, ``score`` (one-hot, with the score of the draw); "" if it does not.
        gates: weight of the zero-one loss of sigmoid gates, None for a softmax.
        floor: of operation weights on the simplex, which are then what is held here as alpha, and
            are multiplied by exponentiated gradients; None for a softmax.
        discrete: weight of the penalty on parameters, of cells that are one-hot in alpha, which
            stays in [0, 1]; None for a softmax.
        harmony: weight of the alignment of cells in the last epoch.
        tries: how many candidates of alpha are tried, after two steps of the weights each; 0 if
            alpha follows a gradient.
        uphill: length of a step uphill, from whose end alpha descends; 0 if there is none.
        at_alpha: whether the second derivative of that is taken before the step.
        also_counts: whose gradient counts in the clipping norm beside the weights'.
        tracked: whether evaluation uses running statistics.
        arch_updates: whether the alpha step's forward moves the running statistics.
        weights: torch's optimizer of the network weights.
        arch: rule that moves alpha, Adam (0.5, 0.999) or SGD with momentum 0.9; decay 1e-3.
        epochs: of the whole search.
    """

    def __init__(
        self,
        state: SearchState,
        *,
        perturbation: str = "none",
        auxiliary: bool = False,
        unrolled: str = "",
        terms: int = 0,
        frozen: bool = False,
        beta: float = 0.0,
        sampled: str = "",
        lambda_train: float = 0.0,
        lambda_valid: float = 1.0,
        gates: float | None = None,
        floor: float | None = None,
        discrete: float | None = None,
        harmony: float = 0.0,
        tries: int = 0,
        uphill: float = 0.0,
        at_alpha: bool = False,
        also_counts: str = "op-weights",
        tracked: bool = True,
        arch_updates: bool = True,
        weights: Callable[..., torch.optim.Optimizer] = sgd,
        arch: str = "Adam",
        epochs: int = EPOCHS,
    ):
        self.perturbation, self.unrolled, self.frozen = perturbation, unrolled, frozen
        self.terms = terms
        self.also_counts, self.tracked, self.arch_updates = also_counts, tracked, arch_updates
        self.arch, self.epochs = arch, epochs
        edges, operations = state.space.edges, state.space.operations
        self.net = NaiveSupernet(edges, operations, **SIZES, classes=10, image_channels=1).double()
        self.net.load(state.supernet.weights)
        self.auxiliaries = []
        if auxiliary:
            for cell in (cell for cells in self.net.stages for cell in cells):
                cell.edges = nn.ModuleList(map(EdgeWithAuxiliarySkip, cell.edges))
                self.auxiliaries.extend(cell.edges)
        self.alpha_EO = state.alpha_EO.detach().clone()
        self.floor = floor
        if floor is not None:
            self.alpha_EO = torch.full((6, 5), 0.2, dtype=torch.float64)
        self.discrete, self.at_bounds = discrete, 0
        if discrete is not None:
            self.alpha_EO = torch.full((6, 5), 0.5, dtype=torch.float64)
        self.optimizer = weights(self.net.parameters())
        self.lambda_train, self.lambda_valid = lambda_train, lambda_valid
        self.uphill, self.at_alpha = uphill, at_alpha
        self.steps, self.path, self.path_centred = 0, 0.0, 0.0
        self.first_EO = self.second_EO = torch.zeros_like(self.alpha_EO)
        self.beta, self.sampled, self.gates, self.harmony = beta, sampled, gates, harmony
        self.stream, self.draws = (named_generator(3, name) for name in ("perturbation", "draws"))
        self.tries, self.more, self.images = tries, named_generator(3, "more-train-batches"), state
        self.clipped: list[bool] = []

    def begin(self, epoch: int) -> None:
        self.penalty = self.beta * (epoch - 1) / self.epochs
        self.std = 0.3 * (1 + math.cos(math.pi * (epoch - 1) / self.epochs)) / 2
        self.pull = self.harmony * (epoch - 1) / (self.epochs - 1)
        last, steps = (1.0, self.epochs) if self.sampled == "soft" else (0.1, self.epochs - 1)
        self.tau = 10 + (last - 10) * (epoch - 1) / steps
        self.radius = 0.03 + (0.3 - 0.03) * (epoch - 1) / self.epochs
        for edge in self.auxiliaries:
            edge.beta = 1 - (epoch - 1) / self.epochs

    def draw(self) -> None:
        """Uniform numbers of the step that begins."""
        if self.sampled or self.tries:
            self.seed = seed = int(torch.randint(2**63 - 1, (), generator=self.draws))
            fresh = torch.Generator().manual_seed(seed)
            self.uniform_EO = torch.rand(self.alpha_EO.shape, generator=fresh, dtype=torch.float64)

    def relaxed(self, alpha_EO: Tensor) -> Tensor:
        if self.floor is not None:
            return alpha_EO
        if self.discrete is not None:
            one_hot_EO = F.one_hot(1 + alpha_EO[:, 1:].argmax(-1), 5).double()
            return alpha_EO + (one_hot_EO - alpha_EO).detach()
        if self.gates is not None:
            return 1 / (1 + torch.exp(-alpha_EO))
        if not self.sampled:
            return alpha_EO.softmax(-1)
        if self.sampled == "dirichlet":
            return dirichlet(alpha_EO, self.uniform_EO)
        noise_EO = -torch.log(-torch.log(self.uniform_EO))
        if self.sampled == "score":
            p_EO = alpha_EO.softmax(-1)
            drawn_EO = F.one_hot((torch.log(p_EO) + noise_EO).argmax(-1), 5).double()
            return drawn_EO * p_EO / p_EO.detach()
        soft_EO = ((torch.log(alpha_EO.softmax(-1)) + noise_EO) / self.tau).softmax(-1)
        if self.sampled == "soft":
            return soft_EO
        one_hot_EO = F.one_hot(soft_EO.argmax(-1), soft_EO.shape[-1])
        return soft_EO + (one_hot_EO - soft_EO).detach()

    def penalised(self, loss: Tensor, alpha_EO: Tensor) -> Tensor:
        """With the penalty on alpha."""
        if self.discrete is not None:
            # Of 144 weights of a 1x1 convolution of 12 channels, and 1296 of a 3x3 one.
            A_EO = self.relaxed(alpha_EO)
            return loss + self.discrete * (0.1 * A_EO[:, 2] ** 2 + 0.9 * A_EO[:, 3] ** 2).sum()
        if self.gates is not None:
            return loss - self.gates * F.mse_loss(
                alpha_EO.sigmoid(), torch.full((6, 5), 0.5).double()
            )
        return loss + self.penalty * alpha_EO.exp().sum(-1).log().mean()

    def loss(self, batch: Batch, A_EO: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Under batch statistics, with all buffers thrown away afterwards."""
        held = dict(self.net.named_parameters()) if weights is None else weights
        buffers = {name: buffer.clone() for name, buffer in self.net.named_buffers()}
        logits = functional_call(self.net.train(), held | buffers, (batch.images_BCHW, A_EO))
        return F.cross_entropy(logits, batch.labels_B)

    def arch_step(self, train: Batch, valid: Batch) -> None:
        if self.frozen:
            return
        self.draw()
        alpha_EO = self.alpha_EO.clone().requires_grad_()
        g_EO = torch.zeros_like(self.alpha_EO)
        if self.lambda_valid:
            moves = self.arch_updates
            g_EO += self.lambda_valid * self.outer_gradient(train, valid, alpha_EO, moves)
        if self.lambda_train:
            moves = self.arch_updates and not self.lambda_valid
            g_EO += self.lambda_train * self.outer_gradient(train, train, alpha_EO, moves)
        if self.tries:
            g_EO = -self.tried(valid, g_EO)
        self.move_alpha(g_EO)

    def tried(self, valid: Batch, g_EO: Tensor) -> Tensor:
        """The mean of what was added to alpha, by exp(-L / 0.5) over its density and 0.0001."""
        numbers = named_generator(self.seed, "candidates")
        seed = int(torch.randint(2**63 - 1, (), generator=self.more))
        fresh, half, batches = torch.Generator().manual_seed(seed), self.images.train, []
        for _ in range(2):
            indices_B = fresh_batch(len(half), BATCH, fresh)
            augmentation, dtype = self.images.augmentation, torch.float64
            batches.append(augmented_batch(half, indices_B, augmentation, fresh, dtype))
        total, mean_EO = 0.0, torch.zeros_like(g_EO)
        for _ in range(self.tries):
            z_EO = torch.randn(g_EO.shape, generator=numbers, dtype=torch.float64)
            free = torch.rand((), generator=numbers, dtype=torch.float64) < 0.4
            d_EO = self.std * z_EO - (0 if free else 1) * g_EO
            A_EO = (self.alpha_EO + d_EO).softmax(-1)
            net, optimizer = copy.deepcopy((self.net, self.optimizer))
            for batch in batches:
                optimizer.zero_grad()
                logits = net.train()(batch.images_BCHW, A_EO)
                F.cross_entropy(logits, batch.labels_B).backward()
                optimizer.step()
            with torch.no_grad():
                loss = F.cross_entropy(net.train()(valid.images_BCHW, A_EO), valid.labels_B)
            near, far = (float(each.square().sum()) for each in (d_EO + g_EO, d_EO))
            q = 0.6 * math.exp(-near / (2 * self.std**2)) + 0.4 * math.exp(-far / (2 * self.std**2))
            weight = math.exp(-float(loss) / 0.5) / (q + 1e-4)
            total, mean_EO = total + weight, mean_EO + weight * d_EO
        return mean_EO / total

    def outer_gradient(self, train: Batch, outer: Batch, alpha_EO: Tensor, moves: bool) -> Tensor:
        """Of the loss of a batch; to first order running statistics move, or not."""
        if self.unrolled == "finite-difference":
            return self.published(train, outer, alpha_EO)
        if self.terms:
            return self.implicit(train, outer, alpha_EO)
        if self.unrolled:
            loss = self.loss(outer, self.relaxed(alpha_EO), self.virtual_weights(train, alpha_EO))
        elif moves:
            logits = self.net.train()(outer.images_BCHW, self.relaxed(alpha_EO))
            loss = F.cross_entropy(logits, outer.labels_B)
        else:
            loss = self.loss(outer, self.relaxed(alpha_EO))
        loss = self.penalised(loss, alpha_EO)
        (g_EO,) = torch.autograd.grad(loss, alpha_EO)
        if self.uphill:
            g_EO = self.from_uphill(outer, alpha_EO.detach(), g_EO)
        return g_EO

    def from_uphill(self, valid: Batch, alpha_EO: Tensor, g_EO: Tensor) -> Tensor:
        """v + rho H v, v the gradient at alpha + rho g, H v from two more gradients."""

        def gradient(leaf_EO: Tensor) -> Tensor:
            leaf_EO = leaf_EO.clone().requires_grad_()
            return torch.autograd.grad(self.loss(valid, leaf_EO.softmax(-1)), leaf_EO)[0]

        above_EO = alpha_EO + self.uphill * g_EO
        v_EO = gradient(above_EO)
        centre_EO = alpha_EO if self.at_alpha else above_EO
        curved_EO = (gradient(centre_EO + 0.01 * v_EO) - gradient(centre_EO - 0.01 * v_EO)) / 0.02
        return v_EO + self.uphill * curved_EO

    def virtual_weights(self, train: Batch, alpha_EO: Tensor) -> dict[str, Tensor]:
        """w - lr (mu b + g + wd w), or the same with Nesterov, differentiable in alpha."""
        named = dict(self.net.named_parameters())
        inner = self.loss(train, self.relaxed(alpha_EO))
        gradients = torch.autograd.grad(inner, list(named.values()), create_graph=True)
        (group,) = self.optimizer.param_groups
        moved = {}
        for (name, w), g in zip(named.items(), gradients, strict=True):
            d = g + group["weight_decay"] * w.detach()
            past = self.optimizer.state[w].get("momentum_buffer", torch.zeros_like(w))
            buffer = group["momentum"] * past + d
            step = d + group["momentum"] * buffer if group["nesterov"] else buffer
            moved[name] = w.detach() - group["lr"] * step
        return moved

    def published(self, train: Batch, valid: Batch, alpha_EO: Tensor) -> Tensor:
        """Equations 7 and 8 of Liu et al., ICLR 2019, with xi the step's length in the gradient."""
        named = dict(self.net.named_parameters())
        reached = {
            name: w.detach().requires_grad_()
            for name, w in self.virtual_weights(train, alpha_EO).items()
        }
        loss = self.loss(valid, self.relaxed(alpha_EO), reached)
        loss = self.penalised(loss, alpha_EO)
        g_EO, *v = torch.autograd.grad(loss, [alpha_EO, *reached.values()])
        radius = 0.01 / torch.cat([each.flatten() for each in v]).norm()
        sides = []
        for sign in (1, -1):
            moved = {
                name: w.detach() + sign * radius * each
                for (name, w), each in zip(named.items(), v, strict=True)
            }
            loss = self.loss(train, self.relaxed(alpha_EO), moved)
            sides.append(torch.autograd.grad(loss, alpha_EO)[0])
        return g_EO - self.xi() * (sides[0] - sides[1]) / (2 * radius)

    def implicit(self, train: Batch, valid: Batch, alpha_EO: Tensor) -> Tensor:
        """d L_val / d alpha - xi (d/d alpha) <g, q>, q = v + (1 - xi (H + wd)) v + ..."""
        w, A_EO = list(self.net.parameters()), self.relaxed(alpha_EO)
        loss = F.cross_entropy(self.net.train()(valid.images_BCHW, A_EO), valid.labels_B)
        g_EO, *v = torch.autograd.grad(loss, [alpha_EO, *w], retain_graph=True)
        named = dict(self.net.named_parameters())
        inner = torch.autograd.grad(self.loss(train, A_EO, named), w, create_graph=True)
        (group,) = self.optimizer.param_groups
        xi, decay = self.xi(), group["weight_decay"]
        q = [torch.zeros_like(each) for each in v]
        for _ in range(self.terms):
            q = [a + b for a, b in zip(q, v, strict=True)]
            curved = torch.autograd.grad(inner, w, v, retain_graph=True)
            v = [b - xi * (h + decay * b) for b, h in zip(v, curved, strict=True)]
        (mixed_EO,) = torch.autograd.grad(inner, alpha_EO, q)
        return g_EO - xi * mixed_EO

    def xi(self) -> float:
        """How far SGD moves w for a unit of gradient."""
        (group,) = self.optimizer.param_groups
        return group["lr"] * (1 + group["momentum"] * group["nesterov"])

    @property
    def logits(self) -> Tensor:
        """Alpha as it is held elsewhere."""
        return self.alpha_EO if self.floor is None else self.alpha_EO.log()

    def move_alpha(self, g_EO: Tensor) -> None:
        self.steps += 1
        if self.floor is not None:
            before_EO = self.logits
            u_EO = (self.alpha_EO * torch.exp(-ARCH_LR * g_EO)).clamp(min=self.floor)
            self.alpha_EO = u_EO / u_EO.sum(-1, keepdim=True)
            self.count(self.logits - before_EO)
            return
        g_EO = g_EO + 1e-3 * self.alpha_EO
        if self.arch == "Adam":
            self.first_EO = 0.5 * self.first_EO + 0.5 * g_EO
            self.second_EO = 0.999 * self.second_EO + 0.001 * g_EO**2
            mean_EO = self.first_EO / (1 - 0.5**self.steps)
            square_EO = self.second_EO / (1 - 0.999**self.steps)
            move_EO = ARCH_LR * mean_EO / (square_EO.sqrt() + 1e-8)
        else:
            self.first_EO = 0.9 * self.first_EO + g_EO
            move_EO = ARCH_LR * self.first_EO
        before_EO, self.alpha_EO = self.alpha_EO, self.alpha_EO - move_EO
        if self.discrete is not None:
            self.alpha_EO = self.alpha_EO.clamp(0, 1)
            self.at_bounds += int(((self.alpha_EO == 0) | (self.alpha_EO == 1)).sum())
        self.count(self.alpha_EO - before_EO)

    def count(self, move_EO: Tensor) -> None:
        self.path += float(move_EO.square().sum().sqrt())
        seen_EO = torch.stack([row - row.sum() / len(row) for row in move_EO])
        self.path_centred += float(seen_EO.square().sum().sqrt())

    def weight_step(self, train: Batch) -> tuple[float, int]:
        self.draw()
        alpha_EO = self.alpha_EO.clone().requires_grad_()
        clean_EO = self.relaxed(alpha_EO)
        perturbed_EO = self.perturbed(clean_EO.detach(), train)
        # the value of the perturbed A with the derivative of the clean one
        used_EO = clean_EO + (perturbed_EO - clean_EO).detach()
        used_EO.retain_grad()
        logits = self.net.train()(train.images_BCHW, used_EO)
        loss = F.cross_entropy(logits, train.labels_B)
        self.optimizer.zero_grad()
        loss.backward()
        if self.pull:
            self.harmonise(train, perturbed_EO)
        also = {"nothing": [], "alpha": [alpha_EO], "op-weights": [used_EO]}[self.also_counts]
        counted = [*self.net.parameters(), *also]
        self.clipped.append(bool(nn.utils.clip_grad_norm_(counted, MAX_NORM) > MAX_NORM))
        self.optimizer.step()
        right = int((logits.argmax(-1) == train.labels_B).sum())
        return float(loss.detach()) * len(train.labels_B), right

    def harmonise(self, train: Batch, A_EO: Tensor) -> None:
        """Subtract the gradient of the mean cosine of two cells' gradients."""
        cells = [A_EO.clone().requires_grad_() for _ in range(3)]
        loss, named = self.loss(train, torch.stack(cells)), list(self.net.parameters())
        g = torch.autograd.grad(loss, cells, create_graph=True)
        cosines = [
            F.cosine_similarity(g[i].flatten(), g[j].flatten(), dim=0)
            for i, j in ((0, 1), (0, 2), (1, 2))
        ]
        slopes = torch.autograd.grad(sum(cosines) / 3, named, allow_unused=True)
        for w, slope in zip(named, slopes, strict=True):
            if slope is not None:
                w.grad = w.grad - self.pull * slope

    def noise(self, like: Tensor) -> Tensor:
        uniform = torch.rand(like.shape, generator=self.stream, dtype=torch.float64)
        return self.radius * (2 * uniform - 1)

    def perturbed(self, A_EO: Tensor, train: Batch) -> Tensor:
        if self.perturbation == "none":
            return A_EO
        if self.perturbation == "cell":
            draws_EO = torch.rand(A_EO.shape, generator=self.stream, dtype=torch.float64)
            return F.one_hot(draws_EO.argmax(-1), A_EO.shape[-1]).double()
        start_EO = clip_rows(A_EO + self.noise(A_EO))
        return start_EO if self.perturbation == "uniform" else self.attacked(A_EO, start_EO, train)

    def attacked(self, A_EO: Tensor, start_EO: Tensor, train: Batch) -> Tensor:
        def loss(op_weights_EO: Tensor) -> Tensor:
            if not self.tracked:
                return self.loss(train, op_weights_EO)
            logits = self.net.eval()(train.images_BCHW, op_weights_EO)
            return F.cross_entropy(logits, train.labels_B)

        now_EO = start_EO
        for _ in range(7):
            now_EO = now_EO.clone().requires_grad_()
            (g_EO,) = torch.autograd.grad(loss(now_EO), now_EO)
            moved_EO = now_EO.detach() + 2 * self.radius / 7 * g_EO.sign()
            now_EO = clip_rows(A_EO + (moved_EO - A_EO).clamp(-self.radius, self.radius))
        return A_EO if loss(A_EO) > loss(now_EO) else now_EO


# --- the comparison ---------------------------------------------------------------------------

NESTEROV = {"weight_optimizer": {"nesterov": True, "weight_decay": 5e-4}}
ADAM = {"weight_optimizer": {"name": "Adam", "lr": WEIGHT_LR}}
PLAIN_ON_ALPHA = {
    "arch_optimizer": {"name": "SGD", "lr": ARCH_LR, "momentum": 0, "weight_decay": 0}
}
SGD_ON_ALPHA = {"arch_optimizer": {"name": "SGD", "lr": ARCH_LR}}
WEIGHTS_ONLY = {"clipping": {"also_counts": "nothing"}}
ALPHA_TOO = {"clipping": {"also_counts": "alpha"}}
BATCH_NORM = {"supernet": {"batch_norm": "batch", "arch_step_updates_statistics": False}}
FROZEN_STATISTICS = {"supernet": {"arch_step_updates_statistics": False}}

# name -> (settings, the same in the twin's words)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "darts": ({"algorithm": {"name": "darts"}}, {}),
    "sdarts-rs": ({"algorithm": {"name": "sdarts-rs"}}, {"perturbation": "uniform"}),
    "sdarts-adv": ({"algorithm": {"name": "sdarts-adv"}}, {"perturbation": "attack"}),
    "darts-minus": ({"algorithm": {"name": "darts-minus"}}, {"auxiliary": True}),
    "random": ({"algorithm": {"name": "random"}}, {"frozen": True}),
    "rsps": ({"algorithm": {"name": "rsps"}}, {"frozen": True, "perturbation": "cell"}),
    "setn": ({"algorithm": {"name": "setn"}}, {"perturbation": "cell"}),
    "beta-darts": ({"algorithm": {"name": "beta-darts"}}, {"beta": 50.0}),
    "single-level": (
        {"algorithm": {"name": "single-level"}},
        {"lambda_train": 1.0, "lambda_valid": 0.0},
    ),
    "milenas": ({"algorithm": {"name": "milenas"}}, {"lambda_train": 1.0}),
    "milenas, weighted": (
        {"algorithm": {"name": "milenas", "lambda_train": 0.3, "lambda_valid": 2.0}},
        {"lambda_train": 0.3, "lambda_valid": 2.0},
    ),
    "gdas": ({"algorithm": {"name": "gdas"}}, {"sampled": "hard"}),
    "snas": ({"algorithm": {"name": "snas"}}, {"sampled": "soft"}),
    "dsnas": (
        {"algorithm": {"name": "dsnas"}},
        {"sampled": "score", "lambda_train": 1.0, "lambda_valid": 0.0},
    ),
    "dsnas, two levels": (
        {"algorithm": {"name": "dsnas", "hypergradient": "first-order"}},
        {"sampled": "score"},
    ),
    "drnas": ({"algorithm": {"name": "drnas"}}, {"sampled": "dirichlet"}),
    "fair-darts": ({"algorithm": {"name": "fair-darts"}}, {"gates": 10.0}),
    # The floor is reached in the second step.
    "gaea": ({"algorithm": {"name": "gaea", "floor": 0.2}} | PLAIN_ON_ALPHA, {"floor": 0.2}),
    "nasp": ({"algorithm": {"name": "nasp"}}, {"discrete": 0.0}),
    "nasp, complexity": (
        {"algorithm": {"name": "nasp", "complexity_weight": 0.3}},
        {"discrete": 0.3},
    ),
    "zarts": (
        {
            "algorithm": {
                "name": "zarts",
                "warmup": 0.0,
                "hypergradient": {
                    **{"name": "zeroth-order", "samples": 3, "steps": 2, "std": 0.3},
                    **{"temperature": 0.5, "unguided": 0.4},
                },
            }
        },
        {"tries": 3},
    ),
    "idarts": ({"algorithm": {"name": "idarts"}}, {"terms": 3}),
    "idarts, Nesterov": (
        {"algorithm": {"name": "idarts"}} | NESTEROV,
        {"terms": 3, "weights": nesterov},
    ),
    "lambda-darts": (
        {"algorithm": {"name": "lambda-darts", "derivative": "exact"}},
        {"harmony": 0.25},
    ),
    "a2m": ({"algorithm": {"name": "a2m", "rho": 3.0}}, {"uphill": 3.0}),
    "a2m, as in the paper": (
        {"algorithm": {"name": "a2m", "rho": 3.0, "reading": "paper"}},
        {"uphill": 3.0, "at_alpha": True},
    ),
    "darts, SGD on alpha": (SGD_ON_ALPHA, {"arch": "SGD"}),
    "darts, clipping counts weights only": (WEIGHTS_ONLY, {"also_counts": "nothing"}),
    "sdarts-rs, clipping counts alpha": (
        {"algorithm": {"name": "sdarts-rs"}} | ALPHA_TOO,
        {"perturbation": "uniform", "also_counts": "alpha"},
    ),
    "darts, alpha step leaves statistics": (FROZEN_STATISTICS, {"arch_updates": False}),
    "darts, batch statistics": (BATCH_NORM, {"tracked": False}),
    "sdarts-adv, batch statistics": (
        {"algorithm": {"name": "sdarts-adv"}} | BATCH_NORM,
        {"perturbation": "attack", "tracked": False},
    ),
    "darts, Adam on weights": (ADAM, {"weights": adam}),
    "darts, Nesterov": (NESTEROV, {"weights": nesterov}),
}
# The unrolled hypergradient, of SGD, beside each relaxation and beside a perturbation.
SAMPLED = ("gdas", "snas", "drnas")
SOFT = ("darts", "sdarts-rs", "darts-minus", "beta-darts", "fair-darts", "gaea", "setn")
for name in (*SOFT, "milenas, weighted", "nasp", "dsnas, two levels", *SAMPLED):
    for derivative in ("exact", "finite-difference"):
        part = {"name": "unrolled", "derivative": derivative}
        own = CASES[name][0]
        unrolled = own | {"algorithm": own["algorithm"] | {"hypergradient": part}}
        CASES[f"{name}, unrolled, {derivative}"] = (
            unrolled,
            CASES[name][1] | {"unrolled": derivative},
        )
for derivative in ("exact", "finite-difference"):
    CASES[f"darts, unrolled, {derivative}, Nesterov"] = (
        CASES[f"darts, unrolled, {derivative}"][0] | NESTEROV,
        {"unrolled": derivative, "weights": nesterov},
    )


def assert_same(state: SearchState, twin: Twin) -> None:
    assert_close(state.alpha_EO.detach(), twin.logits, **TIGHT)
    assert_close(state.path_lengths.tolist(), [twin.path, twin.path_centred], **TIGHT)
    ours = {name: weight.detach() for name, weight in state.supernet.weights.items()}
    theirs = {name: weight.detach() for name, weight in twin.net.named_weights().items()}
    assert_close(ours, theirs, **TIGHT)
    assert (state.statistics is not None) == twin.tracked
    if state.statistics is not None:
        named = state.supernet.named_statistics(state.statistics)
        assert_close(named, twin.net.named_statistics(), **TIGHT)


# Before every commit the unrolled hypergradient with one algorithm; the parts are independent.
LATER = [case for case in CASES if ", unrolled, " in case and not case.startswith("darts,")]


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=[pytest.mark.thorough] * (c in LATER)) for c in CASES]
)
def test_three_iterations_equal_the_twins(case: str) -> None:
    ours, theirs = CASES[case]
    state, batches = build_state(settings(ours)), build_state(settings(ours))
    twin = Twin(state, **theirs)
    for epoch in (1, 2, 3):
        indices_B = torch.randperm(SIZE, generator=named_generator(epoch, "test"))[:BATCH]
        train, valid = train_batch(batches, indices_B), valid_batch(batches)
        twin.begin(epoch)
        twin.arch_step(train, valid)
        total = twin.weight_step(train)

        progress, train = Progress(epoch, EPOCHS), train_batch(state, indices_B)
        arch_step(state, train, valid_batch(state), progress)
        score = weight_step(state, train, progress)
        assert_close((float(score.loss_sum), int(score.correct)), total, **TIGHT)
    assert_same(state, twin)
    assert any(twin.clipped), "the case never clips"
    assert twin.discrete is None or twin.at_bounds, "alpha never reaches 0 or 1"
    assert torch.equal(state.alpha_EO, state.alpha_start_EO) == twin.frozen


@pytest.mark.parametrize(
    ("protocol", "order", "weights", "batches", "also_counts"),
    [
        ("cpu", "arch-first", sgd, "fresh-batches", "op-weights"),
        ("nas-bench-201", "weights-first", nesterov, "independent-images", "alpha"),
    ],
)
@pytest.mark.thorough
def test_a_run_takes_the_steps_in_order_at_the_scheduled_rates(
    tmp_path: Path,
    protocol: str,
    order: str,
    weights: Callable[..., torch.optim.Optimizer],
    batches: str,
    also_counts: str,
) -> None:
    """The whole loop, measures included: one batch per epoch, learning rate 0.1 -> 0.001."""
    chosen = settings(
        {"protocol": protocol, "search": {"epochs": 3}, "data": {"train_size": BATCH}},
        {"algorithm": {"name": "sdarts-rs"}, "supernet": SIZES},
    )
    assert (chosen.search.step_order, chosen.search.valid_order) == (order, batches)
    folder = RunFolder(tmp_path / "run")
    with folder.created(chosen.document()):
        assert run(chosen, folder)["status"] == "done"
    state, source = build_state(chosen), build_state(chosen)
    twin = Twin(state, perturbation="uniform", weights=weights, epochs=3, also_counts=also_counts)
    losses = []
    for epoch in (1, 2, 3):
        indices_B = torch.randperm(BATCH, generator=source.generators["train-order"])
        train, valid = train_batch(source, indices_B), valid_batch(source)
        rate = 0.001 + (WEIGHT_LR - 0.001) * (1 + math.cos(math.pi * (epoch - 1) / 3)) / 2
        twin.optimizer.param_groups[0]["lr"] = rate
        twin.begin(epoch)
        if order == "arch-first":
            twin.arch_step(train, valid)
        losses.append(twin.weight_step(train)[0] / BATCH)
        if order == "weights-first":
            twin.arch_step(train, valid)
    restore(state, folder.checkpoint)
    assert_same(state, twin)
    assert_close([record["train_loss"] for record in folder.read_epochs()[1:]], losses, **TIGHT)

"""A genotype trained alone: both heads, dropped paths, clipping, and a training that goes on.

Run once beside quark0/darts (f276dd3, cnn/model.py, `NetworkCIFAR` on the CPU in float64, the
same weights, images of 32 x 32, drop path by the same masks), largest differences of the logits,
of those of the auxiliary head, and of the gradients of loss + 0.4 auxiliary loss: DARTS_V2 with 4
channels and 5 cells 1.3e-15, 1.5e-14 and 3.8e-13, with drop path 0.3 7.8e-16, 1.8e-15 and
1.8e-15; DARTS_V1 with 8 cells and drop path 0.2 1.6e-15, 3.7e-15 and 2.5e-14; DARTS_V2 with 36
channels and 20 cells, drop path 0.1, 2.0e-13, 1.1e-13 and 2.0e-11 of gradients up to 37. Logits
by running statistics differ by at most 2.1e-15. It has 3,349,342 parameters there and here, less
the auxiliary head.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from test_darts_space import DARTS_V2
from test_train import of
from tiny import assert_same
from torch import Tensor

import optnas
from optnas import UserError
from optnas.search.settings.layers import Layer
from optnas.search.standalone.cell import Epoch
from optnas.search.standalone.settings import load_settings
from optnas.search.standalone.train import Training, load_parts
from optnas.spaces import NAS_BENCH_201
from optnas.spaces.darts import DARTS, S4, fixed
from optnas.spaces.network.darts import noise_of
from optnas.spaces.network.darts_fixed import FixedTwoInputs
from optnas.spaces.network.protocol import RegularizedNetwork
from optnas.spaces.operations.base import Site

SMALL: dict[str, Any] = {
    "network": {"channels": 2, "drop_path": 0.5},
    "data": {"name": "digits", "train_size": 48, "valid_size": 32},
    "training": {"epochs": 2, "batch_size": 24, "seeds": [0]},
}
NOISY = (
    "Genotype(normal=[('noise', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('noise', 2), "
    "('sep_conv_3x3', 0), ('noise', 1), ('sep_conv_3x3', 1), ('noise', 3)], "
    "normal_concat=range(2, 6), reduce=[('noise', 0), ('sep_conv_3x3', 1), ('noise', 0), "
    "('sep_conv_3x3', 2), ('noise', 1), ('sep_conv_3x3', 3), ('noise', 0), ('sep_conv_3x3', 1)], "
    "reduce_concat=range(2, 6))"
)


def built(text: str = DARTS_V2, cells: int = 1) -> RegularizedNetwork:
    return fixed(
        DARTS.parse(text),
        auxiliary=True,
        channels=2,
        cells=cells,
        classes=10,
        image_channels=3,
        generator=torch.Generator().manual_seed(1),
        dtype=torch.float64,
    )


@pytest.mark.thorough
def test_the_auxiliary_head_and_dropped_paths_are_what_they_say() -> None:
    network = built()
    drawn = torch.Generator().manual_seed(2)
    x = torch.randn(3, 3, 32, 32, generator=drawn, dtype=torch.float64)
    w, start = network.weights, network.initial_statistics()

    def heads(draw: int, drop_path: float) -> tuple[Tensor, Tensor]:
        found = network.heads(x, statistics=None, update=False, draw=draw, drop_path=drop_path)
        assert found.auxiliary_BK is not None
        return found.logits_BK, found.auxiliary_BK

    torch.testing.assert_close(heads(0, 0.0)[0], network(x, statistics=None).logits_BK)
    assert all(map(torch.equal, heads(5, 0.5), heads(5, 0.5)))
    assert not torch.equal(heads(5, 0.5)[0], heads(6, 0.5)[0])
    # The head written out, on the output of the second reduction cell, which it is handed.
    assert isinstance(network, FixedTwoInputs)
    held, normalise, _ = network.begin(None, start, update=False)
    terms = network._terms(held, normalise, torch.Generator(), None)
    y = network.through(x, terms, held, normalise)[1].relu()
    assert y.shape[2:] == (8, 8)
    y = torch.stack([y[:, :, i : i + 5, j : j + 5].mean((2, 3)) for i in (0, 3) for j in (0, 3)], 2)
    scale = (1 + 1e-5) ** -0.5
    y = (w["auxiliary.conv_0.weight"][:, :, 0, 0] @ y * scale).relu()
    y = (w["auxiliary.conv_1.weight"].flatten(1) @ y.flatten(1).T).T
    y = (y * scale).relu()
    expected = F.linear(y, w["auxiliary.linear.weight"], w["auxiliary.linear.bias"])
    found = network.heads(x, statistics=start, update=False, draw=0, drop_path=0.0).auxiliary_BK
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_a_path_is_dropped_with_its_probability_and_the_identity_never() -> None:
    network = built()
    assert isinstance(network, FixedTwoInputs)
    kept_PB = network.kept(4000, 0.2, torch.Generator().manual_seed(1))
    # 5 cells: 3 normal with 2 skips of 8 edges, 2 reduction with 3 skips, none of them strided.
    assert len(kept_PB) == 3 * 6 + 2 * 5
    assert set(kept_PB.unique().tolist()) == {0.0, 1 / 0.8}
    assert float((kept_PB == 0).double().mean()) == pytest.approx(0.2, abs=0.005)


@pytest.mark.thorough
@pytest.mark.parametrize(("text", "space"), [(DARTS_V2, DARTS), (NOISY, S4)])
def test_a_training_goes_on_where_it_was_killed(text: str, space: Any, tmp_path: Path) -> None:
    asked = {**SMALL, "network": {"channels": 2, "drop_path": 0.5 if space is DARTS else 0.0}}
    words: dict[str, Any] = {"protocol": "darts-cpu", "space": space.name}
    result = optnas.train(text, asked, out=tmp_path / "whole", **words)

    def stop(at: Epoch) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optnas.train(text, asked, out=tmp_path / "cut", on_epoch=stop, **words)
    assert optnas.train(text, asked, out=tmp_path / "cut", **words) == result
    assert_same(of(tmp_path / "cut"), of(tmp_path / "whole"))
    kept = of(tmp_path / "whole")["checkpoints"]["seed-0.pt"]
    assert "regularization" in kept["generators"]
    module = optnas.network(tmp_path / "whole")
    assert module(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert optnas.network(text, space=space.name, channels=2, cells=1)(
        torch.rand(2, 3, 8, 8)
    ).shape == (2, 10)


def test_it_is_as_large_as_the_published_one() -> None:
    sizes: dict[str, Any] = {"channels": 36, "cells": 6, "classes": 10, "image_channels": 3}
    network = fixed(DARTS.parse(DARTS_V2), **sizes, generator=torch.Generator())
    assert sum(w.numel() for w in network.weights.values()) == 3_349_342


@pytest.mark.thorough
def test_a_network_with_an_auxiliary_head_is_read_back(tmp_path: Path) -> None:
    asked: dict[str, Any] = {
        "network": {"channels": 2, "cells": 1, "auxiliary_weight": 0.4},
        "data": {
            **{"name": "digits", "train_size": 16, "valid_size": 16, "resolution": 32},
            "test": "none",
        },
        "training": {"epochs": 1, "batch_size": 16, "seeds": [0]},
    }
    out = tmp_path / "trained"
    optnas.train(DARTS_V2, asked, out=out, protocol="darts-cpu", space="darts")
    module, x = optnas.network(out), torch.rand(2, 1, 32, 32)
    kept = of(out)["checkpoints"]["seed-0.pt"]["weights"]
    assert_same(dict(module.state_dict()), {**module.state_dict(), **kept})
    assert "auxiliary.linear.weight" in kept
    module.save(tmp_path / "net.safetensors")
    assert torch.equal(optnas.network(tmp_path / "net.safetensors")(x), module(x))


@pytest.mark.thorough
def test_a_step_descends_both_losses_with_a_clipped_gradient() -> None:
    given = {
        "network": {"channels": 2, "cells": 1, "auxiliary_weight": 0.4, "drop_path": 0.2},
        "data": {"name": "digits", "train_size": 8, "valid_size": 8, "resolution": 32},
        "training": {"epochs": 4, "batch_size": 8, "seeds": [0], "max_norm": 0.01},
        "optimizer": {"weight_decay": 0.0, "momentum": 0.0},
    }
    settings = load_settings(DARTS, "darts-cpu", over=[Layer("test", given)])
    parts = load_parts(settings)
    training = Training(settings, parts, DARTS.parse(DARTS_V2), 0)
    before = {name: w.detach().clone() for name, w in training.network.weights.items()}
    seen: list[dict[str, Any]] = []
    network: Any = training._regularized
    heads = network.heads
    network.heads = lambda *x, **modes: seen.append(modes) or heads(*x, **modes)
    for _ in range(3):
        training.train_epoch()
    assert [each["drop_path"] for each in seen] == pytest.approx([0.0, 0.05, 0.1])
    assert len({each["draw"] for each in seen}) == 3
    last = "auxiliary.linear.weight"
    assert not torch.equal(training.network.weights[last], before[last])
    rates = [0.025 * (1 + math.cos(math.pi * e / 4)) / 2 for e in range(3)]
    every = [(w.detach() - before[name]).flatten() for name, w in training.network.weights.items()]
    assert 0 < float(torch.cat(every).norm()) <= 0.01 * sum(rates) * (1 + 1e-4)


@pytest.mark.parametrize(
    ("space", "network", "told"),
    [
        (NAS_BENCH_201, {"drop_path": 0.2}, "networks of nas-bench-201 have no auxiliary head"),
        (DARTS, {"auxiliary_weight": 0.4}, "the auxiliary head is for sides of 32 pixels"),
    ],
)
def test_what_has_no_such_part_is_told(space: Any, network: dict[str, Any], told: str) -> None:
    given = {**SMALL, "network": {"channels": 2, **network}}
    with pytest.raises(UserError, match=told):
        load_settings(space, "cpu", over=[Layer("test", given)])


def test_noise_of_a_strided_edge_has_half_the_sides() -> None:
    drawn = noise_of(torch.Generator().manual_seed(0))(torch.zeros(2, 3, 5, 4), Site(3, 3, 2))
    assert drawn.shape == (2, 3, 3, 2)

"""Random streams by name, so that what is drawn for one purpose never moves another.

A run's seed names one stream for each purpose:

    split               which rows train the network weights and which the architecture
    weight-init         initial network weights
    alpha-init          initial architecture parameters
    train-order         batches of the inner problem
    valid-order         batches of the outer problem
    train-augmentation  crops, flips and cutouts of the inner problem's batches
    valid-augmentation  crops, flips and cutouts of the outer problem's batches
    perturbation        draws of the algorithm, such as random perturbations
    draws               one number per step, of algorithms that draw in their relaxation or in
                        their hypergradient
    operation-noise     one number per batch of a step, of a space whose operations draw noise and
                        of an algorithm that drops parts of skips
    regularization      one number per batch of a stand-alone training that drops paths or whose
                        operations draw noise
    more-train-batches  further train batches of an alpha step, if its hypergradient asks for them
    more-valid-batches  further validation batches of an alpha step, and what is drawn for each, if
                        its hypergradient asks for them
    recalibration-N     batches that statistics are collected anew from after epoch N, where an
                        optimizer judges the weights at another point than it trains them
    evaluation-N        crops, flips and cutouts of the validation pass after epoch N, where the
                        protocol judges augmented images
    selection-N         draws of an algorithm that selects its cell, at the beginning of epoch N
    measure/NAME/N      draws of a measure after epoch N
    proxies             initial weights of stand-alone networks that nothing trains, each from its
                        start

Two optimizer pairs with the same seed thus see the same data and the same start, and their
difference is paired. All draws are made on the CPU: the numbers do not depend on the device. Those
of a search's steps are made for a whole epoch at once, in the order of the steps.
"""

from __future__ import annotations

import hashlib
import random
from typing import Any

import numpy as np
import torch


def named_generator(seed: int, name: str) -> torch.Generator:
    """A CPU generator for one purpose of one run.

    The generator's seed is the first 64 bits of SHA-256("SEED/NAME"), so a stream depends on no
    other name, and neighbouring seeds have unrelated streams. The global generator is neither read
    nor moved. The CPU engine itself keeps the low 32 bits of a seed: two given streams coincide
    with probability 2^-32.

    Args:
        seed: the seed of the run.
        name: the purpose, such as ``train-order``.

    Returns:
        A new generator at the start of its stream.

    Example:
        >>> named_generator(0, "split").initial_seed() == named_generator(0, "split").initial_seed()
        True
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))


def global_states() -> dict[str, Any]:
    """Where the generators that the whole process shares stand, by whose they are.

    Returns:
        States of torch (the CPU's, and each GPU's once one is in use), numpy and Python.
    """
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {
        "torch": [torch.get_rng_state(), *gpus],
        "numpy": np.random.get_state(),
        "python": random.getstate(),
    }


def set_global_states(states: dict[str, Any]) -> None:
    """Put the generators of the whole process where they stood.

    Args:
        states: as `global_states` returned them.
    """
    cpu, *gpus = states["torch"]
    torch.set_rng_state(cpu)
    if gpus:
        torch.cuda.set_rng_state_all(gpus)
    np.random.set_state(states["numpy"])
    random.setstate(states["python"])


def moved_since(states: dict[str, Any]) -> str | None:
    """Whose generator of the whole process has been drawn from, or seeded, in the meantime.

    Args:
        states: as `global_states` returned them.

    Returns:
        ``torch``, ``numpy`` or ``python``, the first of them, or None.
    """
    now = global_states()
    same = {
        # A GPU that came into use meanwhile has no state from before.
        "torch": all(map(torch.equal, states["torch"], now["torch"])),
        "numpy": all(map(np.array_equal, states["numpy"], now["numpy"])),
        "python": states["python"] == now["python"],
    }
    return next((name for name, is_same in same.items() if not is_same), None)

"""An optimizer's state handed back as it was saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def load_state(optimizer: torch.optim.Optimizer, state_dict: Mapping[str, Any]) -> None:
    """Load a state, with the numbers in it as they were.

    Args:
        optimizer: as it was made, before its first step.
        state_dict: of one that was made alike, from a checkpoint.
    """
    optimizer.load_state_dict(dict(state_dict))
    restore_numbers(optimizer, state_dict)


def restore_numbers(optimizer: torch.optim.Optimizer, state_dict: Mapping[str, Any]) -> None:
    """Put the numbers of a state back to the type they were saved in, where its steps have them.

    Torch takes what is floating for a tensor like the leaf, and hands it back in the leaf's type
    and place. But NAdam's ``mu_product`` and ASGD's ``eta`` are in single precision whatever the
    leaf is, and the former lies on the CPU.

    Args:
        optimizer: it has loaded the state; one of several inside has loaded theirs by `load_state`.
        state_dict: the state.
    """
    if getattr(optimizer, "inner", ()):
        return
    groups = zip(optimizer.param_groups, state_dict["param_groups"], strict=True)
    for group, saved_group in groups:
        for leaf, place in zip(group["params"], saved_group["params"], strict=True):
            for key, saved in state_dict["state"].get(place, {}).items():
                if isinstance(saved, Tensor) and saved.ndim == 0 < leaf.ndim:
                    state = optimizer.state[leaf]
                    state[key] = saved.to(_place(optimizer, group, leaf, state[key]), saved.dtype)


def _place(
    optimizer: torch.optim.Optimizer, group: Mapping[str, Any], leaf: Tensor, loaded: Tensor
) -> torch.device:
    """Where the first step makes a number of a leaf's state."""
    if isinstance(optimizer, torch.optim.ASGD):
        return leaf.device
    # Torch's word for steps that are counted on the CPU; a fused step counts on the device.
    if group.get("capturable") is False and not group.get("fused"):
        return torch.device("cpu")
    return loaded.device

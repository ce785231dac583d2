"""A search saved and restored bit for bit; what is restored has been verified before.

A checkpoint is a zip archive of torch's. Every byte of its content stands under a checksum, which
is compared first; then names, shapes, types and ranges with those of the search it is for.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch

from optnas.base.errors import UserError
from optnas.base.escapes import for_shell
from optnas.base.files import regular, write_atomically
from optnas.base.records import Written
from optnas.optimizers.reloading import load_state
from optnas.search.settings.model import FORMAT
from optnas.search.state import SearchState, on_device

FROM_THE_BEGINNING = "delete it to start this run from the beginning"


def save(state: SearchState, path: Path, *, keep: Path | None = None) -> None:
    """Write a checkpoint atomically; it reads back with ``weights_only=True``.

    Args:
        state: the search after an epoch.
        path: the file.
        keep: where the checkpoint that stood there before is kept.
    """
    write_content(path, {"hash": state.settings.hash, **content_of(state)}, keep=keep)


def write_content(path: Path, content: Mapping[str, Any], *, keep: Path | None = None) -> None:
    """Write tensors, numbers and tables of them atomically; `read_content` reads them.

    Args:
        path: the file.
        content: what it holds.
        keep: where what stood there before is kept.
    """

    def write(file: IO[bytes]) -> None:
        try:
            torch.save({"format": FORMAT, **content}, file)
        except RuntimeError as error:
            # Torch's writer puts an error of its own in the place of what stopped it: an
            # interruption, a full disk.
            if error.__context__ is None:
                raise
            raise error.__context__ from None

    write_atomically(path, write, keep=keep)


def content_of(state: SearchState) -> dict[str, Any]:
    """All that a search goes on from; it shares the state's memory.

    Args:
        state: the search after an epoch.

    Returns:
        Tensors, numbers and tables of them.
    """
    statistics = state.statistics
    return {
        "epoch": state.epoch,
        "records_bytes": state.records.size,
        "records_sha256": state.records.sha256,
        "seconds": state.seconds,
        "weights": {name: weight.detach() for name, weight in state.supernet.weights.items()},
        "statistics": None if statistics is None else [statistics.mean_S, statistics.variance_S],
        "alpha": state.alpha_EO.detach(),
        "alpha_start": state.alpha_start_EO,
        "path_lengths": state.path_lengths,
        "weight_optimizer": state.weight_optimizer.state_dict(),
        "arch_optimizer": state.arch_optimizer.state_dict(),
        "generators": {name: g.get_state() for name, g in state.generators.items()},
        "passes": state.passes.state_dict(),
        **({"memory": dict(state.memory)} if state.memory else {}),
    }


def restore(state: SearchState, path: Path, *, remedy: str = FROM_THE_BEGINNING) -> None:
    """Bring a freshly built state to a checkpoint's; one that does not fit changes nothing.

    Args:
        state: as `build_state` made it from the same settings; changed in place.
        path: the checkpoint.
        remedy: what to do about a checkpoint that cannot be used.

    Raises:
        UserError: the file is damaged, or belongs to another run.
    """
    try:
        content = read_content(path)
        # A bare tensor would answer a text as key with a warning.
        belongs = dict(content)["format"] == FORMAT and content["hash"] == state.settings.hash
        if belongs:
            _check_form(content, state)
            _restore(state, content)
    except Exception as error:  # a damaged file fails in whichever way its bytes decide
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        if isinstance(error, KeyError):
            reason = f"it lacks {reason}"
        raise UserError(
            f"not a readable checkpoint ({reason})", where=path, remedy=_offered(path, remedy)
        ) from error
    if not belongs:
        raise UserError("the checkpoint of another run", where=path, remedy=remedy)


def _offered(path: Path, remedy: str) -> str:
    """The checkpoint of the epoch before may do, where the last one does not."""
    previous = path.with_name("previous.pt")
    if path.name != "last.pt" or not previous.exists():
        return remedy
    return (
        f"go on from the epoch before it: mv {for_shell(previous)} {for_shell(path)}; or {remedy}"
    )


def read_content(path: Path) -> dict[str, Any]:
    """The content of a file, once the archive's own checksums have been compared with its bytes.

    Args:
        path: what `write_content` wrote; a damaged file fails in whichever way its bytes decide.

    Raises:
        ValueError: a checksum does not match.
    """
    with zipfile.ZipFile(regular(path)) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"the checksum of {damaged} does not match")
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


def _check_form(content: dict[str, Any], state: SearchState) -> None:
    """Names, shapes, types and ranges are those of the state that the checkpoint is for."""
    mine = content_of(state)
    for key in mine.keys() - {"weight_optimizer", "arch_optimizer", "passes", "memory"}:
        compare(key, mine[key], content[key])
    start, memory = state.algorithm.start, content.get("memory", {})
    if not (start or dict)().keys() <= memory.keys():
        raise ValueError("memory lacks names")
    for name, tensor in memory.items():
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"memory.{name} is a {type(tensor).__name__}, not a Tensor")
    for key in ("weight_optimizer", "arch_optimizer"):
        for part in ("param_groups", "state"):
            compare(f"{key}.{part}", mine[key][part], content[key][part], same_keys=False)
    passes = content["passes"]
    # A short last batch leaves the cursor beyond the order.
    size, batch = len(passes["order"]), state.settings.search.batch_size
    if not (0 <= passes["cursor"] < size + batch and size in (0, len(state.valid))):
        raise ValueError(f"passes.cursor is {passes['cursor']}")
    if not -1 <= content["epoch"] <= state.settings.search.epochs:
        raise ValueError(f"epoch is {content['epoch']}")
    for key in ("seconds", "records_bytes"):
        if not 0 <= content[key] < math.inf:
            raise ValueError(f"{key} is {content[key]}")


def compare(key: str, mine: Any, other: Any, *, same_keys: bool = True) -> None:
    """Refuse a value of another form than one's own: type, shape, names.

    Args:
        key: what it is, for the error.
        mine: one's own value.
        other: the value.
        same_keys: whether tables must have the same names, and lists the same length.

    Raises:
        ValueError: it is of another form.
        TypeError: it is of another type.
    """
    number = isinstance(mine, (int, float)) and isinstance(other, (int, float))
    if type(mine) is not type(other) and not number:
        raise TypeError(f"{key} is a {type(other).__name__}, not a {type(mine).__name__}")
    if isinstance(mine, torch.Tensor):
        if mine.shape != other.shape or mine.dtype != other.dtype:
            raise ValueError(f"{key} is {other.dtype} {list(other.shape)}")
    elif isinstance(mine, dict):
        if same_keys and mine.keys() != other.keys():
            raise ValueError(f"{key} has other names")
        if mine.get("params") != other.get("params"):  # places of an optimizer's tensors
            raise ValueError(f"{key} has other parameters")
        for name in mine.keys() & other.keys():
            compare(f"{key}.{name}", mine[name], other[name], same_keys=same_keys)
    elif isinstance(mine, (list, tuple)):
        if same_keys and len(mine) != len(other):
            raise ValueError(f"{key} has {len(other)} entries")
        for place, pair in enumerate(zip(mine, other, strict=False)):
            compare(f"{key}.{place}", *pair, same_keys=same_keys)


def _restore(state: SearchState, content: dict[str, Any]) -> None:
    with torch.no_grad():
        for name, weight in state.supernet.weights.items():
            weight.copy_(content["weights"][name])
        state.alpha_EO.copy_(content["alpha"])
        state.alpha_start_EO.copy_(content["alpha_start"])
        state.path_lengths.copy_(content["path_lengths"])
        if state.statistics is not None:
            state.statistics.mean_S.copy_(content["statistics"][0])
            state.statistics.variance_S.copy_(content["statistics"][1])
    load_state(state.weight_optimizer, content["weight_optimizer"])
    load_state(state.arch_optimizer, content["arch_optimizer"])
    state.passes.load_state_dict(content["passes"])
    for name, generator in state.generators.items():
        generator.set_state(content["generators"][name])
    state.memory = on_device(state.alpha_EO.device, content.get("memory", {}))
    state.epoch = content["epoch"]
    state.records = Written(content["records_bytes"], content["records_sha256"])
    state.seconds = content["seconds"]

"""Networks of cells and of searches as ``torch.nn.Module``, with their weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, SupportsIndex

from optnas.base.contents import check_training
from optnas.base.errors import Origins, UserError
from optnas.base.escapes import for_shell
from optnas.base.files import present
from optnas.base.folder import Place, folder_path
from optnas.base.records import RunFolder
from optnas.base.seeds import named_generator
from optnas.base.toml import nest, read_toml
from optnas.search.checkpoints import restore
from optnas.search.observe import snapshot_of
from optnas.search.settings.layers import reread
from optnas.search.standalone.cell import CONFIG, checkpoint_of, read_checkpoint
from optnas.search.standalone.found import find
from optnas.search.state import build_state
from optnas.spaces import Architecture, build_space
from optnas.spaces.network import Statistics, build_fixed
from optnas.spaces.network.module import NetworkModule, Pictures, read_saved

SUFFIX = ".safetensors"


def network(
    what: Place | SupportsIndex,
    *,
    seed: int | None = None,
    space: str | None = None,
    channels: int | None = None,
    cells: int | None = None,
    classes: int | None = None,
    image_channels: int | None = None,
) -> NetworkModule:
    """The network of one cell, to predict with or to train on.

    Args:
        what: the folder of a training (``optnas train``), for the trained network; a file that
            `NetworkModule.save` wrote; or an architecture string or index, for initial weights.
        seed: which network of a training, by default its first; of initial weights, by default 0.
        space: of an architecture string; that of the default protocol if None.
        channels: of the first stage, for initial weights, as the rest; by default 16, with 5 cells
            the sizes of NAS-Bench-201.
        cells: cells per stage, by default 5.
        classes: number of classes, by default 10.
        image_channels: channels of the images, by default 3.

    Returns:
        The module, in evaluation mode. With initial weights it normalises nothing.

    Raises:
        UserError: there is no such training, seed or cell, a file of it is damaged, or a network
            with trained weights has another size or space than is asked.
    """
    given = {"channels": channels, "cells": cells, "classes": classes}
    given |= {"image_channels": image_channels}
    asked = {key: size for key, size in given.items() if size is not None}
    if not isinstance(what, SupportsIndex):
        path = folder_path(what, "what")
        if path.suffix == SUFFIX:
            more = {} if seed is None else {"seed": seed}
            return _as_asked(_of_file(path), path, space, asked | more)
        if present(path / CONFIG):
            return _as_asked(_of_training(path, seed), path, space, asked)
        if present(path / "config.toml"):
            raise UserError(
                "is a search, whose cell has no weights of its own yet",
                where=path,
                remedy=f"optnas train {for_shell(path)} --out DIR; "
                f"or take optnas.supernet({str(path)!r})",
            )
    found = find(what, space)
    sizes = {"channels": 16, "cells": 5, "classes": 10, "image_channels": 3, **asked}
    pictures = Pictures((0.0,) * sizes["image_channels"], (1.0,) * sizes["image_channels"])
    return _module(found.architecture, found.space, sizes, pictures, seed=seed or 0)


def _as_asked(
    module: NetworkModule, path: Path, space: str | None, asked: Mapping[str, int]
) -> NetworkModule:
    """A network with trained weights, which has its own sizes, seed and space."""
    has = {"space": module.facts["space"]["name"], **module.facts["sizes"]}
    named = {} if space is None else {"space": space}
    for key, value in {**named, **asked}.items():
        if value != has.get(key):
            told = f"this network has {has[key]}" if key in has else "its weights are trained"
            raise UserError(
                f"is for initial weights, and {told}",
                where=path,
                key=key,
                value=value,
                remedy="leave it out; for initial weights give the cell's string, "
                "module.facts['architecture']",
            )
    return module


def _module(
    architecture: Architecture,
    space: Mapping[str, Any],
    sizes: Mapping[str, Any],
    pictures: Pictures,
    *,
    seed: int = 0,
    statistics: Statistics | None = None,
) -> NetworkModule:
    built = build_fixed(architecture, **sizes, generator=named_generator(seed, "weight-init"))
    facts = {"space": dict(space), "architecture": architecture.string, "sizes": dict(sizes)}
    if statistics is None:
        statistics = built.initial_statistics()
    module = NetworkModule(built.weights, built.__call__, statistics, pictures, facts)
    return module.eval()


def _of_training(folder: Path, seed: int | None) -> NetworkModule:
    where = folder / CONFIG
    document = read_toml(where)
    check_training(document, where)
    seeds, images = document["training"]["seeds"], document["images"]
    asked = document["network"]
    sizes = {key: asked[key] for key in ("channels", "cells")} | {"classes": images["classes"]}
    sizes |= {"auxiliary": True} if asked.get("auxiliary_weight") else {}
    sizes["image_channels"] = images["channels"]
    pictures = Pictures(
        tuple(images["mean"]),
        tuple(images["std"]),
        document["data"]["resolution"],
        tuple(images["class_names"]),
    )
    space, text = document["space"], document["architecture"]
    epochs, identity = document["training"]["epochs"], document["identity"]["hash"]
    seed = seeds[0] if seed is None else seed
    path = checkpoint_of(folder, seed)
    if not present(path):
        names = [each.stem.removeprefix("seed-") for each in path.parent.glob("seed-*.pt")]
        there = sorted(int(name) for name in names if name.isdecimal())
        others = f"use one of: {', '.join(map(str, there))}; " if there else ""
        raise UserError(
            "its checkpoint is not there" if seed in seeds else "this seed has not been trained",
            where=folder,
            key="seed",
            value=seed,
            remedy=f"{others}give optnas train again"
            + (", which trains it again" if seed in seeds else f" with --seeds {seed}"),
        )
    content = read_checkpoint(path, identity)
    if content["epoch"] < epochs:
        raise UserError(
            f"its training stands at epoch {content['epoch']} of {epochs}",
            where=path,
            remedy="let optnas train finish it",
        )
    module = _module(_cell_in(space, text, where), space, sizes, pictures)
    mean_S, variance_S = content["statistics"]
    running = {"running_mean": mean_S, "running_var": variance_S}
    try:
        module.load_state_dict({**module.state_dict(), **content["weights"], **running})
    except RuntimeError as error:
        raise UserError(
            f"the weights in {path.name} are not of the network that it tells",
            where=where,
            remedy="restore the file",
        ) from error
    return module


def _cell_in(space: Mapping[str, Any], text: str, where: Path) -> Architecture:
    """The cell of a training.toml, whose space is checked as that of a search is."""
    with Origins(where).told():
        return build_space(space).parse(text, where=where)


def _of_file(path: Path) -> NetworkModule:
    told, tensors = read_saved(path)
    if "sizes" not in told:
        raise UserError(
            "holds a supernet, which only its run can build",
            where=path,
            remedy="read its tensors with safetensors.torch.load_file",
        )
    held = told["pictures"]
    mean, std, names = (tuple(held[key]) for key in ("mean", "std", "class_names"))
    pictures = Pictures(mean, std, held["resolution"], names)
    cell = build_space(told["space"]).parse(told["architecture"], where=path)
    module = _module(cell, told["space"], told["sizes"], pictures)
    module.load_state_dict(tensors)
    return module


def supernet(
    run: Place, settings: Mapping[str, Any] | None = None, *, epoch: int | None = None
) -> NetworkModule:
    """The supernet of a search, with its weights and its operation weights.

    Args:
        run: the run's folder; its images have to be there, as for `optnas.measure`.
        settings: new values of ``run.*`` or of where data lie; with ``run.device`` the module and
            its images are there, and else on the CPU, wherever the run was.
        epoch: one whose checkpoint was kept, by default the last.

    Returns:
        The module, in evaluation mode; ``module.op_weights`` is relax(alpha) of that epoch, and may
        be set, such as to the one-hot matrix of a cell.

    Raises:
        UserError: there is no run, no such checkpoint, or its files do not fit together.
    """
    folder = RunFolder(run)
    given = nest(settings or {})
    run_section = given.get("run", {})
    if isinstance(run_section, Mapping):  # what else it is, is refused below
        given = {**given, "run": {"device": "cpu", **run_section}}
    complete = reread(folder.read_config(), folder.config, given)
    # Steps multiply in the run's precision, of which a module takes none: a CPU refuses tf32.
    plain = complete.supernet.model_copy(update={"precision": "float32"})
    state = build_state(complete.model_copy(update={"supernet": plain}))
    state.settings = complete
    path = folder.checkpoint if epoch is None else folder.kept(epoch)
    if not present(path):
        kept = ", ".join(map(str, folder.kept_epochs()))
        raise UserError(
            "the run kept no checkpoint of this epoch",
            where=folder.path,
            key="epoch",
            value=epoch,
            remedy=f"use one of: {kept}; leave it out for the last" if kept else "leave it out",
        )
    restore(state, path)
    snapshot = snapshot_of(state)
    facts = {
        "space": complete.space.model_dump(),
        "architecture": state.space.architecture(snapshot.choice).string,
        "epoch": state.epoch,
    }
    images = state.train
    pictures = Pictures(
        tuple(images.mean_C.tolist()), tuple(images.std_C.tolist()), complete.data.resolution
    )
    module = NetworkModule(
        state.supernet.weights,
        state.supernet.__call__,
        state.statistics,
        pictures,
        facts,
        snapshot.op_weights_EO.detach(),
    )
    return module.eval()

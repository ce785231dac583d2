"""What is to be trained alone, and how: the cell a run found, or any other. No image is read."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

from optnas.base.errors import UserError
from optnas.base.escapes import for_shell
from optnas.base.folder import Place
from optnas.base.json import digest
from optnas.base.records import RunFolder
from optnas.base.toml import nest
from optnas.data.splits import KINDS
from optnas.search.settings.check import SIZES, SearchImages
from optnas.search.settings.complete import any_images, open_dataset
from optnas.search.settings.layers import Layer, default_space, recorded_in
from optnas.search.settings.model import Settings
from optnas.search.standalone.settings import (
    OWN_DATA_KEYS,
    SHELF,
    TrainingSettings,
    load_settings,
)
from optnas.spaces import Architecture, build_space

DEFAULT_PROTOCOL = "cpu"
# The split of a search that depends on its seed.
SEEDED = "random-halves"


@dataclass(frozen=True)
class Found:
    """What is to be trained.

    Attributes:
        architecture: the cell.
        space: the ``[space]`` section that names its space.
        run: the run that found it, None if none did.
        settings: of that run.
    """

    architecture: Architecture
    space: Mapping[str, Any]
    run: Path | None = None
    settings: Settings | None = None

    @property
    def below(self) -> list[Layer]:
        """What holds unless something else is said: the images as the search saw them."""
        if self.run is None or self.settings is None:
            return []
        data, own = self.settings.data, self.settings.augmentation
        seed = {"split_seed": self.settings.search.seed} if data.split == SEEDED else {}
        flips = {"crop_padding": own.crop_padding, "flip": own.flip}
        document = {"data": {**data.model_dump(), **seed}, "augmentation": flips}
        return [Layer(RunFolder(self.run).config, document)]


def find(what: Place | SupportsIndex, space: str | None = None) -> Found:
    """The cell that a run's folder, an architecture string, a genotype or an index stands for.

    Args:
        what: a folder with a finished run, a string such as ``|op~0|+...``, a genotype, operation
            indices with commas between them, or an index.
        space: of a cell that no run found; that of the default protocol if None.

    Raises:
        UserError: it is none of these, or the run has not found a cell.
    """
    text = os.fspath(what) if isinstance(what, os.PathLike) else str(what)
    # Of a genotype, too long for a name, Path.is_dir fails.
    if not isinstance(what, SupportsIndex) and os.path.isdir(text):
        return _found_by(Path(text), space)
    section = {"name": space} if space is not None else {"name": default_space().name}
    cells = build_space(section)
    if re.fullmatch(r"[+-]?[0-9]{1,20}", text):
        return Found(cells.architecture_at(int(text)), section)
    if not {"|", ","} & set(text):
        raise UserError(
            "there is no run in a folder of this name, and it is no architecture",
            key="RUN|ARCH",
            value=text,
            remedy="name a run's folder (optnas list shows them), a cell as "
            + (
                f"'{cells.example}', or a genotype"
                if cells.keeps_some
                else f"'{cells.architecture_at(0)}', or its index"
            ),
        )
    return Found(cells.parse(text, key="RUN|ARCH"), section)


def _found_by(folder: Path, space: str | None) -> Found:
    run = RunFolder(folder)
    document, result = run.read_config(), run.read_result()
    status = "unfinished" if result is None else result["status"]
    if result is None or status != "done":
        raise UserError(
            f"this run is {status}: it has found no cell yet"
            if status != "diverged"
            else "this run diverged: it has found no cell",
            where=folder,
            remedy="train a cell of your choice: optnas train ARCH data.name=NAME --out DIR"
            if status == "diverged"
            else f"optnas resume {for_shell(folder)}",
        )
    settings = recorded_in(document, run.config)
    section = settings.space.model_dump()
    if space not in (None, section["name"]):
        raise UserError(
            f"the run searched {section['name']}",
            key="--space",
            value=space,
            remedy="leave it out",
        )
    cell = build_space(section).parse(result["architecture"], where=run.result)
    return Found(cell, section, folder, settings)


@dataclass(frozen=True)
class Plan:
    """A training that is known in full, before an image is read.

    Attributes:
        found: what is trained.
        settings: how.
        same_images: whether the labelled images are those that the search saw; None of a cell that
            no run found.
    """

    found: Found
    settings: TrainingSettings
    same_images: bool | None = None

    @property
    def hash(self) -> str:
        """SHA-256 of everything that can move a number: equal cells on equal images are one."""
        return digest([self.settings.hash, self.found.architecture.string])


def plan(
    what: Place | SupportsIndex,
    settings: Mapping[str, Any] | None = None,
    *,
    protocol: str = DEFAULT_PROTOCOL,
    space: str | None = None,
    where: object = "settings",
) -> Plan:
    """What `optnas.search.standalone.cell.train` would do, of the same arguments.

    Args:
        what: the folder of a finished run, an architecture string, or an index.
        settings: dotted keys over the protocol.
        protocol: a shipped training protocol or a TOML file.
        space: of a cell that no run found.
        where: what to call ``settings`` in errors.

    Raises:
        UserError: there is no such cell, or a setting is wrong.
    """
    found, given = find(what, space), nest(settings or {}, where)
    sections = SHELF.load(protocol)[1].get("data"), given.get("data")
    same, below = _same_images(found, *sections), found.below
    if same is False:  # how many images the search took of its own says nothing about others
        for layer in below:
            for key in SIZES:
                del layer.document["data"][key]
    complete = load_settings(
        found.architecture.space,
        protocol,
        below=below,
        over=[Layer(where, given)],
        same_images=functools.partial(_check_images, found) if same else any_images,
    )
    return Plan(found, complete, same)


def _same_images(found: Found, *sections: Any) -> bool | None:
    """Whether the images asked for are those of the search; what cannot be read is told later."""
    if found.settings is None:
        return None
    own, asked = found.settings.data, dict[str, Any]()
    held = own.model_dump()
    for section in sections:
        asked |= section if isinstance(section, Mapping) else {}
    if not {"name", "path"} & set(asked):
        return True
    if asked.get("name", own.name) != own.name:
        return False
    if own.split in KINDS:  # whose fingerprint is of the split, too
        return bool(asked.get("path", held.get("path")) == held.get("path"))
    with contextlib.suppress(UserError):
        now = {key: value for key, value in {**held, **asked}.items() if key not in OWN_DATA_KEYS}
        return open_dataset(now).fingerprint() == found.settings.fingerprint
    return True


def _check_images(found: Found, data: Mapping[str, Any], images: SearchImages) -> None:
    """Refuse images that have changed since the search, where no others were asked for."""
    assert found.settings is not None
    own = found.settings.data
    if own.split not in KINDS and images.fingerprint() != found.settings.fingerprint:
        raise UserError(
            "the images are not those that the run searched on",
            where=found.run,
            key="data.name",
            value=own.name,
            remedy="undo their change, or write which images are meant, such as "
            f"data.name={own.name}",
        )

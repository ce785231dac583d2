"""The settings of a run: one checked and complete value, its TOML and its content hash.

Importable without torch, like everything that settings pass through.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from optnas.algorithms.former import respelled
from optnas.base import registry
from optnas.base.errors import Origins, UserError
from optnas.base.json import digest
from optnas.base.refusals import refusal
from optnas.data.sets.base import Dataset
from optnas.measures.base import Cadence
from optnas.search.settings.identity import identity_of, spelled_out

FORMAT = 1
# Raised whenever a change moves the numbers of a search or the identity of a run; runs of different
# versions never mix. CHANGELOG.md says what each moved.
NUMBERS_VERSION = 2
# What moves no number (docs/decisions/0008-identity.md): where it is computed, what only observes.
NOT_IDENTITY = ("run", "protocol", "tracking", "measures", "checkpoints", "benchmark")
# What a run's identity says of the files of its data and of its components.
OF_FILES = ("fingerprint", "sources")
# More than any machine has; torch takes more, and then cannot begin them.
MOST_THREADS = 4096
MOST_COUNTED = 2**31 - 1  # images, or pixels along a side
# Measures that every search takes unless its settings say otherwise.
DEFAULT_MEASURES = ("sharpness", "gap")
# Keys of [data] that belong to every data set rather than to one factory.
DATA_KEYS = ("name", "folder", "train_size", "valid_size", "resolution", "split", "split_file")
# Keys of [data] that say where files lie. What the files hold is in the fingerprint, so these are
# no part of a run's identity, and a resumed run may find its files elsewhere.
PLACES = ("folder", "path", "split_file")


class Section(pydantic.BaseModel):
    """A section with fixed keys."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


class Component(pydantic.BaseModel):
    """A section whose keys are those of the component it names."""

    model_config = pydantic.ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})

    @property
    def table(self) -> dict[str, Any]:
        """Name and settings, as `optnas.base.registry.build` takes them."""
        return {"name": self.name, **self.settings}


class SearchSection(Section):
    """The alternation of the two steps."""

    epochs: int = Field(40, ge=1, description="passes over the training half")
    seed: int = Field(
        0,
        ge=0,
        lt=2**63,
        description="of data order, initial weights, initial alpha and every draw",
    )
    batch_size: int = Field(64, ge=2, description="images of a batch, of either half")
    step_order: Literal["arch-first", "weights-first"] = Field(
        "arch-first", description="which of the two steps of an iteration comes first"
    )
    valid_order: Literal["fresh-batches", "independent-images", "passes"] = Field(
        "fresh-batches",
        description="batches of the alpha step: each the first of a fresh permutation; each image "
        "drawn by itself; or passes over the half, one after another",
    )


class SpaceSection(Component):
    """The space, its own settings, and what it is narrowed to."""

    candidates: list[str] | list[list[str]] = Field(
        default=[],
        description="operations that are searched, of every edge, or a list for each; []: all",
    )


class SupernetSection(Section):
    """Size and modes of the supernet."""

    channels: int = Field(8, ge=1, description="of the first stage")
    cells: int = Field(1, ge=1, description="per stage")
    batch_norm: Literal["running", "batch"] = Field(
        "running",
        description="what normalises in an evaluation: running statistics, or those of the batch",
    )
    head_affine: bool = Field(
        True, description="whether the batch norm before the head has a weight and a bias"
    )
    arch_step_updates_statistics: bool = Field(
        True, description="whether the forward pass of the alpha step moves running statistics"
    )
    alpha_scale: float = Field(1e-3, ge=0, description="standard deviation of initial alpha")
    dtype: Literal["float32", "float64"] = Field(
        "float32", description="of network weights, alpha and optimizer states"
    )
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        "float32", description="how float32 numbers are multiplied, see docs/gpu.md"
    )


class ImagesSection(Component):
    """Which images, how many of each half, and at which resolution."""

    train_size: int = Field(ge=1, strict=True, description="images that train the network weights")
    valid_size: int = Field(ge=1, strict=True, description="images that train alpha")
    resolution: int = Field(
        ge=4, strict=True, description="height and width that images are brought to, in pixels"
    )

    @property
    def dataset_settings(self) -> dict[str, Any]:
        """Settings of the data set's own factory."""
        return {k: v for k, v in self.settings.items() if k not in DATA_KEYS}

    def open(self) -> Dataset:
        """The data set, whose own factory may refuse its files."""
        table = {"name": self.name, **self.dataset_settings}
        offered = {"folder": self.place("folder")}
        dataset: Dataset = registry.build("dataset", table, offered, section="data")
        return dataset

    @property
    def places(self) -> dict[str, str]:
        """Where the files lie, by key: those of `PLACES` that are given."""
        return {k: self.settings[k] for k in PLACES if self.settings.get(k) is not None}

    def place(self, key: str) -> Path | None:
        """One of `places`, None if it is not given."""
        return Path(self.places[key]) if key in self.places else None


class DataSection(ImagesSection):
    """The images of a search, and which of them are each half."""

    split: Literal["halves", "random-halves", "file", "test-file"] = Field(
        description="which images are which half, see docs/data.md"
    )


Cutout = Annotated[
    int,
    Field(
        ge=0, le=MOST_COUNTED, description="side of the square that is blanked, in pixels; 0: none"
    ),
]


class CropSection(Section):
    """What training batches of searches and of stand-alone trainings have in common."""

    crop_padding: int = Field(
        ge=0, description="pixels added on each side before a random crop; 0: no crop"
    )
    flip: bool = Field(description="mirror half of the images")


class AugmentationSection(CropSection):
    """Of training batches."""

    cutout: Cutout = 0
    validation: bool = Field(True, description="also for the batches of the alpha step")


class OptimizerSection(Component):
    """An optimizer, its own settings, and the schedule of its learning rate."""

    schedule: Component


class ClippingSection(Section):
    """Clipping in the weight step."""

    max_norm: float = Field(
        5.0, ge=0, description="largest norm of the gradient in the weight step; 0: no clipping"
    )
    also_counts: Literal["nothing", "alpha", "op-weights"] = Field(
        "nothing", description="a further gradient that counts in the norm"
    )


class EvaluationSection(Section):
    """The pass over the validation half, in order."""

    batch_size: int = Field(
        256,
        ge=2,
        le=MOST_COUNTED,
        description="images of a batch of the pass over the validation half",
    )
    augmented: bool = Field(
        False,
        description="crop and flip its images as in training, alike in every run of a seed",
    )


class BenchmarkSection(Section):
    """The table that is asked for the derived cell's accuracy."""

    table: str = Field(description="the table that is asked for the derived cell's accuracy")


class MeasureSection(Component):
    """A measure, its own settings, and the epochs at which it is taken. Moves no number."""

    every: int = Field(
        description="taken at epoch 0, at each multiple of this number, and at the last; 0: not so"
    )
    at: list[int | str] = Field(description="taken at these epochs; end is the last one")

    @property
    def own_name(self) -> str:
        """The name of the measure, without the file or module it is addressed by."""
        return self.name.rpartition(":")[2]

    @property
    def cadence(self) -> Cadence:
        """The epochs that `every` and `at` name."""
        return Cadence(self.every, tuple(self.at))


class CheckpointsSection(Section):
    """Which epochs' checkpoints are kept for measures afterwards. Moves no number."""

    keep: str | list[int | str] = Field(
        default="named",
        description="epochs kept for measures: named (the first, the last, and those that a "
        "measure's at names), all, or a list; the last always",
    )


class RunSection(Section):
    """Where the numbers are computed. Not part of a run's identity."""

    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: int = Field(1, ge=1, le=MOST_THREADS, description="CPU threads")
    stepper: Literal["eager", "graph"] = Field(
        default="eager", description="how steps are taken: by Python, or replayed from a CUDA graph"
    )


class Settings(pydantic.BaseModel):
    """All settings of one run, complete and checked; `Settings.document` is its TOML.

    Beside the sections: ``fingerprint``, the SHA-256 of the data's files and of the split's, and
    ``sources``, what components of others are loaded from (`optnas.search.settings.sources`), so
    that an edited file is another run.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    protocol: str
    search: SearchSection
    algorithm: Component
    space: SpaceSection
    supernet: SupernetSection
    data: DataSection
    augmentation: AugmentationSection
    weight_optimizer: OptimizerSection
    arch_optimizer: OptimizerSection
    clipping: ClippingSection
    evaluation: EvaluationSection
    benchmark: BenchmarkSection
    measures: dict[str, MeasureSection] = {}
    checkpoints: CheckpointsSection = CheckpointsSection()
    run: RunSection
    tracking: Component = Component(name="none")
    fingerprint: str
    sources: dict[str, str] = {}
    _origins: Origins = pydantic.PrivateAttr(default_factory=Origins)

    @property
    def origins(self) -> Origins:
        """Who wrote which key; no part of the settings themselves."""
        return self._origins

    @classmethod
    def recorded(cls, document: Mapping[str, Any]) -> Settings:
        """The settings in a run's config.toml, of any numbers version.

        Returns:
            The settings, not checked against names or data.

        Raises:
            ValueError: it holds no complete settings.
        """
        sections = cls._sections(document)
        algorithm = sections.get("algorithm")
        if isinstance(algorithm, Mapping) and isinstance(algorithm.get("name"), str):
            sections["algorithm"] = respelled(algorithm)
        return cls(**sections)

    @classmethod
    def check_recorded(cls, document: Mapping[str, Any]) -> None:
        """Refuse a run's config.toml that is no whole one. Nothing that it names is loaded.

        Of another numbers version only what is missing, or of another type, is refused: what its
        values could be this version does not know.

        Raises:
            UserError: a section or setting is missing, unknown, or none of its type.
        """
        try:
            cls.model_validate(cls._sections(document))
        except pydantic.ValidationError as error:
            ours = document["identity"]["numbers_version"] == NUMBERS_VERSION
            problems = [
                problem
                for problem in error.errors()
                if ours or problem["type"] == "missing" or problem["type"].endswith("_type")
            ]
            if not problems:
                return
            found = refusal(problems, cls)
            key = found.key or ""
            if key.partition(".")[0] in OF_FILES:
                key = f"identity.{key}"
            raise UserError(
                found.reason, key=key, value=found.value, remedy="restore the file"
            ) from None

    @classmethod
    def _sections(cls, document: Mapping[str, Any]) -> dict[str, Any]:
        """What a config.toml says of the fields of the settings."""
        identity = document.get("identity")
        of_files = identity if isinstance(identity, Mapping) else {}
        sections = {key: value for key, value in document.items() if key in cls.model_fields}
        return sections | {key: of_files[key] for key in OF_FILES if key in of_files}

    @classmethod
    def spelled_out(cls, document: Mapping[str, Any]) -> dict[str, Any]:
        """The content of a run's config.toml, and what came later at the default it came with."""
        return spelled_out(cls, document)

    @property
    def hash(self) -> str:
        """SHA-256 of everything that can move a number, 64 hexadecimal digits.

        Of each section the settings that are not at the default they were introduced with
        (`optnas.search.settings.identity`), the data's fingerprint, and the numbers version. Left
        out are the sections of `NOT_IDENTITY` and the `PLACES` of the data; of the protocol its
        content is in.
        """
        content = identity_of(self, without=NOT_IDENTITY)
        for key in PLACES:
            content["data"].pop(key, None)
        content["numbers_version"] = NUMBERS_VERSION
        return digest(content)

    def document(self) -> dict[str, Any]:
        """The content of ``config.toml``: every setting, and the run's identity."""
        document = self.model_dump(exclude={*OF_FILES})
        identity = {
            "hash": self.hash,
            "fingerprint": self.fingerprint,
            "numbers_version": NUMBERS_VERSION,
            **({"sources": self.sources} if self.sources else {}),
        }
        return {"format": FORMAT, **document, "identity": identity}

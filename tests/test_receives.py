"""docs/receives.md and its folder: what parts receive and hand back, written from the classes.

``python tests/test_receives.py`` writes the pages anew.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from topics import text_of

import optnas
from optnas.algorithms.base import Algorithm, Selection, Trial, Turn, Watch, WeightGradients
from optnas.algorithms.bilevel import (
    Bilevel,
    Hypergradient,
    Judged,
    Loss,
    LossValue,
    VirtualStep,
    VirtualSteps,
)
from optnas.algorithms.progress import Draw, InnerStep, Progress
from optnas.base import registry
from optnas.data.augmentation import Augmentation
from optnas.data.images import Images
from optnas.measures.evaluation import Batch
from optnas.measures.snapshot import Snapshot
from optnas.spaces.base import Joint, Space, Wiring
from optnas.spaces.network.protocol import FixedNetwork, Output, SearchNetwork
from optnas.spaces.network.statistics import Statistics
from optnas.spaces.operations.base import Operation, Site

PAGE = Path(__file__).parent.parent / "docs" / "receives.md"
FOLDER = PAGE.with_suffix("")
HEAD = """# What parts receive, and hand back

Written by `python tests/test_receives.py` from annotations and docstrings. How these values are
used: [extending.md](extending.md). `Weights` and `Memory` are tables of tensors by name. Shapes:
B images, E edges, O operations.
"""
# name of a page -> its title, whose values it has
PAGES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "steps": ("Of a step", (Progress, Draw, InnerStep, WeightGradients)),
    "hypergradients": (
        "Of a hypergradient",
        (Bilevel, Loss, LossValue, Judged, VirtualStep, VirtualSteps, Hypergradient),
    ),
    "algorithms": ("Of an algorithm", (Algorithm, Trial, Selection, Watch, Turn)),
    "measures": ("Of a measure", (Snapshot, Batch, Images, Augmentation, Statistics)),
    "spaces": ("Of a space", (Space, Wiring, Joint)),
    "networks": ("Of a network", (SearchNetwork, FixedNetwork, Output, Operation, Site)),
}
RECEIVED: dict[Any, str] = {
    Progress: "Received by `relax`, `perturb` and `on_weight_gradients`; it is `problem.progress` "
    "in a hypergradient, `trial.progress` in a selection, `snapshot.progress` in a measure.",
    Draw: 'It is `progress.draw`, in a part registered with `needs=("draw",)`.',
    InnerStep: "It is `progress.inner`, in `on_weight_gradients` of an algorithm registered with "
    '`needs=("inner-step",)`.',
    Bilevel: "Received by a hypergradient as `problem`, beside alpha and `relax`.",
    Loss: "Both losses of `problem`, and those of its `more_train_batches`.",
    LossValue: "What a loss returns.",
    Judged: "One of `problem.more_valid_batches`.",
    VirtualStep: "It is `problem.virtual_step`.",
    VirtualSteps: "It is `problem.virtual_steps`.",
    Hypergradient: "",
    WeightGradients: "Handed back by `on_weight_gradients`.",
    Trial: "Received by the `choose` of a selection, and by the `look` of a watch.",
    Snapshot: "Received by a measure.",
    Batch: "One of `snapshot.batches`; what the losses of `problem` are taken of.",
    Images: "One of `snapshot.images`.",
    Augmentation: "It is `snapshot.augmentation`.",
    SearchNetwork: "It is `snapshot.supernet`.",
    FixedNetwork: "Built by `snapshot.alone`.",
    Space: "Received by any factory that has a parameter `space`.",
    Wiring: "One of `space.wirings`.",
    Joint: "One of `space.joints`.",
    Operation: "One of `space.candidates()`.",
    Site: "Received by the functions of an operation.",
    Output: "What a network returns.",
    Statistics: "Those of a network's batch norms.",
    Selection: "An algorithm's `select`.",
    Watch: "An algorithm's `watch`.",
    Turn: "Handed back by the `look` of a watch.",
    Algorithm: "What the factory of an algorithm returns.",
}
NEEDS = (
    "What a component needs beyond what every search has, it says where it is registered: "
    '`@register("hypergradient", "mine", needs=("virtual-step",))`.'
)
# Sections of a docstring; what stands before the first is its text.
SECTION = re.compile(r"(?m)^(Args|Attributes|Returns|Yields|Raises|Example|Reference):.*$")


def sections(thing: Any) -> dict[str, str]:
    """A docstring's text and its sections, by heading."""
    text = inspect.cleandoc(thing.__doc__ or "").replace("``", "`")
    text = re.sub(r"(?m)^\|.*\n", "", text)  # a table is for who calls it
    starts = [*SECTION.finditer(text)]
    ends = [*(each.start() for each in starts[1:]), len(text)]
    found = {"": text[: starts[0].start() if starts else len(text)].strip()}
    for each, end in zip(starts, ends, strict=False):
        found[each[1]] = text[each.end() : end]
    return found


def entries(section: str) -> dict[str, str]:
    """What a section says of each name."""
    found = re.findall(r"(?m)^ {4}(\w+): (.*(?:\n {8,}.*)*)", section)
    return {name: " ".join(text.split()) for name, text in found}


def written(annotation: Any) -> str:
    """An annotation as it stands in the source; a named tuple wraps it."""
    return str(getattr(annotation, "__forward_arg__", annotation))


def signature(function: Any) -> str:
    parameters = [*inspect.signature(function).parameters.values()][1:]
    told, starred = [], False
    for each in parameters:
        if each.kind is each.KEYWORD_ONLY and not starred:
            told.append("*")
            starred = True
        default = "" if each.default is each.empty else f" = {each.default!r}"
        told.append(f"{each.name}: {written(each.annotation)}{default}")
    return f"({', '.join(told)}) -> {written(inspect.signature(function).return_annotation)}"


def members(cls: Any) -> Iterator[tuple[str, str, str]]:
    """Fields, properties and methods: name, type or signature, what it is."""
    of_fields = entries(sections(cls).get("Attributes", "") + sections(cls).get("Args", ""))
    for name, annotation in cls.__annotations__.items():
        yield name, written(annotation), of_fields.get(name, "")
    for name, value in vars(cls).items():
        if name in cls.__annotations__ or (name.startswith("_") and name != "__call__"):
            continue  # a field's default may be a function
        if isinstance(value, property):
            told = signature(value.fget).rpartition(" -> ")[2]
            yield name, told, described(value)
        elif inspect.isfunction(value := getattr(value, "__func__", value)):  # of a class too
            yield name, signature(value), described(value)


def described(function: Any) -> str:
    """What a method does, takes and returns, in one paragraph."""
    found = sections(function)
    told = [
        found[""].replace("\n\n", " "),
        *(f"`{n}`: {t}" for n, t in entries(found.get("Args", "")).items()),
    ]
    for heading in ("Returns", "Yields"):
        if heading in found:
            told.append(f"{heading}: {found[heading]}")
    return " ".join(" ".join(told).split())


def pages() -> dict[Path, str]:
    """Every page: path and text."""
    needs = [f"- `{need}`: {words}." for need, words in registry.NEEDS.items()]
    listed = [
        f"- [{title}](receives/{name}.md): {', '.join(f'`{cls.__name__}`' for cls in held)}"
        for name, (title, held) in PAGES.items()
    ]
    text = "\n".join([HEAD, *listed, f"\n## Needs\n\n{NEEDS}\n", *needs, ""])
    return {PAGE: text} | {
        FOLDER / f"{name}.md": page(title, held) for name, (title, held) in PAGES.items()
    }


def page(title: str, held: tuple[Any, ...]) -> str:
    parts = [f"# {title}\n\nPart of [what parts receive, and hand back](../receives.md).\n"]
    for cls in held:
        text = " ".join([*RECEIVED[cls].split(), *sections(cls)[""].split()])
        parts.append(f"## {cls.__name__}\n\n{text}\n")
        lines = []
        for name, kind, text in members(cls):
            shown = f"`{cls.__name__}{kind}`" if name == "__call__" else f"`{name}{kind}`"
            lines.append(f"- {shown if kind.startswith('(') else f'`{name}`, `{kind}`'}: {text}")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def test_the_pages_are_current() -> None:
    written = {path: path.read_text() for path in [PAGE, *FOLDER.glob("*.md")]}
    assert written == pages(), "python tests/test_receives.py writes them anew"


@pytest.mark.parametrize("cls", RECEIVED, ids=lambda cls: cls.__name__)
def test_every_member_is_there_and_described(cls: Any) -> None:
    """Also those that a generator could overlook: the names that an instance answers to."""
    listed = {name: text for name, _, text in members(cls)}
    assert [name for name, text in listed.items() if not text] == []
    of_a_tuple = set(dir(tuple)) if issubclass(cls, tuple) else set()
    answered = {name for name in dir(cls) if not name.startswith("_")} - of_a_tuple
    assert answered | set(cls.__annotations__) == set(listed) - {"__call__"}
    text = text_of("receives").partition(f"\n## {cls.__name__}\n")[2].partition("\n## ")[0]
    for name in set(listed) - {"__call__"}:
        assert re.search(rf"(?m)^- `{name}[`(]", text), name


def test_every_value_that_a_part_meets_has_its_section() -> None:
    """Public names, and classes of the package, that the types of other sections mention."""
    types = " ".join(kind for cls in RECEIVED for _, kind, _ in members(cls))
    classes = {
        name
        for cls in RECEIVED
        for name, value in vars(sys.modules[cls.__module__]).items()
        if inspect.isclass(value) and value.__module__.startswith("optnas.")
    }
    names = {*optnas.__all__, *classes}
    mentioned = {name for name in names if re.search(rf"\b{name}\b", types)}
    # Types of functions and of a table of tensors; tables of a benchmark and cells, in docs/api.md.
    known = {
        "Architecture",
        "ComputeHypergradient",
        "Discretize",
        "Memory",
        "Perturb",
        "Relax",
        "Table",
    }
    assert mentioned - known <= {cls.__name__ for cls in RECEIVED}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text)

"""Needs, not names: no file of the package asks whether a component has a certain name.

What a component needs, it says where it is registered. Allowed are the file that registers the
name, and the places listed here, each with its reason; both are printed where the test fails.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import optnas
from optnas.algorithms.parts import first_order
from optnas.base import registry
from optnas.optimizers.signatures import torch_optimizers

ROOT = Path(optnas.__file__).parent
# Words that are columns, keys and options too: to look one of them up asks for no component.
ORDINARY = {
    *(
        "agreement",
        "constant",
        "cosine",
        "curvature",
        "epochs",
        "gap",
        "indicator",
        "landscape",
        "local",
    ),
    *("none", "operations", "random", "sharpness", "stopping", "uniform"),
    "folder",
}
# An operation of a chain, and a section of every configuration.
SECTION = "identity"
# Kinds whose names are words of what they read: the rule ``skips`` reads the column of skips.
WORDS = ("stopping",)
DECK = "a figure of Shin's comparison, which is of these algorithms: titles and colours"
# file: (names, reason)
ALLOWED: dict[str, tuple[set[str], str]] = {
    "data/check": ({"none"}, "how an image says that it has no colours"),
    "measures/hypergradient_error": ({"unrolled", "neumann"}, "what it compares, by their names"),
    "measures/drawing": (
        {"cifar10", "cifar100", "imagenet16-120"},
        "how data sets are written for readers; another is written as it is named",
    ),
    "measures/landscape/panels": ({"darts", "sdarts-rs", "sdarts-adv"}, DECK),
    "optimizers/signatures": (
        {"ASGD", "LBFGS", "Muon", "RMSprop", "Rprop", "SGD", "SparseAdam"},
        "what of torch cannot serve here, what torch does not check, and whose rate is not read",
    ),
    "optimizers/virtual": (
        {"SGD", "Adam", "AdamW", "RMSprop"},
        "the update rules it restates, each by torch's class: torch registers none",
    ),
    "report/arms": ({"darts", "darts-minus", "sdarts-rs", "sdarts-adv"}, DECK),
    "report/figures": ({"darts", "darts-minus", "sdarts-rs", "sdarts-adv"}, DECK),
    "report/data": ({"none"}, "a dash: the points of a curve without a line"),
    "report/charts": ({"none"}, "a dash: the points of a curve without a line"),
    "search/exam/parts": ({"first-order"}, "what a limit of w is called, whoever reaches it"),
    "search/exam/stopping": ({"curvature"}, "a field of a trajectory"),
    "search/exam/measures": ({"darts"}, "the label of the default search"),
    "search/standalone/settings": ({"none"}, "data.test: there are no test images"),
    "search/standalone/table": ({"none"}, "data.test: there are no test images"),
    "spaces/darts": ({"avg_pool_3x3", "skip_connect"}, "operations of its own by these names"),
    "spaces/sound": ({"skip_connect"}, "what an operation of this name is in every space"),
    "spaces/tables/analog": ({"cifar10"}, "the data set whose accuracies the table holds"),
    "spaces/tables/nb201": ({"cifar10"}, "the data set whose accuracies the table holds"),
    "spaces/tables/official": ({"cifar10"}, "the data set whose accuracies the table holds"),
    "spaces/tables/nats_archive": (
        {"cifar10", "cifar100", "imagenet16-120"},
        "what the columns of the published archive are called",
    ),
    "theory/noise": ({"asam", "sam"}, "how sharpness is scaled, as its papers call it"),
    "theory/pictures": ({"asam", "sam"}, "how sharpness is scaled, as its papers call it"),
    "study/engines/ray": ({"local"}, "ray's own word for a cluster of this machine"),
}


def names() -> dict[str, set[str]]:
    """Every name a user may write for a component, with the files that define it."""
    found: dict[str, set[str]] = {name: set() for name in torch_optimizers()}
    for kind in set(registry.KINDS) - set(WORDS):
        for name in registry.names(kind):
            module = registry.find(kind, name).__module__
            found.setdefault(name, set()).add(module.removeprefix("optnas.").replace(".", "/"))
    return {name: files for name, files in found.items() if name not in {*registry.NEEDS, SECTION}}


def texts(node: ast.AST) -> Iterator[str]:
    """The strings that stand in an expression, in displays too."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        for each in node.elts:
            yield from texts(each)


def compared(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Strings that something is compared with or looked up by, with their lines."""
    for node in ast.walk(tree):
        sides: list[ast.AST] = []
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            sides = [node.value]
        elif isinstance(node, ast.Dict):
            sides = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.Subscript):
            sides = [node.slice]
        member = isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn))
        named = member and isinstance(sides[0], ast.Constant)  # "word" in what has words
        lookup = named or isinstance(node, (ast.Dict, ast.Subscript))
        for text in (text for side in sides for text in texts(side)):
            if not (lookup and text in ORDINARY):
                yield node.lineno, text


def offences(source: str, file: str, known: dict[str, set[str]]) -> list[str]:
    allowed = ALLOWED.get(file, (set(), ""))[0]
    return [
        f"{file}.py:{line}: {name!r}"
        for line, name in compared(ast.parse(source))
        if name in known and file not in known[name] and name not in allowed
    ]


SOURCES = {
    path.relative_to(ROOT).with_suffix("").as_posix(): path.read_text()
    for path in sorted(ROOT.rglob("*.py"))
}


def test_nothing_is_compared_with_a_components_name() -> None:
    known = names()
    found = [each for f, source in SOURCES.items() for each in offences(source, f, known)]
    allowed = [f"{f}.py {sorted(words)}: {why}" for f, (words, why) in ALLOWED.items()]
    assert not found, "\n".join([*found, "", "allowed:", *allowed])


def test_every_allowance_is_used() -> None:
    used = {file: {text for _, text in compared(ast.parse(SOURCES[file]))} for file in ALLOWED}
    assert {f: words - used[f] for f, (words, _) in ALLOWED.items() if words - used[f]} == {}


@pytest.mark.parametrize(
    "line",
    [
        "x == 'unrolled'",
        "x in ('first-order', 'unrolled')",
        "'darts' != x",
        "{'darts': 1}[x]",
        "table['sdarts-rs']",
        "match x:\n    case 'Adam': pass",
    ],
)
def test_a_comparison_is_found(line: str) -> None:
    known = names()
    assert len(offences(line, "search/loop", known)) == 1 + line.count(",")
    assert offences("x == 'unrolled'", "algorithms/parts/hypergradients", known) == []
    assert offences("row['uniform'], x['own']", "search/loop", known) == []


def test_what_a_component_needs_is_found_through_its_settings() -> None:
    unrolled = {"name": "unrolled", "derivative": "exact"}
    found = list(registry.needs_in("algorithm", "darts", {"hypergradient": unrolled}, key="algo"))
    assert found == [
        ("virtual-step", "algo.hypergradient", "unrolled", ""),
        ("train-batch", "algo.hypergradient", "unrolled", ""),
    ]
    usual = {"hypergradient": {"name": "first-order"}}
    assert list(registry.needs_in("algorithm", "darts", usual, key="algorithm")) == []
    with pytest.raises(ValueError, match="no needs"):
        registry.register("hypergradient", "mine", needs=("a-closure",))
    recorded = {"also_validate": {"x": {"name": "softmax-with-skip", "beta": 1.0}}}
    (only,) = registry.needs_in("algorithm", "composed", recorded, key="algorithm")
    assert only == ("auxiliary-skip", "algorithm.also_validate.x", "softmax-with-skip", "")
    assert not [*registry.needs_in("algorithm", "composed", recorded, key="x", beside=False)]


def test_what_is_needed_at_one_value_of_a_setting_names_it_and_another() -> None:
    def asked(derivative: str) -> list[registry.Need]:
        settings = {"derivative": derivative, "hypergradient": {"name": "first-order"}}
        found = registry.needs_in("algorithm", "lambda-darts", settings, key="algorithm")
        return [each for each in found if each.need == "full-precision"]

    assert asked("finite-difference") == [
        ("full-precision", "algorithm.derivative", "finite-difference", "exact")
    ]
    assert asked("exact") == []
    at = {"a-closure": registry.Choice("derivative", "exact", "other")}
    with pytest.raises(ValueError, match="no needs"):
        registry.register("hypergradient", "mine", needs_at=at)


def test_a_function_registered_itself_is_found_by_name_and_by_address() -> None:
    address = "optnas.algorithms.parts.hypergradients:first_order"
    for name in ("first-order", address):
        factory = registry.find("hypergradient", name)
        assert factory() is first_order
        assert registry.complete_settings(factory, {}, section="x") == {}

"""The exam every registered component sits, present and future; and the exam is examined."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cases import command, refused, write_files
from tiny import every_space, every_variant, is_rare

from optnas.base.errors import UserError
from optnas.search.api import nest
from optnas.search.exam import Subject, examine, subjects
from optnas.search.exam.parts import OF_KIND
from optnas.search.exam.searches import OF_AN_ALGORITHM
from optnas.spaces import build_space


def tier(title: str, space: str, variant: str) -> list[pytest.MarkDecorator]:
    """DARTS before every commit, the resumption of all algorithms in the default tier.

    In the slow one is every other space, and other algorithms than DARTS with the unrolled
    hypergradient; what else is asked of all algorithms is shared by the two.
    """
    if space != "toy" or is_rare(variant):
        return [pytest.mark.slow]
    if variant == "darts":
        return []
    return [pytest.mark.thorough if title == RESUMED else pytest.mark.matrix]


RESUMED = "saved and resumed equals uninterrupted"
assert RESUMED in OF_AN_ALGORITHM
SEARCHES = [
    pytest.param(
        changes | space,
        title,
        id=f"{title}-{name}-{space_name}",
        marks=tier(title, space_name, name),
    )
    for title in OF_AN_ALGORITHM
    for space_name, space in every_space()
    # One with a network of its own: tests/test_nas_bench_macro.py.
    if build_space({"name": space_name}).network is None
    for name, changes in every_variant()
]
EVERYTHING = subjects(None)
PARTS = [subject for subject in EVERYTHING if subject.kind in {"algorithm", *OF_KIND}]
OPTIMIZERS = [subject for subject in EVERYTHING if subject.kind == "optimizer"]
OTHERS = [subject for subject in EVERYTHING if subject not in [*PARTS, *OPTIMIZERS]]
SECONDS = ("mlflow", "trackio", "wandb", "hypergradient-error", "noise")  # each takes some
LONG = ("darts-pt", "robust-darts", "rsps", "setn")  # half a second or more a part


def label(subject: Subject) -> str:
    settings = () if subject.kind == "optimizer" else subject.settings.values()
    return "-".join([subject.kind, subject.name, *map(str, settings)])


@pytest.mark.parametrize(("changes", "title"), SEARCHES)
def test_searches(changes: dict[str, Any], title: str) -> None:
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    OF_AN_ALGORITHM[title](nest(dotted))


def assert_passes(subject: Subject, wanted: Callable[[str], bool]) -> None:
    outcomes = list(examine(subject, wanted))
    assert outcomes
    assert [(o.check, o.why) for o in outcomes if o.verdict == "failed"] == []


def tier_of_parts(subject: Subject) -> list[pytest.MarkDecorator]:
    if subject.name not in LONG:
        return []
    # Once as it comes; with another hypergradient the same is asked again.
    return [pytest.mark.slow if subject.settings else pytest.mark.thorough]


@pytest.mark.parametrize(
    "subject", [pytest.param(each, marks=tier_of_parts(each), id=label(each)) for each in PARTS]
)
def test_parts(subject: Subject) -> None:
    assert_passes(subject, lambda title: title not in OF_AN_ALGORITHM)


@pytest.mark.matrix
@pytest.mark.thorough
@pytest.mark.parametrize(
    "subject",
    [
        pytest.param(each, marks=[pytest.mark.slow] * (each.name in SECONDS), id=label(each))
        for each in OTHERS
    ],
)
def test_others(subject: Subject) -> None:
    assert_passes(subject, lambda title: True)


@pytest.mark.thorough
@pytest.mark.parametrize("subject", OPTIMIZERS, ids=label)
def test_optimizers_solve_what_they_say(subject: Subject) -> None:
    assert_passes(subject, lambda title: "solves" in title)


@pytest.mark.slow
@pytest.mark.parametrize("subject", OPTIMIZERS, ids=label)
def test_optimizers_search(subject: Subject) -> None:
    assert_passes(subject, lambda title: "solves" not in title)


# --- the exam examined: what is planted is found ------------------------------------------------

# kind | name in planted.py | start of the title of the check that finds it | part of what it says
FOUND = """
relaxation | mutates | keeps shape | changes alpha
relaxation | transposes | keeps shape | has shape [5, 6], not [6, 5]
relaxation | narrows | keeps shape | is torch.float32, not torch.float64
relaxation | overflows | keeps shape | is not finite
relaxation | draws | repeatable | moves the global generator of torch
relaxation | secret | a draw | uses progress.draw, so register it with needs=("draw",)
relaxation | idle | a draw | is registered to need a draw, and eight draws change nothing
relaxation | leaks | repeatable | gives another result[0] the second time
relaxation | continues | repeatable | gives another result[4] the second time
relaxation | remembers | repeatable | gives another result[0] the second time
relaxation | detaches | differentiable | no gradient reaches alpha
relaxation | rounds | differentiable | the gradient of alpha is zero everywhere
relaxation | once | twice | is not the slope of its first
perturbation | mutates | keeps shape | changes the operation weights
perturbation | swells | keeps the sums | rows that summed to 1 are off by 0.5
perturbation | draws | draws from | moves the global generator of numpy
perturbation | peeks | draws from | moves the global generator of python
hypergradient | backward | a finite | leaves a gradient on the network weights
hypergradient | steps | a finite | changes the network weights
hypergradient | flattens | a finite | has shape [30], not [6, 5]
hypergradient | bare | a finite | returns a Tensor, no Hypergradient
hypergradient | draws | repeatable | moves the global generator of torch
hypergradient | unsaid | asks for nothing | more than it is registered to need: "train-batches"
hypergradient | half-way | reaches the limit | % away from the implicit gradient
hypergradient | undecayed | reaches the limit | % away from the one-step gradient
hypergradient | far | reaches the limit | declares the limit 'fourth-order'; there are first-order,
discretization | mutates | one operation | changes alpha
discretization | tensor | one operation | no list of int
discretization | beyond | one operation | operations are 0 to 4
discretization | short | one operation | chooses 5 times for 6 edges
discretization | draws | repeatable | moves the global generator of python
operation | mutates | keeps shape | changes x
operation | strides | keeps shape | its output is [2, 4, 3, 3], its input [2, 4, 6, 6]
operation | drops | keeps shape | moves the global generator of torch
operation | idles | uses its filters | does not use its filter operation.weight
operation | pretends | is ReLU | from ReLU, convolution, batch norm
algorithm | mutates | relax: keeps shape | changes alpha
algorithm | counts | same seed | the second time
algorithm | hidden | saved and resumed | after save and resume differs the trace.
algorithm | undeclared | relax: a draw | register it with needs=("draw",)
algorithm | remembers | relax: keeps shape | changes calls of the memory
algorithm | averages | saved and resumed | after save and resume differs the trace.
algorithm | halves | on_weight_gradients | changes the gradient of stem.conv.weight
algorithm | alternates | on_weight_gradients | gives another result.gradients the second time
algorithm | misnames | on_weight_gradients | hands back a gradient of w, which is no weight
algorithm | shifts | project | changes alpha
algorithm | number | memory | calls of the memory is a int, not a tensor
algorithm | forgets | a selection | asked again in epoch 7 of 8 it chooses another memory.cell_E
algorithm | trains | a selection | changes alpha
algorithm | drifts | afterwards | in epoch 1 the cell is
space | tilde | every cell | does not read back
space | codec | every cell | two cells are written
space | order | the order | lists 8 of its 9 cells in 9 places
space | anew | built twice | built twice it is two spaces
space | unknown | a supernet | sep_conv_9x9
space | drops | own operations | its operation own moves the global generator of torch
space | noisy | a supernet | moves the global generator of torch
space | doubles | none gives | skip is skip_connect, which does not give the identity
space | fills | none gives | none is zero, which does not give zeros
dataset | floats | rows | images are float64, not uint8
dataset | labels | rows | labels [9, 0, 1, 0] are not in 0 to 2
dataset | draws | the same rows | moves the global generator of numpy
dataset | facts | facts | disagree on the number of channels
schedule | negative | finite | the rate of epoch 2 of 2 is -0.1
schedule | remembers | a rate | gives another result
stopping | ahead | decides from | it stops at 15, of the first 1 at 0
stopping | mutates | repeatable | changes run.skips
stopping | remembers | repeatable | gives another result
stopping | beyond | decides within | it stops at epoch 31, which is not recorded
stopping | later | decides within | it returns epoch 30 and stops at 0 before
measure | eager | loads | loading its file loads torch
measure | unitless | declares | found has no unit
measure | undeclared | darts: finds | declares [], gave ['more']
measure | infinite | darts: finds | in epoch 0 it is not-finite: not a finite number: found
measure | late | darts: finds | in epoch 2 it is failed: ZeroDivisionError
measure | steps | darts: moves | with it differs the trace.records[1].
measure | shifts | darts: leaves | changes the search.alpha
measure | forgets | darts: leaves | changes the search.statistics[0]
measure | paints | darts: leaves | changes the search.images.train[0]
measure | stops | darts: leaves | changes the search.modes.deterministic
measure | draws | darts: afterwards | moves the global generator of torch
measure | shuffles | darts: afterwards | moves the global generator of python
measure | remembers | darts-minus, batch statistics: afterwards | gives another result[0].values
optimizer | Hidden | on w: saved | its state_dict() leaves out what its steps depend on
optimizer | Stalls | on w: solves bowl | % of the distance are left at its best rate
optimizer | Draws | on alpha: same seed | it draws from torch's global generator
tracker | fails | follows | stopped at epoch 0 (ValueError: no server)
tracker | mutates | leaves the records | changes the records[0].
"""
SEARCHED = {"algorithm", "measure", "optimizer", "tracker"}


def rows(table: str) -> list[Any]:
    found = []
    for line in table.strip().splitlines():
        cells = line.split(" | ")
        marks = [pytest.mark.thorough] * (cells[0] in SEARCHED)
        found.append(pytest.param(*cells, id=f"{cells[0]}-{cells[1]}", marks=marks))
    return found


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(__file__).with_name("planted.py"), "planted.py")


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize(("kind", "name", "title", "why"), rows(FOUND))
def test_what_is_planted_is_found(kind: str, name: str, title: str, why: str) -> None:
    (subject, *_) = subjects(f"./planted.py:{name}", kind)
    (found,) = examine(subject, lambda each: each.startswith(title))
    assert found.verdict == "failed"
    assert why in found.why, found.why
    assert "\n" not in found.why


@pytest.mark.usefixtures("planted")
def test_everything_a_file_registers_is_examined() -> None:
    listed = {tuple(row.values[:2]) for row in rows(FOUND) if row.values[0] != "optimizer"}
    found = {(s.kind, s.name.rpartition(":")[2]) for s in subjects("./planted.py")}
    assert found == listed
    assert [s.kind for s in subjects("./planted.py:Hidden")] == ["optimizer"]


ON_THE_SIMPLEX = """
from optnas import register

@register("perturbation", "normalises")
def normalises():
    def perturb(op_weights_EO, train_loss, progress, generator):
        assert progress.epoch < 4 or op_weights_EO[0].sum() > 0
        sums_E1 = op_weights_EO.sum(-1, keepdim=True)
        return op_weights_EO / sums_E1.masked_fill(sums_E1 == 0, 1.0)
    return perturb
"""


def test_whether_a_perturbation_keeps_sums_that_are_not_1_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It need not, as in the templates of 0.1.0; those of the package do."""
    monkeypatch.chdir(tmp_path)
    Path("a.py").write_text(ON_THE_SIMPLEX)
    told = "is for rows that sum to 1, not for those of softmax-with-skip"
    for name, verdict in {
        "none": "ok",
        "uniform": "ok",
        "attack": "ok",
        "drawn-cell": "not examined",
        "./a.py:normalises": "not examined",
    }.items():
        for subject in subjects(name, "perturbation"):
            (found,) = examine(subject, lambda each: each.startswith("rows that do not"))
            assert (found.verdict, found.why.startswith(told)) == (verdict, verdict != "ok"), name


def test_what_a_file_defines_and_does_not_register_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.py").write_text("import torch\nclass Mine(torch.optim.SGD): ...\n")
    with pytest.raises(UserError, match=r"nothing that is examined; write \./a\.py:Mine$"):
        subjects("./a.py")


# --- the command --------------------------------------------------------------------------------

MINE = """
import random
from optnas import register

class EdgeError(Exception): ...

@register("discretization", "first")
def first(edge: int = 0):
    def discretize(alpha_EO):
        if edge > 4:
            raise EdgeError(edge)
        return [edge] * len(alpha_EO)
    return discretize

@register("schedule", "drawn")
def drawn():
    return lambda initial, epoch, epochs: initial * random.random()

def unregistered(): ...
"""
CHOOSY = """
from optnas import UserError, register

@register("relaxation", "second")
def second(share: float = 2.0):
    raise UserError("is at most 1", key="share", value=share, remedy="lower it")
"""
# arguments | place, key and value that are told | a part of the remedy
REFUSED = """
darst | command line: TARGET = 'darst' | did you mean darts?
darts --kind algoritm | command line: --kind = 'algoritm' | algorithm?
snas --kind space | command line: TARGET = 'snas' | use one of: darts
darts --kind algorithm hyp=frozen | command line: algorithm.hyp = 'frozen' | hypergradient
SGD a=1 --kind optimizer | command line: weight_optimizer.a = 1 | use one of
SGD momentum=-1 | command line: weight_optimizer.momentum = -1.0 | change its value
--kind schedule | command line: KEY=VALUE | name one
./none.py | ./none.py | check the path
./broken.py | ./broken.py | and that the file runs
./empty.py | command line: TARGET = './empty.py' | docs/extending.md
./mine.py --kind space | command line: TARGET = './mine.py' | discretization or schedule
./mine.py:frist --kind discretization | command line: discretization.name | did you mean first
./mine.py:unregistered | command line: TARGET = './mine.py:unregistered' | --kind
./mine.py:first edge=x | command line: discretization.edge = 'x' | write one such as 0
./choosy.py:second | command line: relaxation.share = 2.0 | lower it
gap batches=0 | command line: measure.batches = 0 | use 1 or more
gap batch=1 | command line: measure.batch = 1 | did you mean batches?
./mine.py:first --kind space | command line: space.name = './mine.py:first' | name a s
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(
        tmp_path,
        {"mine.py": MINE, "choosy.py": CHOOSY, "broken.py": "def f(:", "empty.py": "x = 1"},
    )


@pytest.mark.thorough
@pytest.mark.usefixtures("here")
def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("exam", "./mine.py") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["verdict", "component", "check"]
    assert lines[1].split()[:3] == ["ok", "discretization", "./mine.py:first"]
    assert lines[-2].endswith(": moves the global generator of python")
    assert lines[-1] == "4 ok, 1 failed"


@pytest.mark.usefixtures("here")
def test_settings_of_what_is_examined(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("exam", "./mine.py:first", "edge=5") == 1
    assert "failed           discretization ./mine.py:first (edge=5)" in capsys.readouterr().out
    assert command("exam", "cosine", "final_lr=0.01") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 ok"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "told", "remedy"), [line.split(" | ") for line in REFUSED.strip().splitlines()]
)
def test_bad_input(
    arguments: str, told: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["warmup_epochs=1"] if arguments == "--kind schedule" else []
    assert command("exam", *arguments.split(), *more) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    refused(err, told, remedy)

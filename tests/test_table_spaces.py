"""A table answers for its own space, and for no other of the same name."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from cases import command
from tiny import tiny_settings

from optnas.base.errors import UserError
from optnas.spaces import NAS_BENCH_201, Space, lexicographic
from optnas.spaces.tables import Question, default_table, find_source, load_table
from optnas.spaces.tables.csv_file import CsvTable, Layout
from optnas.spaces.tables.table import Measurements, Table
from optnas.spaces.tables.toy import PATH
from optnas.spaces.tables.trained import trained
from optnas.spaces.toy import TOY

ASKED = Question("cifar10", "test", None)
NAMES = NAS_BENCH_201.operations
OTHERS = {
    "permuted": {"operations": (*NAMES[1:], NAMES[0]), "none": 4, "skip": 0, "weighted": (1, 2)},
    "another": {"operations": (*NAMES[:3], "nor_conv_5x5", NAMES[4])},
    "fewer": {"operations": NAMES[:4]},
    "wired": {"nodes": 3, "edges": ((0, 1), (0, 2), (1, 2)), "wirings": ()},
    "ordered": {"order": lexicographic},
}
TOLD = {
    "permuted": "its operations are skip_connect, nor_conv_1x1,",
    "another": "nor_conv_5x5, avg_pool_3x3 where the table's are none, skip_connect",
    "fewer": "its operations are none, skip_connect, nor_conv_1x1, nor_conv_3x3 where",
    "wired": "its edges are (0, 1), (0, 2), (1, 2) where the table's are (0, 1)",
    "ordered": "its cells have another order",
}
FILE = """
import dataclasses

from optnas.spaces import NAS_BENCH_201, lexicographic
def space():
    return dataclasses.replace(NAS_BENCH_201, {})
"""


@pytest.mark.parametrize("which", OTHERS)
def test_a_space_of_the_same_name_is_refused(
    which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy with other operations got the accuracies of whatever cell had the index."""
    changes: dict[str, Any] = OTHERS[which]
    mine = dataclasses.replace(NAS_BENCH_201, **changes)
    with pytest.raises(UserError, match="is not the nas-bench-201 of the table") as refused:
        load_table("analog-nasbench", folder=None).accuracy(mine.architecture_at(0), ASKED)
    assert TOLD[which] in refused.value.reason
    with pytest.raises(UserError, match="give it a name of its own"):
        default_table(None, mine)
    file = tmp_path / "s.py"
    given = ", ".join(f"{key}={value!r}" for key, value in changes.items() if key != "order")
    file.write_text(FILE.format(given or "order=lexicographic"))
    for table in ("auto", "analog-nasbench"):
        with pytest.raises(UserError) as refused:
            tiny_settings(space__name=f"{file}:space", benchmark__table=table)
        assert refused.value.key == "space.name"
        assert TOLD[which] in str(refused.value)
    assert tiny_settings(space__name=f"{file}:space", benchmark__table="none").benchmark
    assert command("benchmark", "query", "3", "--space", f"{file}:space") == 2
    assert TOLD[which] in capsys.readouterr().err


def test_a_table_that_says_its_space_answers_for_it_alone() -> None:
    """Whether or not a space of its name is registered."""
    held = {Question("digits", "test", 1): Measurements(_rising(TOY.size))}
    pair = dataclasses.replace(TOY, name="pair")
    swapped = dataclasses.replace(pair, operations=(*TOY.operations[::-1],), none=0, skip=3)
    table = Table("mine", "pair", "Made up.", held, space=swapped)
    asked = table.coverage.headline[0]
    again = dataclasses.replace(swapped)  # as a factory builds it anew
    assert table.accuracy(again.architecture_at(5), asked) == 5.0
    with pytest.raises(UserError, match="is not the pair of the table: its operations are skip"):
        table.accuracy(pair.architecture_at(5), asked)
    unsaid = Table("mine", "pair", "Made up.", held)
    assert unsaid.accuracy(pair.architecture_at(5), asked) == 5.0
    small = Space("pair", 2, ((0, 1),), ("none", "skip_connect"), 0, 1)
    with pytest.raises(UserError, match="this table holds 64 cells, and pair has 2"):
        unsaid.accuracy(small.architecture_at(0), asked)


def test_a_trained_table_of_another_space_of_the_name(tmp_path: Path) -> None:
    assert trained("toy", PATH, TOY).holds(dataclasses.replace(TOY))
    assert find_source("toy").space is TOY
    swapped = dataclasses.replace(TOY, operations=("none", *TOY.operations[:3]), none=0, skip=1)
    assert not trained("toy", PATH, TOY).holds(swapped)
    with pytest.raises(UserError, match=r"cells of another toy: cell 0 of this is \|none~0"):
        trained("toy", PATH, swapped)
    content = json.loads(PATH.read_text())
    assert all(TOY.architecture_at(f["cells"][0]).string == f["cell"] for f in content["functions"])


def test_fractions_are_no_percentages(tmp_path: Path) -> None:
    """They passed, and regrets were a hundredth of what they are."""
    layout = Layout("place,score,loss", 64, lambda place: [str(place)], {"loss": (0.0, 9.0)})
    asked = {Question("digits", "test", 1): "score"}
    table = CsvTable("mine", TOY, "mine.csv", layout, asked, "Made up.")
    for largest, fine in ((1.0, False), (0.93, False), (1.5, True), (0.0, True)):
        rows = [f"{place},{largest * place / 63},{place / 63}\n" for place in range(64)]
        (tmp_path / "mine.csv").write_text("".join(["place,score,loss\n", *rows]))
        for _ in range(2):  # from the file, and from the cache
            if fine:
                assert table.load(tmp_path).size == 64
                continue
            with pytest.raises(UserError, match=r"mine\.csv: score: these look like fractions"):
                table.load(tmp_path)


def _rising(size: int) -> Any:
    import numpy as np

    return np.arange(size, dtype=np.float64)

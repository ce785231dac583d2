"""A batch norm that would meet a single value per channel is refused before a search begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import TINY

from optnas.base.errors import UserError
from optnas.search import api
from optnas.search.standalone.settings import load_settings
from optnas.spaces.toy import TOY

# Sides of 4 are 1 in the last stage, where a batch of one image has one value per channel.
SMALL = TINY | {
    "data.resolution": 4,
    "data.train_size": 64,
    "data.valid_size": 64,
    "search.batch_size": 32,
    "evaluation.batch_size": 32,
}
OWN = {"supernet.batch_norm": "batch", "supernet.arch_step_updates_statistics": False}
REFUSED = {
    "training": ({"data.train_size": 33}, "data.train_size = 33"),
    "alpha's passes": (
        {"data.valid_size": 33, "search.valid_order": "passes"},
        "data.valid_size = 33",
    ),
    "judging by each batch": ({"data.valid_size": 33} | OWN, "data.valid_size = 33"),
    "a selection's judging": (
        {"data.valid_size": 33, "algorithm.name": "darts-pt"},
        "data.valid_size = 33",
    ),
    "a measure": (
        {"measures.gap.batch_size": 1, "measures.gap.at": ["end"]},
        "measures.gap.batch_size = 1",
    ),
    "a landscape's last batch": (
        {"measures.landscape.images": 33, "measures.landscape.at": ["end"]} | OWN,
        "measures.landscape.images = 33",
    ),
    "one of an indicator's batches": (
        {"measures.indicator": {"images": 5, "batch_size": 2, "at": ["end"]}},
        "measures.indicator.images = 5",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_single_value_is_refused(case: str, tmp_path: Path) -> None:
    settings, told = REFUSED[case]
    with pytest.raises(UserError, match="in the last stage") as refused:
        api.run(SMALL | settings, out=tmp_path / "out")
    assert told in str(refused.value)
    assert not (tmp_path / "out").exists()
    api.settings_of(SMALL | settings | {"data.resolution": 8})


LANDSCAPE = {"points": 5, "path_points": 2, "images": 33, "at": ["end"]}


@pytest.mark.parametrize(
    "settings",
    [
        {"data.valid_size": 33},
        {"data.train_size": 34},
        {"measures.landscape": LANDSCAPE},
        {"measures.landscape": LANDSCAPE | {"images": 34}} | OWN,
    ],
)
@pytest.mark.thorough
def test_what_meets_no_single_value_is_searched(
    settings: dict[str, object], tmp_path: Path
) -> None:
    assert api.run(SMALL | settings, out=tmp_path / "out")["status"] == "done"


def test_a_measure_afterwards_is_refused_alike(tmp_path: Path) -> None:
    api.run(SMALL, out=tmp_path / "out")
    with pytest.raises(UserError, match=r"measures\.gap\.batch_size = 1: a batch norm would meet"):
        api.measure(tmp_path / "out", {"gap": {"batch_size": 1}})


def test_a_stand_alone_training_is_refused_alike(tmp_path: Path) -> None:
    from test_standalone import PROTOCOL

    text = PROTOCOL.replace("train_size = 64", "train_size = 65")
    (tmp_path / "p.toml").write_text(text.replace("resolution = 8", "resolution = 4"))
    with pytest.raises(UserError, match=r"data\.train_size = 65: the last batch would be one"):
        load_settings(TOY, str(tmp_path / "p.toml"), folder=None)

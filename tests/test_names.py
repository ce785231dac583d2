"""Names of folders that look like something else, and commands that are advised for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import command, copied
from tiny import TINY

from optnas.search import api


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "done"
    api.run(TINY | {"search.epochs": 1}, out=out)
    return out


COMMANDS = """
stopping NAME
stopping NAME fixed epoch=1
measure NAME gap batches=1
plot NAME -o a.png
resume NAME
list NAME
watch NAME --once
"""


@pytest.mark.parametrize("name", ["a:b", "lr=0.1", "epoch=1", "./mine.py:fixed", "a b=c:d"])
def test_what_exists_as_a_path_is_a_path(
    name: str,
    done: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Such a folder was taken for a setting, a rule or a measure."""
    monkeypatch.chdir(tmp_path)
    copied(done, Path(name))
    for row in COMMANDS.strip().splitlines():
        if name == "epoch=1" and name in row:
            continue  # the setting of that row is the folder
        words = [name if word == "NAME" else word for word in row.split()]
        assert command(*words) == 0, (words, capsys.readouterr().err)
    assert str(Path(name)) in capsys.readouterr().out

"""Names of folders that look like something else, and commands that are advised for them."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from cases import command, copied, interrupted_run

import optnas
from optnas.base.escapes import for_shell
from optnas.base.records import RunFolder

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


# --- commands that are advised ----------------------------------------------------------------

COMMAND = re.compile(
    r"\boptnas (search|resume|measure|train|plot|study|data|benchmark) |\b(mv|rm) "
)
# What holds a path, by the end of its expression.
PATH = re.compile(r"(^|[._])(path|folder|out|where|root|previous|file|to)$|^study$")


def unquoted(source: str) -> Iterator[str]:
    """Paths put as they are into commands: a shell would take them apart at a space."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        said = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                said += str(part.value)
            elif isinstance(part, ast.FormattedValue):
                value = ast.unparse(part.value)
                if COMMAND.search(said) and PATH.search(value):
                    yield f"{said}{{{value}}}"
                said += "X"


def test_paths_that_no_shell_reads_whole_are_found() -> None:
    bad = ('f"optnas resume {run.path}"', 'f"or: mv {previous} there"', "f'optnas train {out}'")
    for each in bad:
        assert list(unquoted(f"x = {each}")), each
    for each in ('f"optnas resume {for_shell(run.path)}"', 'f"{out}: is no run"', 'f"a {path}"'):
        assert not list(unquoted(f"x = {each}")), each


@pytest.mark.thorough
def test_every_advised_command_quotes_its_paths() -> None:
    folder = Path(optnas.__file__).parent
    found = {
        f"{file.relative_to(folder)}: {each}"
        for file in sorted(folder.rglob("*.py"))
        for each in unquoted(file.read_text())
    }
    assert not found


def test_an_advised_command_works_where_the_path_has_a_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = interrupted_run(Path("my runs/it's"), 0)
    assert command("train", str(run), "--out", "t") == 2
    told = capsys.readouterr().err.strip()
    advised = told[told.index("; optnas resume") + 2 :]
    assert shlex.split(advised) == ["optnas", "resume", str(run)]
    assert command(*shlex.split(advised)[1:]) == 0
    capsys.readouterr()
    last = RunFolder(run).checkpoint
    last.write_bytes(b"damaged")
    RunFolder(run).result.unlink()
    assert command("resume", str(run)) == 2
    told = capsys.readouterr().err
    assert f"mv {for_shell(last.with_name('previous.pt'))} {for_shell(last)}; or" in told

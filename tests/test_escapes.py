"""Names and values of data never steer what shows them: LaTeX, a spreadsheet, a terminal.

Each failed on 0.1.0: T1.tex with ``_`` in a name did not compile, ``=`` in a CSV was a formula, ESC
of a name reached the terminal, and a setting of a megabyte was an error line of a megabyte.
"""

from __future__ import annotations

import ast
import csv
import io
import shutil
from pathlib import Path

import pandas as pd
import pytest
from cases import command

from optnas import cli
from optnas.base.errors import UserError
from optnas.base.escapes import for_csv, for_latex, for_terminal
from optnas.base.toml import parse_override
from optnas.report.summary import COLUMNS, Estimate, Line, as_csv, as_latex
from optnas.study.tables import write_table

RECORD = Path(__file__).parents[1] / "results" / "first-light" / "darts-SGD-SGD-0"
ESCAPE = "\x1b]0;title\x07"


def line_of(algorithm: str, pair: str) -> Line:
    nothing = Estimate(-1.0, None, None, 1)
    return Line(algorithm, pair, "black", "solid", 1, [nothing] * len(COLUMNS))


def test_every_special_character_of_latex_is_escaped() -> None:
    text = as_latex([line_of(r"./my_file.py:A", r"&%#${}~^\ + SGD")])
    assert r"./my\_file.py:A & " in text
    escaped = r"\&\%\#\$\{\}\textasciitilde{}\textasciicircum{}\textbackslash{} + SGD & 1"
    assert escaped in text


def test_t1_as_csv_holds_no_formula() -> None:
    row = list(csv.reader(io.StringIO(as_csv([line_of("=1+1", "@SUM(A1)")]))))[1]
    assert row[:5] == ["'=1+1", "'@SUM(A1)", "1", "-1.0", ""]


def test_the_table_of_a_study_holds_no_formula(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "=head": ["=1+1", "+a", "-b", "@c", "plain", None],
            "number": [-1.5, 2.0, -3.0, 4.0, 5.0, 6.0],
            "text": ["-1", "-1e-3", "a=b", "-inf", "\tx", ""],
        }
    )
    before = frame.copy()
    write_table(frame, tmp_path / "table.csv")
    heads, *rows = csv.reader(io.StringIO((tmp_path / "table.csv").read_text()))
    assert heads == ["'=head", "number", "text"]
    assert [row[0] for row in rows] == ["'=1+1", "'+a", "'-b", "'@c", "plain", ""]
    assert [float(row[1]) for row in rows] == before["number"].to_list()
    assert [row[2] for row in rows] == ["-1", "-1e-3", "a=b", "-inf", "'\tx", ""]
    assert frame.equals(before)


def test_numbers_of_a_csv_are_left() -> None:
    assert [for_csv(each) for each in (-1, -0.5, None, "-2", "x")] == [-1, -0.5, None, "-2", "x"]


def test_every_control_character_but_newline_and_tab_is_shown_as_its_name() -> None:
    controls = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))} - {"\n", "\t"}
    for each in controls:
        assert for_terminal(f"a{each}b") == f"a\\x{ord(each):02x}b"
    assert for_terminal("a\n\tb äβ") == "a\n\tb äβ"
    assert for_terminal("\udcff").encode() == b"\\udcff"


def test_names_of_a_run_do_not_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(RECORD, tmp_path / f"{ESCAPE}run"))
    config = run / "config.toml"
    config.write_text(config.read_text().replace('"SGD"', r'"\u001b[2J\u009bSGD"', 1))
    assert command("list", str(tmp_path)) == 0
    out = capsys.readouterr().out
    assert "\\x1b]0;title\\x07run" in out
    assert r"\x1b[2J\x9bSGD" in out
    assert not set(out) & {"\x1b", "\x07", "\x9b"}


def test_an_error_line_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("list", f"{ESCAPE}none") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "DIR|KIND = '\\x1b]0;title\\x07none'" in err
    assert "\x1b" not in err


def test_nothing_of_the_command_line_prints_past_the_escapes() -> None:
    """`say` is the one door; JSON escapes by itself."""
    for path in sorted(Path(cli.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or path.name == "text.py":
                continue
            words = ast.unparse(node)
            told = words.startswith("print(") and "file=sys.stderr" not in words
            assert not told, f"{path.name}: {words}"
            if words.startswith("typer.echo("):
                assert words.startswith(("typer.echo(dump_json(", "typer.echo(json.dumps(")), words


def test_an_error_line_has_a_sane_length(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("search", "--out", "x", f"algorithm.name={'a' * 1_000_000}") == 2
    err = capsys.readouterr().err
    assert f"algorithm.name = '{'a' * 200}...'" in err
    assert len(err) < 1000
    assert command("search", "--out", "x", "b" * 1_000_000) == 2
    assert len(capsys.readouterr().err) < 1000
    assert len(str(UserError("r" * 10**6, where="w" * 10**6, remedy="m" * 10**6))) < 10_000


def test_a_value_that_cannot_be_shown_is_told_all_the_same() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert "search.seed = (a value of type int)" in str(
        UserError("no", key="search.seed", value=10**5000)
    )
    assert "(a value of type list)" in str(UserError("no", key="a", value=nested))
    while nested:  # else freeing it would recurse
        nested = nested[0]  # type: ignore[assignment]


def test_latex_leaves_plain_names() -> None:
    assert for_latex("darts-minus: SGD + Adam") == "darts-minus: SGD + Adam"


def test_the_error_of_a_word_that_is_no_setting_is_short() -> None:
    with pytest.raises(UserError, match="not a setting") as caught:
        parse_override("k" * 100_000)
    assert len(str(caught.value)) < 500

"""Run docs/tutorial.py cell by cell in a folder, and write what it showed as docs/tutorial.ipynb.

python results/tutorial.py FOLDER [NOTEBOOK]
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import linecache
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
TUTORIAL, NOTEBOOK = DOCS / "tutorial.py", DOCS / "tutorial.ipynb"
Cell = dict[str, Any]


def cells_of(script: str) -> Iterator[Cell]:
    """The cells of a script in the percent format, not executed."""
    for number, part in enumerate(re.split(r"(?m)^# %%", script)[1:]):
        head, _, body = part.partition("\n")
        kind = "markdown" if "[markdown]" in head else "code"
        text = body.strip("\n")
        if kind == "markdown":
            text = re.sub(r"(?m)^# ?", "", text)
        cell: Cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
        cell["source"] = text.splitlines(keepends=True)
        yield cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def execute(cells: list[Cell]) -> dict[str, Any]:
    """Run the code cells in order; what each prints and its last value become its outputs.

    Returns:
        What the cells defined.
    """
    space: dict[str, Any] = {"__name__": "__main__"}
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, start=1):
        source, name = "".join(cell["source"]), f"<cell {number}>"
        linecache.cache[name] = (len(source), None, cell["source"], name)
        tree = ast.parse(source, name)
        shown = ast.Expression(tree.body.pop().value) if _is_value(tree) else None
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(tree, name, "exec"), space)
            value = eval(compile(shown, name, "eval"), space) if shown else None
        cell["execution_count"] = number
        if printed.getvalue():
            text = printed.getvalue().splitlines(keepends=True)
            cell["outputs"].append({"output_type": "stream", "name": "stdout", "text": text})
        if value is not None:
            held = {"data": _data(value), "metadata": {}, "execution_count": number}
            cell["outputs"].append({"output_type": "execute_result", **held})
    return space


def _is_value(tree: ast.Module) -> bool:
    return bool(tree.body) and isinstance(tree.body[-1], ast.Expr)


def _data(value: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"text/plain": repr(value).splitlines(keepends=True)}
    if hasattr(value, "_repr_png_"):
        data["image/png"] = base64.b64encode(value._repr_png_()).decode()
    if hasattr(value, "_repr_html_"):
        data["text/html"] = value._repr_html_().splitlines(keepends=True)
    return data


def main(folder: Path, notebook: Path = NOTEBOOK) -> dict[str, Any]:
    """Run the tutorial in a folder.

    Args:
        folder: new or empty; its runs are left there.
        notebook: the file that is written.

    Returns:
        What the tutorial defined.
    """
    cells = list(cells_of(TUTORIAL.read_text()))
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):
        space = execute(cells)
    about = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    document = {"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}
    notebook.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return space


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(*map(Path, sys.argv[1:]))

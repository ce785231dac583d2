"""The table T1 of the report in Markdown, of a page built from runs."""

from __future__ import annotations

from documents import as_table

from optnas.report.material import Material
from optnas.report.summary import COLUMNS, summary, told


def summary_table(material: Material) -> str:
    """T1 of the report: means over seeds with 95 % bootstrap intervals."""
    heads = ["algorithm", "w + alpha", "n", *(f"{name} ({unit})" for name, unit, _ in COLUMNS)]
    rows = [
        (
            *(line.algorithm, line.pair, line.n),
            *(told(e, digits) for e, (_, _, digits) in zip(line.estimates, COLUMNS, strict=True)),
        )
        for line in summary(material)
    ]
    return as_table(heads, rows)

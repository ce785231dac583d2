"""What ``study tune`` prints. Computes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optnas.cli.printing.text import aligned, say

if TYPE_CHECKING:
    from optnas.study.tuned import Tuned


def print_tuned(tuned: Tuned) -> None:
    """The loss at every rate, the rates chosen, what is to be known of them, what to declare.

    Args:
        tuned: what was found.
    """
    for study, found in zip(tuned.studies, tuned.responses, strict=True):
        say(f"{study}: mean validation loss of the supernet after the last epoch, on equal seeds")
        heads = [key if key.endswith(".name") else f"<{key}" for key in map(str, found)]
        rows = [list(map(_cell, row.values())) for row in found.to_dict("records")]
        say("\n".join(aligned(heads, rows)))
        say()
    say(f"chosen: {tuned.arm.rates}")
    for remark in tuned.arm.remarks:
        say(f"but: {remark}")
    say(f"to be declared in {tuned.leads}:")
    say()
    say(tuned.declare)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "-" if value != value else f"{value:.5g}"
    return str(value)


def tuned_document(tuned: Tuned) -> dict[str, Any]:
    """The same for JSON.

    Args:
        tuned: what was found.

    Returns:
        Plain values; a loss that no run has is None.
    """
    return {
        "studies": list(tuned.studies),
        "chosen": [dict(row) for row in tuned.arm.rows],
        "tuned_on": sorted(tuned.arm.tuned_on),
        "remarks": list(tuned.arm.remarks),
        "responses": [
            [
                {key: None if value != value else value for key, value in row.items()}
                for row in found.to_dict("records")
            ]
            for found in tuned.responses
        ],
        "declare_in": tuned.leads,
        "declare": tuned.declare,
    }

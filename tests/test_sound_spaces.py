"""A space that contradicts itself is refused in one line, where it is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_settings

from optnas.base.errors import UserError
from optnas.spaces import Space, build_space
from optnas.spaces.wiring import Wiring

TRIANGLE: dict[str, Any] = {
    "name": "mine",
    "nodes": 3,
    "edges": ((0, 1), (0, 2), (1, 2)),
    "operations": ("skip_connect", "none", "nor_conv_1x1"),
    "none": 1,
    "skip": 0,
    "weighted": (2,),
}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"none": 0, "skip": 1}, "none of mine is 0, which is skip_connect: none is 1"),
    ({"skip": 2}, "skip of mine is 2, which is nor_conv_1x1: skip_connect is 0"),
    ({"none": None}, "none of mine is None: none is 1"),
    ({"operations": ("skip_connect", "none", "skip_connect")}, "has the operation skip_connect tw"),
    (
        {"operations": ("nor_conv_1x1",), "none": None, "skip": None, "weighted": (0,)},
        "mine leaves a search no choice: an edge needs two operations or more",
    ),
    ({"columns": ((2,), (2,), (2,))}, "an edge needs two operations or more"),
    ({"own": {"nor_conv_1x1": "conv"}}, "own operation nor_conv_1x1 of mine is a str: give a func"),
    ({"edges": ((0, 2), (0, 1), (1, 2))}, "edges of mine must run forward"),
    ({"edges": 3}, "not iterable"),
]


@pytest.mark.parametrize(("changes", "told"), WRONG, ids=[told for _, told in WRONG])
def test_a_space_that_contradicts_itself(
    changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    """Searches ran on some of these, and others failed with a traceback."""
    with pytest.raises((TypeError, ValueError)) as found:
        Space(**(TRIANGLE | changes))
    assert told in str(found.value)
    file = tmp_path / "s.py"
    file.write_text(
        f"from optnas import Space\ndef s():\n    return Space(**{TRIANGLE | changes})\n"
    )
    with pytest.raises(UserError) as refused:
        tiny_settings(space__name=f"{file}:s", benchmark__table="none")
    assert (refused.value.key, refused.value.value) == ("space.name", f"{file}:s")
    assert told in refused.value.reason


def test_what_is_no_space(tmp_path: Path) -> None:
    file = tmp_path / "s.py"
    file.write_text("def s():\n    return 3\n")
    with pytest.raises(UserError, match=r"no space can be made of it \(a int, no Space\)"):
        build_space({"name": f"{file}:s"})


def test_lists_are_tuples() -> None:
    """They were a TypeError: unhashable."""
    lists = {key: list(map(list, v)) for key, v in TRIANGLE.items() if key == "edges"}
    lists |= {key: list(TRIANGLE[key]) for key in ("operations", "weighted")}
    columns = {"columns": [[0, 2], [1, 2], [0, 1]]}
    assert Space(**(TRIANGLE | lists)) == Space(**TRIANGLE)
    assert len({Space(**(TRIANGLE | lists | columns)), Space(**TRIANGLE)}) == 2
    edges: Any = [[0, 1], [1, 2]]
    wired = Space.of_wirings("w", [Wiring("w", 3, edges, strided=[0])], ["none", "a"], 0, None)
    same = Space.of_wirings(
        "w", (Wiring("w", 3, ((0, 1), (1, 2)), strided=(0,)),), ("none", "a"), 0, None
    )
    assert wired == same
    assert hash(wired) == hash(same)

"""What a study calls its optimizers and algorithms, put in the place of their names in figures."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from optnas.study.axes import PAIR
from optnas.study.declare import Study

ALGORITHM = "algorithm"
Told = TypeVar("Told")


class Labels:
    """Labels by section and name, as far as every run with the name has one and the same.

    Args:
        study: the study.
    """

    def __init__(self, study: Study):
        of: dict[str, dict[str, set[str]]] = {section: {} for section in (*PAIR, ALGORITHM)}
        for run in study.runs.values():
            for section, names in of.items():
                name = str(getattr(run.settings, section).name)
                names.setdefault(name, set()).add(run.labels.get(section, ""))
        self._algorithms = _single(of[ALGORITHM])
        w, a = ({**dict.fromkeys(of[section]), **_single(of[section])} for section in PAIR)
        self._pairs = {
            f"{weight} + {arch}": f"{w[weight] or weight} + {a[arch] or arch}"
            for weight, arch in itertools.product(w, a)
            if w[weight] or a[arch]
        }
        whole = "|".join(map(re.escape, sorted(self._pairs, key=len, reverse=True)))
        self._pair = re.compile(rf"(?<![\w./:-])(?:{whole})(?![\w./:-])")

    def of(self, text: str) -> str:
        """A text with the labels of the pairs in it, and of the algorithm that it begins with."""
        found = self._pair.sub(lambda match: self._pairs[match[0]], text) if self._pairs else text
        for name, label in self._algorithms.items():
            if found == name or found.startswith((f"{name}: ", f"{name} (", f"{name}, ")):
                return label + found[len(name) :]
        return found

    def within(self, told: Told) -> Told:
        """The same data with labels in all of its texts."""
        if not self._pairs and not self._algorithms:
            return told
        changed: Any = self._within(told)
        return changed

    def _within(self, told: Any) -> Any:
        if isinstance(told, str):
            return self.of(told)
        if isinstance(told, tuple) and type(told) is not tuple:
            return type(told)(*map(self._within, told))
        if isinstance(told, (list, tuple)):
            return type(told)(map(self._within, told))
        if dataclasses.is_dataclass(told) and not isinstance(told, type):
            fields = {each.name: getattr(told, each.name) for each in dataclasses.fields(told)}
            changed = {name: self._within(value) for name, value in fields.items()}
            return dataclasses.replace(told, **changed)
        return told


def _single(labels: Mapping[str, set[str]]) -> dict[str, str]:
    """The names of which every run has one and the same label."""
    return {
        name: next(iter(each)) for name, each in labels.items() if len(each) == 1 and each != {""}
    }

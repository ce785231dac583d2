"""What a study calls the values of its axes, put in the place of components' names in figures.

An axis of which a value has a label is told in the words of the comparison, the other values too.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from optnas.measures.drawing import own_settings, pair_name, run_label, run_labels, setting
from optnas.measures.figures import Figure, Seed
from optnas.report.inventory import Entry
from optnas.study.axes import IDLE, PAIR, Axis
from optnas.study.declare import Study

ALGORITHM = "algorithm"
HYPERGRADIENT = f"{ALGORITHM}.hypergradient"
Told = TypeVar("Told")


class Labels:
    """The words of each run of a study for its labelled axes.

    Args:
        study: the study.
        axes: its axes.
        entries: its runs, there or not, in its order.
    """

    def __init__(self, study: Study, axes: Sequence[Axis], entries: Sequence[Entry]):
        labelled: dict[str, str] = {}
        for run in study.runs.values():
            for key, label in run.labels.items():
                if key.partition(".")[0] not in IDLE:
                    labelled.setdefault(key, label)
        self._words: dict[str, dict[str, str]] = {entry.id: {} for entry in entries}
        for key, label in labelled.items():
            axis = next((each for each in axes if _below(key, each.key)), None)
            for entry, name in zip(entries, study.runs, strict=True):
                # What does not vary is no axis: every run has the one label.
                at, word = (key, label) if axis is None else (axis.key, axis.values[name])
                self._words[entry.id][at] = word
        self._keys = sorted({key for words in self._words.values() for key in words})
        self._configs = {
            entry.id: entry.folder.read_config() if entry.recorded else run.settings.document()
            for entry, run in zip(entries, study.runs.values(), strict=True)
        }
        self._ids: dict[str, set[str]] = {}
        for entry in entries:
            for name in (entry.id, entry.folder.path.name):
                self._ids.setdefault(name, set()).add(entry.id)

    def said(self, key: str) -> str | None:
        """The labelled axis that a setting is part of, if there is one."""
        return next((axis for axis in self._keys if _below(key, axis)), None)

    def word(self, key: str, ids: Iterable[str]) -> str | None:
        """What all of some runs are called along a labelled axis; None where they differ."""
        words = {self._words[each].get(key) for each in ids}
        return words.pop() if len(words) == 1 else None

    def naming(self, figure: Callable[..., Any], ids: Sequence[str] | None) -> Callable[..., Any]:
        """A figure with labels in all of its texts.

        Args:
            figure: a registered function.
            ids: the runs it is handed; None where it chooses: those of its curves.
        """

        @functools.wraps(figure)
        def named(*arguments: Any, **chosen: Any) -> Any:
            made = figure(*arguments, **chosen)
            if not self._keys:
                return made
            if not isinstance(made, Figure):
                return self._on_drawing(made, ids)
            return self.within(made, self._drawn(made) if ids is None else ids)

        return named

    def _drawn(self, figure: Figure) -> list[str]:
        """The runs of a figure's curves."""
        panels = [panel for row in figure.rows for panel in row.panels]
        names = {seed.run for panel in panels for curve in panel.curves for seed in curve.seeds}
        return sorted(set[str]().union(*(self._ids.get(name, ()) for name in names)))

    def _on_drawing(self, drawing: Any, ids: Sequence[str] | None) -> Any:
        from matplotlib.text import Text

        substitute = self._substitute(ids)
        for each in drawing.findobj(Text):
            each.set_text(substitute(each.get_text()))
        return drawing

    def within(self, told: Told, ids: Sequence[str] | None = None) -> Told:
        """The same data with labels in all of its texts.

        Args:
            told: texts, in sequences and dataclasses.
            ids: the runs that it tells of; default: all.
        """
        if not self._keys:
            return told
        changed: Any = _within(told, self._substitute(ids))
        return changed

    def _substitute(self, ids: Sequence[str] | None) -> Callable[[str], str]:
        """A text with the names in it replaced that stand for runs of one label only."""
        ids = list(self._configs if ids is None else ids)
        configs = [self._configs[each] for each in ids]
        whole: dict[str, set[str]] = {}
        first: dict[str, set[str]] = {}
        for each, config, text, own in zip(
            ids, configs, run_labels(configs), own_settings(configs), strict=True
        ):
            head, pair = self._head(each, config), self._pair(each, config)
            rest = self._rest(each, ids)
            rest += [setting(k, value) for k, value in own.items() if self.said(k) is None]
            told = f"{', '.join([head, *rest])}: {pair}"
            whole.setdefault(text, set()).add(told)
            whole.setdefault(run_label(config), set()).add(told)
            whole.setdefault(pair_name(config), set()).add(pair)
            first.setdefault(str(config[ALGORITHM]["name"]), set()).add(head)
        return _replacing(_single(whole), _single(first))

    def _head(self, run: str, config: Mapping[str, Any]) -> str:
        """The algorithm's label or its name, as `run_label` has it."""
        if ALGORITHM in self._words[run]:
            return self._words[run][ALGORITHM]
        if self.said(HYPERGRADIENT) is not None:
            return str(config[ALGORITHM]["name"])
        return run_label(config).removesuffix(f": {pair_name(config)}")

    def _pair(self, run: str, config: Mapping[str, Any]) -> str:
        return " + ".join(
            self._words[run].get(section) or str(config[section]["name"]) for section in PAIR
        )

    def _rest(self, run: str, among: Sequence[str]) -> list[str]:
        """The words of the other axes in which runs differ."""
        others = [key for key in self._keys if key not in (*PAIR, ALGORITHM)]
        return [self._words[run][key] for key in others if self.word(key, among) is None]


def _below(key: str, section: str) -> bool:
    return f"{key}.".startswith(f"{section}.")


def _single(told: Mapping[str, set[str]]) -> dict[str, str]:
    """The names that stand for one and the same label, where it is another word."""
    single = {name: next(iter(each)) for name, each in told.items() if len(each) == 1}
    return {name: label for name, label in single.items() if name != label}


def _replacing(anywhere: Mapping[str, str], at_first: Mapping[str, str]) -> Callable[[str], str]:
    """A function that replaces words in one pass; some only where a text begins with them."""

    def any_of(names: Iterable[str]) -> str:
        return "|".join(map(re.escape, sorted(names, key=len, reverse=True)))

    patterns = []
    if anywhere:
        patterns.append(rf"(?<![\w./:-])(?:{any_of(anywhere)})(?![\w./:-])")
    if at_first:
        patterns.append(rf"\A(?:{any_of(at_first)})(?=\Z|: | \(|, )")
    if not patterns:
        return lambda text: text
    found, labels = re.compile("|".join(patterns)), {**at_first, **anywhere}
    return lambda text: found.sub(lambda match: labels[match[0]], text)


def _within(told: Any, substitute: Callable[[str], str]) -> Any:
    if isinstance(told, str):
        return substitute(told)
    if isinstance(told, Seed):  # a run has its own name
        return told
    if isinstance(told, tuple) and type(told) is not tuple:
        return type(told)(*(_within(each, substitute) for each in told))
    if isinstance(told, (list, tuple)):
        return type(told)(_within(each, substitute) for each in told)
    if dataclasses.is_dataclass(told) and not isinstance(told, type):
        fields = {each.name: getattr(told, each.name) for each in dataclasses.fields(told)}
        changed = {name: _within(value, substitute) for name, value in fields.items()}
        return dataclasses.replace(told, **changed)
    return told

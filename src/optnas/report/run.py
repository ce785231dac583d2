"""A run as a value: what its folder says, read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optnas.base.errors import UserError, did_you_mean
from optnas.base.folder import Place
from optnas.base.measurements import IDENTITY, Line
from optnas.base.records import RunFolder
from optnas.base.toml import flat
from optnas.search.words import speaking

if TYPE_CHECKING:
    import pandas as pd

    from optnas.report.pictures import Picture
    from optnas.spaces import Architecture
    from optnas.spaces.network.module import NetworkModule


class Measured(dict[str, "pd.DataFrame"]):
    """Tables by the label of their measure; a label that is not there is told in one line."""

    @speaking
    def __missing__(self, label: str) -> pd.DataFrame:
        raise UserError(
            "the run has no lines of a measure of this label",
            where="arguments",
            key="label",
            value=label,
            remedy=did_you_mean(label, self) if self else "take it: optnas measure RUN NAME",
        )


def _apart(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Of each line of a label the settings, and the source, in which the lines differ."""
    ways = [flat({key: line.get(key) for key in IDENTITY}) for line in lines]
    keys = dict.fromkeys(key for way in ways for key in way)
    differing = [key for key in keys if any(way.get(key) != ways[0].get(key) for way in ways)]
    return [{key: way.get(key) for key in differing} for way in ways]


class Run:
    """A search in its folder, finished or not; nothing is kept, so that a running one is followed.

    Args:
        path: the run's folder.

    Raises:
        UserError: there is no run in it.
    """

    @speaking
    def __init__(self, path: Place):
        self.folder = RunFolder(path)
        self.folder.read_config()

    def __fspath__(self) -> str:
        return str(self.folder.path)

    def __repr__(self) -> str:
        from optnas.measures.drawing import run_label
        from optnas.study.states import look

        config, (state, reason) = self.folder.read_config(), look(self.folder)
        told = f"{run_label(config)}, {config['data']['name']}, seed {config['search']['seed']}"
        return f"<Run {self.folder.path}: {told}: {state}{reason and f' ({reason})'}>"

    @property
    @speaking
    def settings(self) -> dict[str, Any]:
        """Every setting by its dotted key; `optnas.run` takes them as they are."""
        config = self.folder.read_config()
        return flat({k: v for k, v in config.items() if k not in ("format", "identity")})

    @property
    @speaking
    def result(self) -> dict[str, Any] | None:
        """How it ended, the content of result.json; None while it has not."""
        return self.folder.read_result()

    @property
    @speaking
    def epochs(self) -> pd.DataFrame:
        """One row per epoch, as of `optnas.load`."""
        from optnas.search.api import load

        return load(self.folder.path)

    @property
    @speaking
    def measures(self) -> dict[str, pd.DataFrame]:
        """What each measure found, by its label: one row per line, its values under their names.

        Where a label was measured in several ways, ``settings.KEY`` and ``source`` say of each row
        what tells it apart.
        """
        import pandas as pd

        found = Measured()
        for label in self.folder.measures.labels():
            lines = self.folder.read_measures(label)
            rows = [
                {"epoch": line["epoch"], "status": line["status"], **apart, **line["values"]}
                for line, apart in zip(lines, _apart(lines), strict=True)
            ]
            found[label] = pd.json_normalize(rows)
        return found

    @property
    @speaking
    def architecture(self) -> Architecture:
        """The derived cell after the last recorded epoch."""
        from optnas.spaces import build_space

        space = build_space(self.folder.read_config()["space"])
        return space.parse(self.folder.read_some_epochs()[-1]["architecture"])

    @speaking
    def supernet(self, epoch: int | None = None) -> NetworkModule:
        """The trained supernet, as of `optnas.supernet`; by default that of the last epoch."""
        from optnas.search.modules import supernet

        return supernet(self.folder.path, epoch=epoch)

    @speaking
    def plot(
        self,
        path: str | Path | None = None,
        figure: str | Callable[..., Any] = "epochs",
        **options: Any,
    ) -> Picture:
        """A figure of this run: a notebook shows it, ``plot().drawing`` is matplotlib's.

        Args:
            path: also write it to this file, which ends in .png, .svg or .pdf.
            figure: as of `optnas.plot_figure`.
            **options: the figure's own.
        """
        from optnas.report.pictures import picture_of, plot_figure

        if path is not None:
            plot_figure(figure, [self.folder], path, options)
        return picture_of(figure, [self.folder], options)

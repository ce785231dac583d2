"""``optnas.study``: the module of studies, and a study declared in a program when it is called."""

from __future__ import annotations

import logging
import os
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optnas.study
from optnas.base.errors import UserError
from optnas.base.folder import Kept, folder_path
from optnas.base.toml import require_table
from optnas.search.words import speaking, told

if TYPE_CHECKING:
    import pandas as pd

    from optnas.analysis.claims.read import Claimed
    from optnas.report.run import Run
    from optnas.study.alone import Trained
    from optnas.study.declare import Study
    from optnas.study.judging import Ledger

log = logging.getLogger(__name__)
FILE = "study.toml"
LABEL = "study"  # what messages call a dictionary


class DeclaredStudy:
    """A study and its folder; made by calling ``optnas.study``.

    Whatever needs the study's file finds it in the folder, `FILE`, for every command too:
    ``optnas study report OUT/study.toml --out OUT``.
    """

    def __init__(
        self,
        declared: Mapping[str, Any] | str | Path,
        out: str | Path,
        settings: Mapping[str, Any] | None = None,
    ):
        from optnas.search.objects import named
        from optnas.study.declare import STUDIES, load_study, study_of

        self._out = Kept(folder_path(out, "out"))
        require_table(settings or {}, "settings")
        self._settings = dict(settings or {})
        data = self._settings.get("data.folder")
        if isinstance(data, (str, os.PathLike)):
            self._settings["data.folder"] = os.path.abspath(data)
        self._name: Callable[[], Path]
        self._document: dict[str, Any] | None = None
        with told(LABEL):
            if isinstance(declared, Mapping):
                with named(declared, LABEL) as plain:
                    self._document = _document(plain)
                    self._study = study_of(self._document, LABEL, self._settings)
                self._name = lambda: self.out / FILE
            else:
                named_by, name = Path(declared), str(declared)
                shipped = name in STUDIES.names()
                self._name = (lambda: named_by) if shipped else Kept(named_by)
                self._study = load_study(name, self._settings)

    def __repr__(self) -> str:
        return f"<study {self._study.name}: {len(self._study.runs)} runs in {self.out}>"

    @property
    def out(self) -> Path:
        """The study's folder, as it was given until the program goes elsewhere."""
        return self._out()

    @property
    def study(self) -> Study:
        """The study with its runs resolved."""
        return self._study

    @property
    def runs(self) -> list[Run]:
        """The runs that have begun, in the study's order."""
        from optnas.report.run import Run
        from optnas.study.folder import locate

        folders = locate(self._study.runs.values(), self.out).values()
        return [Run(folder.path) for folder in folders if folder.config.exists()]

    @speaking
    def plan(self, *, timing: bool = True) -> pd.DataFrame:
        """Every run, whether it is there already, and how long it would take alone.

        Args:
            timing: measure a few steps of each kind of run; a minute at most.

        Returns:
            One row per run, by id: the study's axes and the seed; ``state`` and ``reason``, as of
            ``optnas study status``; ``seconds``, where they were measured.
        """
        import pandas as pd

        from optnas.base.escapes import for_terminal
        from optnas.study.added import begun_without
        from optnas.study.declare import SEED
        from optnas.study.folder import locate
        from optnas.study.states import look
        from optnas.study.timing import estimate

        runs, folders = self._study.runs, locate(self._study.runs.values(), self.out)
        for line in begun_without(self._study, folders):
            log.warning("optnas: warning: %s", for_terminal(line))
        seconds = estimate(self._study) if timing else {}
        rows = [
            {key: run.shown(key) for key in run.point if key != SEED}
            | {SEED: run.point[SEED], **look(folders[name])._asdict(), "seconds": seconds.get(name)}
            for name, run in runs.items()
        ]
        return pd.DataFrame(rows, index=pd.Index(runs, name="id"))

    @speaking
    def run(
        self,
        *,
        jobs: int | None = None,
        max_runs: int | None = None,
        retry_failed: bool = False,
        engine: str = "local",
        engine_settings: Mapping[str, Any] | None = None,
        progress: bool | None = None,
    ) -> bool:
        """Run what is missing; after an interruption call it again.

        Args:
            jobs: runs at a time; default: the cores.
            max_runs: begin no more than so many.
            retry_failed: also go on with runs that failed.
            engine: ``local``, ``ray``, ``slurm`` or ``module:Object``.
            engine_settings: of the engine.
            progress: as of `optnas.run`.

        Returns:
            Whether every run is finished; `plan` tells of the others why they are not.
        """
        from optnas.search.showing import Line
        from optnas.study.progress import Watch
        from optnas.study.runner import runner_of

        self._write()
        runner = runner_of(
            self._study,
            self.out,
            engine,
            engine_settings or {},
            jobs=jobs,
            threads=self._settings.get("run.threads"),
            max_runs=max_runs,
            retry_failed=retry_failed,
        )
        watch = Watch(self._study.runs, runner.folders, runner.queue)

        def look() -> None:
            if line.shown:  # looking reads the records of every run that goes on
                line.show(watch.look().line(runner.abreast))

        with Line(progress) as line:
            runner.on_tick = look
            whole = runner.go()
            look()
        return whole

    @speaking
    def train(self, settings: Mapping[str, Any] | None = None, **options: Any) -> Trained:
        """Train the cells that the finished runs found, so that data without a table are judged.

        Args:
            settings: dotted keys over the training protocol, such as ``{"training.epochs": 20}``.
            **options: ``protocol``, ``device``, ``threads``, as of
                `optnas.study.alone.train_cells`.

        Returns:
            How many runs and cells are trained now.
        """
        from optnas.study.alone import train_cells
        from optnas.study.folder import recorded

        folders = recorded(self._study.runs.values(), self.out)
        return train_cells(folders, self.out, settings, **options)

    @speaking
    def table(self, **options: Any) -> pd.DataFrame:
        """One row for each run and epoch; options as of `optnas.study.table`."""
        from optnas.study.tables import table

        return table(self._written(), self.out, **self._read(options))

    @speaking
    def compare(
        self,
        by: Sequence[str] = (),
        responses: Sequence[str] = (),
        *,
        to: str | Path | None = None,
        **options: Any,
    ) -> pd.DataFrame:
        """Every pair of arms within seeds.

        Args:
            by: axes whose values make the arms; default: all of them together, or of a study of
                more than twelve arms each by itself.
            responses: such as ``accuracy``, ``auc accuracy`` or ``train_loss``; default: the
                benchmark's accuracy of the derived cell, the supernet's, and that of trained cells
                where there are any.
            to: also write compare.csv, .tex, .pdf, .png and .svg into this folder; axes, responses
                and the table that are asked for are part of the name.
            **options: as of `optnas.study.compare`.

        Returns:
            One row per response and pair: ``arm`` minus ``other`` over ``n`` seeds, ``difference``
            with its interval from ``low`` to ``high``, ``p``, ``p_holm`` and further columns
            (docs/studies.md); ``attrs["remarks"]`` says what the seeds cannot decide.
        """
        import pandas as pd

        from optnas.report.comparison import as_plain, write_comparison
        from optnas.study.comparing import compare

        found = compare(self._written(), self.out, by, responses, **self._read(options))
        if to is not None:
            table, within = options.get("benchmark"), options.get("within", ())
            write_comparison(found, folder_path(to, "to"), by, responses, table, within)
        rows, remarks = [], []
        for each in map(as_plain, found):
            about = {"response": each["response"], "unit": each["unit_of_difference"]}
            for row in each["rows"]:
                arm, other = row.pop("arms")
                rows.append({**about, "arm": arm, "other": other, **row})
            remarks += each["remarks"]
        table = pd.DataFrame(rows)
        table.attrs["remarks"] = list(dict.fromkeys(remarks))
        return table

    @speaking
    def report(self, to: str | Path | None = None, **options: Any) -> Path:
        """Write report.html and figures/; options as of `optnas.report.report`.

        Args:
            to: where to; default: the study's folder.
            **options: as of `optnas.report.report`.

        Returns:
            The page.
        """
        from optnas.report.build import report

        return report(self._written(), self.out, to, **self._read(options))

    @speaking
    def judge(self, claims: Iterable[Claimed] | None = None, **options: Any) -> Ledger:
        """Judge claims by the runs.

        Args:
            claims: names, files, folders, functions or claims as they are; default: the ledger.
            **options: as of `optnas.study.judge`.

        Returns:
            What the runs say, ``findings`` one per claim and learning-rate arm.
        """
        from optnas.study.judging import judge

        return judge(self._written(), self.out, claims, **self._read(options))

    def _read(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options of what reads the study's file again, with the data folder it was made with."""
        folder = self._settings.get("data.folder")
        return {**({} if folder is None else {"data": folder_path(folder)}), **options}

    def _written(self) -> str:
        """The name of the study's file, which is there."""
        self._write()
        return str(self._name())

    def _write(self) -> None:
        from optnas.base.files import write_text, writing
        from optnas.base.toml import dump_toml

        if self._document is None:
            return
        try:
            text = dump_toml(self._document)
        except TypeError as error:
            raise UserError(
                f"holds what no TOML file can ({error})",
                where=LABEL,
                remedy="leave out what is None",
            ) from error
        with writing("the study", key="--out", path=self.out):
            self.out.mkdir(parents=True, exist_ok=True)
            write_text(self.out / FILE, text)


def _document(declared: Mapping[str, Any]) -> dict[str, Any]:
    """What the study's file would hold: the keys of [study], and grids."""
    from optnas.base.toml import nest

    table = {key: value for key, value in declared.items() if key != "grid"}
    if isinstance(table.get("base"), Mapping):
        table["base"] = nest(table["base"], f"{LABEL}: base")
    grid = declared.get("grid", {})
    return {"study": table, "grid": [grid] if isinstance(grid, Mapping) else grid}


class Studies(types.ModuleType):
    """The module ``optnas.study``; called, it declares a study."""

    if TYPE_CHECKING:
        Runner: type[Any]
        compare: Callable[..., Any]
        export: Callable[..., Any]
        judge: Callable[..., Any]
        load_study: Callable[..., Study]
        table: Callable[..., pd.DataFrame]

    def __call__(
        self,
        declared: Mapping[str, Any] | str | Path,
        *,
        out: str | Path,
        settings: Mapping[str, Any] | None = None,
    ) -> DeclaredStudy:
        """Declare a study: grids of settings under seeds.

        Args:
            declared: the keys of a study's file without ``[study]``: ``name``, ``seeds``, ``base``,
                and ``grid``, one grid or a list of them; classes and functions may stand for names.
                Or a shipped name, or the path of a file.
            out: the study's folder.
            settings: dotted keys that lie over every run and change no number: ``run.*`` and
                ``data.folder``.

        Raises:
            UserError: anything in it is unknown, ill-typed, out of range or contradictory.
        """
        return DeclaredStudy(declared, out, settings)


module: Any = optnas.study
module.__class__ = Studies
study: Studies = module

"""Learning-rate sweeps: the supernet's loss at each rate on equal seeds, and which rate is best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from optnas.analysis.runs import SEED, Runs, plain, setting_columns
from optnas.base.errors import UserError
from optnas.base.records import FINISHED

WEIGHT, ARCH = "weight_optimizer", "arch_optimizer"
ALGORITHM = "algorithm.name"
PAIR = (ALGORITHM, f"{WEIGHT}.name", f"{ARCH}.name")
RATES = (f"{WEIGHT}.lr", f"{ARCH}.lr")
SYMBOLS = {WEIGHT: "w", ARCH: "alpha"}
SHOWN = 4  # rates that are named in a remark


@dataclass(frozen=True)
class Choice:
    """The best rates of a sweep.

    Args:
        best: the rows of ``found`` that were chosen, one per combination, the best first.
        found: as of `responses`.
        remarks: what else is to be known: runs that diverged or are missing, a rate at the edge.
        seeds: those of the sweep.
    """

    best: pd.DataFrame
    found: pd.DataFrame
    remarks: tuple[str, ...]
    seeds: frozenset[int]


def responses(sweep: pd.DataFrame, by: Sequence[str] = PAIR) -> pd.DataFrame:
    """The whole learning-rate response: final validation loss of the supernet at each rate.

    On equal seeds: those on which runs of every rate have ended.

    Args:
        sweep: a tidy table of a learning-rate sweep.
        by: what is tuned apart.

    Returns:
        One row per combination of ``by`` and both rates: n, the runs that ended; diverged, how many
        of them did; valid_loss, the mean at the last epoch of the others, NaN where all diverged.

    Raises:
        UserError: some combination was given more trials than another: an unequal budget; runs of
            one combination at the same rates differ in another setting; or no seed has ended at
            every rate.
    """
    return _responses(sweep, by)[0]


def _responses(sweep: pd.DataFrame, by: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """The response, and in words the runs that are not there, with the seeds that are compared."""
    # Whoever leaves a name out of what is tuned apart asks for one rate for all of its values.
    _require_one_way(sweep, [*dict.fromkeys((*by, *PAIR, *RATES))])
    last, remarks = _on_equal_seeds(sweep, [*by, *RATES])
    found = (
        last.groupby([*by, *RATES])
        .agg(n=("id", "size"), diverged=("diverged", "sum"), valid_loss=("valid_loss", "mean"))
        .reset_index()
    )
    trials = found.groupby(list(by)).size()
    if trials.nunique() > 1:
        most, fewest = trials.idxmax(), trials.idxmin()
        raise UserError(
            f"unequal budgets: {most} has {trials.max()} learning rates, {fewest} {trials.min()}",
            where="table",
            remedy="give every combination equally many, and a sweep of w and one of alpha that "
            "follows it apart",
        )
    return found, remarks


def _require_one_way(sweep: pd.DataFrame, keys: list[str]) -> None:
    """Refuse a sweep that varies more than rates: its losses would be means over the rest.

    Raises:
        UserError: runs with the same keys differ in another setting than their seed.
    """
    runs = sweep.drop_duplicates("id")
    groups = [list(each) for each in runs.groupby(keys).indices.values()]
    for column in (each for each in setting_columns(runs) if each not in keys):
        values = [plain(each) for each in runs[column]]
        for group in groups:
            known = sorted({values[at] for at in group})
            if len(known) > 1:
                at = _at(runs.iloc[group[0]][keys], len(keys) - len(RATES))
                one, other = (each or "not set" for each in known[:2])
                raise UserError(
                    f"differs among the runs of {at}: {one} and {other}",
                    where="the sweep",
                    key=column,
                    remedy="rates are chosen at one value of every other setting: declare a study "
                    "for each of these values",
                )


def _on_equal_seeds(sweep: pd.DataFrame, keys: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Last records on the seeds that every rate has: one lucky seed is no match for a mean of two.

    Raises:
        UserError: there is no such seed.
    """
    last = _ends(sweep)
    seeds = {int(seed) for seed in sweep[SEED].unique()}
    ended = set(last[[*keys, SEED]].itertuples(index=False, name=None))
    asked = sweep[keys].drop_duplicates().sort_values(keys).itertuples(index=False, name=None)
    missing = [(key, seed) for key in asked for seed in sorted(seeds) if (*key, seed) not in ended]
    if not missing:
        return last, []
    told = _some([f"{_at(key, len(keys) - len(RATES))}, seed {seed}" for key, seed in missing])
    verb = "runs of the sweep are" if len(missing) > 1 else "run of the sweep is"
    equal = sorted(seeds - {seed for _, seed in missing})
    if not equal:
        raise UserError(
            f"no seed has ended at every rate: {len(missing)} {verb} not finished ({told})",
            where="the sweep",
            remedy="finish it: rates are compared on equal seeds",
        )
    compared = f"seed{'s' if len(equal) > 1 else ''} {', '.join(map(str, equal))}"
    remark = f"{len(missing)} {verb} not finished ({told}), and rates are compared on {compared}"
    return last[last[SEED].isin(equal)], [f"{remark} alone"]


def _ends(sweep: pd.DataFrame) -> pd.DataFrame:
    """The last record of each run that ended with a loss, or diverged."""
    Runs(sweep)  # refuses what is no tidy table
    ended = sweep[sweep["state"].isin(FINISHED)].sort_values(["id", "epoch"], kind="stable")
    last = ended.groupby("id").tail(1)
    last = last.assign(diverged=last["state"] == "diverged")
    last["valid_loss"] = last["valid_loss"].mask(last["diverged"])
    return last[last["diverged"] | last["valid_loss"].notna()]


def choose(sweep: pd.DataFrame, by: Sequence[str]) -> Choice:
    """The rates of the lowest mean final validation loss; the benchmark is never asked.

    Rates of which runs diverged rank behind all others, by the share that did: a mean over the
    seeds that survived would praise them.

    Args:
        sweep: a tidy table of a learning-rate sweep.
        by: what is tuned apart.

    Returns:
        A row per combination.

    Raises:
        UserError: as `responses`; or all runs of some combination diverged.
    """
    found, remarks = _responses(sweep, by)
    for key, each in found.groupby(list(by)):
        if each["valid_loss"].isna().all():
            raise UserError(
                f"all runs of {', '.join(map(str, key))} diverged ({each['n'].sum()})",
                where="the sweep",
                remedy="add lower learning rates to it, or leave the combination out",
            )
    ranked = found.assign(share=found["diverged"] / found["n"]).sort_values(["share", "valid_loss"])
    best = ranked.groupby(list(by)).head(1)
    unstable = found[found["diverged"] > 0]
    chosen = unstable.index.isin(best.index)
    if chosen.any():
        told = _diverged(unstable[chosen], by)
        remarks.append(f"chosen although runs of it diverged: {told}")
    if not chosen.all():
        remarks.append(f"ranked last, as runs diverged: {_diverged(unstable[~chosen], by)}")
    if edges := _edges(found, best.sort_index(), by):
        remarks.append(f"at the edge of the sweep, declare further rates: {_some(edges)}")
    seeds = frozenset(int(seed) for seed in sweep[SEED].unique())
    return Choice(best, found, tuple(remarks), seeds)


def _edges(found: pd.DataFrame, best: pd.DataFrame, by: Sequence[str]) -> list[str]:
    """Chosen rates that are the lowest or the highest of those tried: what is beyond is unknown."""
    groups = dict(iter(found.groupby(list(by))))
    told = []
    for row in best.to_dict("records"):
        own = tuple(row[key] for key in by)
        for column, symbol in zip(RATES, SYMBOLS.values(), strict=True):
            tried = groups[own][column]
            if tried.nunique() > 1 and row[column] in (tried.min(), tried.max()):
                told.append(f"{', '.join(map(str, own))} at {row[column]:g} on {symbol}")
    return told


def _diverged(rows: pd.DataFrame, by: Sequence[str]) -> str:
    return _some(
        [
            f"{_at([row[key] for key in (*by, *RATES)], len(by))} "
            f"({row['diverged']} of {row['n']} runs)"
            for row in rows.to_dict("records")
        ]
    )


def _at(key: Iterable[object], names: int) -> str:
    """Such as ``darts, SGD, Adam at 0.1, 0.001``: so many names, then the rates of w and alpha."""
    values = list(key)
    rates = ", ".join(f"{value:g}" for value in values[names:])
    return f"{', '.join(map(str, values[:names]))} at {rates}"


def _some(told: Sequence[str]) -> str:
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return f"{', '.join(told[:SHOWN])}{more}"

"""Which claims are tested together, at which level and how: families.toml of this folder."""

from __future__ import annotations

import datetime
import functools
import importlib.resources
from collections.abc import Mapping
from typing import Literal, Self

import pydantic
from pydantic import Field

from optnas.analysis.claims.declare import Claim, Declared
from optnas.analysis.claims.read import FAMILIES, PACKAGE, find_claim
from optnas.base.toml import parse_toml

Role = Literal["primary", "secondary", "computed", "descriptive"]


class Added(Declared):
    """Seeds beyond the plan for one claim, in ascending order, and the study that has them."""

    study: str
    seeds: tuple[int, ...]


class Endpoint(Declared):
    """How a primary family is decided: by an e-process, see `optnas.analysis.sequential`.

    ``study``, ``response``, ``rule`` and ``scales_from`` are told; ``scales`` is by claim and part.
    Runs of ``protocol`` count, with seeds from ``first_seed`` on, ``most_seeds`` of them at most;
    for a claim in ``added``, those of a further study too, after them.
    """

    study: str
    response: str
    rule: str
    protocol: str
    first_seed: int
    most_seeds: int = Field(gt=0)
    lambdas: tuple[float, ...]
    scales_from: str
    scales: Mapping[str, Mapping[str, float]]
    added: Mapping[str, Added] = Field(default={})

    def seeds(self, claim: str) -> list[int]:
        """The seeds of a claim, in the order in which E takes them."""
        planned = range(self.first_seed, self.first_seed + self.most_seeds)
        return [*planned, *(self.added[claim].seeds if claim in self.added else ())]


class Family(Declared):
    """Claims that share one level.

    A claim of a *primary* family is tested at alpha over their number and decided by its
    ``endpoint``; in a *secondary* one Holm's correction runs over the family; a *computed* one is
    not tested; a *descriptive* one is not corrected.
    """

    name: str
    role: Role
    claims: tuple[str, ...] = ()
    alpha: float = Field(gt=0, lt=1)
    endpoint: Endpoint | None = None

    @pydantic.model_validator(mode="after")
    def _coherent(self) -> Self:
        if (self.role == "primary") != (self.endpoint is not None):
            raise ValueError("'endpoint' belongs to role 'primary', and to no other")
        return self

    @property
    def threshold(self) -> float:
        """E at which a claim of a primary family is decided."""
        return len(self.claims) / self.alpha


class Families(Declared):
    """The content of families.toml: when it was written, what had been seen by then, and all."""

    date: datetime.date
    seen: str
    families: tuple[Family, ...]


# Of claims that stand in no family: those of the reader's own, judged together.
OWN = Family(name="own", role="secondary", alpha=0.05)


@functools.cache
def shipped_families() -> Families:
    """The families of the registered claims."""
    text = (importlib.resources.files(PACKAGE) / FAMILIES).read_text(encoding="utf-8")
    return Families.model_validate(parse_toml(text, FAMILIES))


def family_of(claim: Claim) -> Family:
    """The family of a claim; `OWN` for one that is not the registered claim of its id."""
    for family in shipped_families().families:
        if claim.id in family.claims and find_claim(claim.id) == claim:
            return family
    return OWN

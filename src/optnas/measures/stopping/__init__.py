"""When a search should have stopped: rules replayed on what it left behind.

A rule is a pure function of a `Trajectory`, registered as ``stopping``; nothing is trained.
Importable without torch.
"""

from optnas.algorithms.growth import local_means
from optnas.measures.stopping.hessians import read_hessians
from optnas.measures.stopping.replay import Replay, Rule, choose, replay, summary
from optnas.measures.stopping.rules import (
    Decision,
    Evaluations,
    Trajectory,
)

__all__ = [
    "Decision",
    "Evaluations",
    "Replay",
    "Rule",
    "Trajectory",
    "choose",
    "local_means",
    "read_hessians",
    "replay",
    "summary",
]

"""When a search should have stopped: rules replayed on what it left behind.

A rule is a pure function of a `Trajectory`; nothing is trained. Importable without torch.
"""

from optnas.measures.stopping.hessians import read_hessians
from optnas.measures.stopping.replay import Replay, bind, replay, summary
from optnas.measures.stopping.rules import (
    RULES,
    Decision,
    Evaluations,
    Rule,
    Trajectory,
    local_means,
)

__all__ = [
    "RULES",
    "Decision",
    "Evaluations",
    "Replay",
    "Rule",
    "Trajectory",
    "bind",
    "local_means",
    "read_hessians",
    "replay",
    "summary",
]

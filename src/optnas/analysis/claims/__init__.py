"""The ledger of claims: what is said of optimizer pairs, as contrasts that runs can decide.

A claim is a TOML file in this folder (C1.toml to C3.toml, H1.toml to H20.toml, I1.toml to I6.toml,
S1.toml, W1f.toml to W3m.toml; families.toml groups them), a TOML file of yours, or a Python
function that returns a `Claim`. `optnas.analysis.claims.judge` puts them before a table.
"""

from optnas.analysis.claims.declare import Axis, Claim, Control, Part, Response, Term
from optnas.analysis.claims.read import choose_claims, find_claim, names, read_claim

__all__ = [
    "Axis",
    "Claim",
    "Control",
    "Part",
    "Response",
    "Term",
    "choose_claims",
    "find_claim",
    "names",
    "read_claim",
]

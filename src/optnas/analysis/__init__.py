"""Table in, table out: the statistics of a study, and its ledger of claims. No torch.

    estimates      interquartile mean, median, stratified bootstrap
    paired         seed-paired differences: exact sign flips, exact intervals, equivalence
    effects        probability of improvement
    proportions    collapse rates with intervals
    interactions   factorial contrasts within seeds
    shape          two-lines test for an inverted U
    curves         anytime curves, best against final epoch, equal train loss
    multiplicity   Holm
    sequential     evidence that may be looked at after every seed
    power          smallest reachable p, detectable gap, needed n
    compare        every pair of arms
    summaries      all of these of a tidy table: centres, differences, effects, collapse rates
    runs           a tidy table as runs, settings and responses
    alike          whether runs were measured alike
    tuning         learning-rate arms: same, default, tuned
    sweeps         the loss at each rate of a sweep, and the best
    references     a random cell and random search as lines to compare with
    claims         the ledger: `judge`
    rendering      the ledger as text and JSON

docs/statistics.md says of each when to use it and how it misleads.
"""

# %% [markdown]
# # Is my optimizer better than Adam for alpha?
#
# Ten minutes from nothing to an answer with an interval. No data to download, no GPU. You need optnas
# (`pip install -e .` in a clone, see the README) and, to look at it as a notebook, Jupyter;
# this file is a plain Python script too, in the percent format of jupytext, and then shows no tables.
#
# DARTS trains one *supernet*, in which every connection mixes candidate operations. One optimizer moves the
# network weights, another moves *alpha*, the parameters that softmax turns into the mixture. The usual choice
# for alpha is Adam. We shall try another one: *exponentiated gradient* (Kivinen and Warmuth, 1997), which
# multiplies each weight of the mixture instead of adding to alpha.

# %%
import pandas as pd
import torch

import optnas

pd.set_option("display.width", 130, "display.max_columns", None)
print("optnas", optnas.__version__)

# %% [markdown]
# ## One search
#
# Settings are dotted keys, nested dictionaries, or both; what we leave out comes from the protocol `cpu`. 256
# digits of 8 x 8 pixels for each half and four channels make a search of seconds: a demonstration, not evidence
# on real images. The table `analog-nasbench` comes with the package and says how accurate each cell would be
# on CIFAR-10 after a training of its own.

# %%
base = {
    "data": {"name": "digits", "train_size": 256, "valid_size": 256},
    "search": {"epochs": 6, "batch_size": 32},
    "supernet.channels": 4,
    "benchmark.table": "analog-nasbench",
    "measures.sharpness.every": 0,
}
optnas.run(base, out="runs/one", overwrite=True)
one = optnas.Run("runs/one")
print(one)
one.epochs[["epoch", "train_loss", "valid_accuracy", "alpha_displacement_centred", "skips"]].round(3)

# %%
one.plot()

# %% [markdown]
# ## An optimizer of your own
#
# Any `torch.optim.Optimizer` will do, defined right here. With `w = softmax(alpha)` and `g` the gradient of the
# validation loss in `w`, exponentiated gradient is `w <- w exp(-lr g) / sum(w exp(-lr g))`, which in logits is
# `alpha <- alpha - lr g`. The search hands the optimizer the gradient in `alpha`, which is `w (g - <w, g>)`; divided
# by `w` it is `g` up to a constant per row, and softmax does not see that constant.

# %%
class EG(torch.optim.Optimizer):
    """Exponentiated gradient on softmax(alpha)."""

    def __init__(self, params, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for alpha in group["params"]:
                w = alpha.softmax(-1)
                alpha -= group["lr"] * alpha.grad / w.clamp(min=1e-6)


# %% [markdown]
# ## A study: six paired seeds
#
# A *study* is a grid of settings under some seeds. Two runs of one seed share the split of the data, the
# order of the batches, the initial weights and the initial alpha, so that their difference is that of the
# optimizers alone. The class stands where a name would; its source is written to a file, and its hash is part
# of the runs' identity. With five seeds even five differences of one sign have p = 2 / 2^5 = 0.06; six are the
# fewest that can reach p < 0.05.

# %%
declared = {
    "name": "eg",
    "question": "Is exponentiated gradient better than Adam for alpha?",
    "seeds": range(6),
    "base": base,
    "grid": {
        "arch_optimizer": [
            {"name": "Adam", "label": "Adam"},
            {"name": EG, "lr": 0.3, "label": "EG"},
        ]
    },
}
study = optnas.study(declared, out="runs/eg")
study.plan()[["arch_optimizer", "search.seed", "state", "seconds"]]

# %%
study.run(jobs=2)

# %% [markdown]
# ## The answer, with an interval
#
# One row for each pair of arms and each response: the mean of the paired differences, a 95 % interval, the p of an
# exact sign-flip test (`p_holm`: corrected for the number of pairs), and the probability that a run of the first
# arm is better.

# %%
compared = study.compare(to="figures")
columns = ["response", "unit", "arm", "other", "n", "difference", "low", "high", "p", "p_holm"]
compared[columns].round(3)

# %% [markdown]
# On the machine this was written on, EG's supernets were 3.3 points more accurate, with an interval from -3.1 to 7.8,
# and its cells no better: six seeds do not settle it, and say how large a difference they could have missed.
# Before believing or dismissing it, look at what the arms did:

# %%
epochs = study.table()
last = epochs[epochs["epoch"] == 6]
arms = last["arch_optimizer.name"].str.rpartition(":")[2].rename("alpha's optimizer")
seen = ["valid_accuracy", "benchmark.cifar10", "alpha_displacement_centred", "alpha_entropy", "skips"]
last.groupby(arms)[seen].mean().round(3)

# %% [markdown]
# Alpha's displacement under Adam is about a hundredth of that under EG: at the protocol's rate, 3e-4, Adam has
# hardly left its initial values after 48 steps, and its supernet is a uniform mixture. We compared two
# *distances*, not two optimizers. A third arm, Adam at a rate that moves alpha, makes the comparison fairer. The
# study is a longer dictionary; the twelve runs that are there are not run again.

# %%
declared["grid"]["arch_optimizer"].append({"name": "Adam", "lr": 0.03, "label": "Adam 0.03"})
study = optnas.study(declared, out="runs/eg")
study.run(jobs=2)
compared = study.compare(to="figures")
compared[columns].round(3)

# %%
compared.attrs["remarks"]

# %% [markdown]
# Three arms are three pairs, and three tests at once: now seven seeds are the fewest that could decide anything.
# That is one more word in the dictionary, `"seeds": range(7)`; six were not too few when there were two arms.
# `figures/compare.pdf` is the forest plot of these rows, `compare.tex` the table for a paper.
#
# ## What this is worth
#
# - Six seeds show large effects only: the width of the interval says what could have been missed.
# - A rate each is a choice. To compare optimizers, tune the rate of each on seeds of their own first (the
#   shipped study `fair-lr` shows how), then compare on fresh seeds.
# - Digits and a tiny supernet are a demonstration. The same dictionary with `"data.name": "cifar10"`, more
#   channels and epochs is the experiment.
#
# ## From here
#
# - `study.report()` writes a page with every run, figure and test; `optnas watch runs/eg` follows runs in a terminal.
# - `optnas study compare runs/eg/study.toml --out runs/eg` is the same comparison on the command line.
# - The package has this optimizer by name too, `exponentiated-gradient`: `optnas list optimizers`.
# - Your own algorithm, measure or space is as short: docs/extending.md; all that Python offers: docs/python.md.

"""Components that do what none may do, each in one way; the exam has to find it."""

import dataclasses
import itertools
import random

import numpy as np
import torch

from optnas import (
    Algorithm,
    Dataset,
    Decision,
    Hypergradient,
    Measure,
    Operation,
    Quantity,
    Selection,
    Space,
    Values,
    WeightGradients,
    parts,
    register,
)

CALLS = itertools.count(1)


def uniform(alpha_EO):
    return torch.full_like(alpha_EO, 0.2)


# --- relaxations --------------------------------------------------------------------------------


def relaxation(name):
    """Registers a relaxation that has no settings."""
    return lambda relax: register("relaxation", name)(lambda: relax)


@relaxation("mutates")
def relax_mutates(alpha_EO, progress):
    alpha_EO.data -= 1
    return alpha_EO.softmax(-1)


@relaxation("transposes")
def relax_transposes(alpha_EO, progress):
    return alpha_EO.softmax(-1).T


@relaxation("narrows")
def relax_narrows(alpha_EO, progress):
    return alpha_EO.float().softmax(-1)


@relaxation("overflows")
def relax_overflows(alpha_EO, progress):
    return (1e4 * alpha_EO).exp()


@relaxation("draws")
def relax_draws(alpha_EO, progress):
    return (alpha_EO + torch.rand_like(alpha_EO)).softmax(-1)


@relaxation("secret")
def relax_secret(alpha_EO, progress):
    if progress.draw is None:
        return alpha_EO.softmax(-1)
    noise_EO = torch.rand(alpha_EO.shape, generator=progress.draw.generator(), dtype=torch.float64)
    return (alpha_EO + noise_EO.to(alpha_EO)).softmax(-1)


@register("relaxation", "idle", needs=("draw",))
def relax_idle():
    return parts.softmax


@relaxation("remembers")
def relax_remembers(alpha_EO, progress):
    return (alpha_EO / next(CALLS)).softmax(-1)


@relaxation("detaches")
def relax_detaches(alpha_EO, progress):
    return alpha_EO.detach().softmax(-1)


@relaxation("rounds")
def relax_rounds(alpha_EO, progress):
    return alpha_EO.softmax(-1).round()


@register("relaxation", "leaks", needs=("draw",))
def relax_leaks():
    """Where it is judged it takes the draw of the last step."""
    last = []

    def relax(alpha_EO, progress):
        last.extend([progress.draw] if progress.draw else [])
        if not last:
            return alpha_EO.softmax(-1)
        return (alpha_EO + last[-1].uniform(alpha_EO)).softmax(-1)

    return relax


@register("relaxation", "continues", needs=("draw",))
def relax_continues():
    """Its generator starts at the draw once, and goes on."""
    streams = {}

    def relax(alpha_EO, progress):
        if progress.draw is None:
            return alpha_EO.softmax(-1)
        stream = streams.setdefault(progress.draw.seed, progress.draw.generator())
        noise_EO = torch.rand(alpha_EO.shape, generator=stream, dtype=torch.float64)
        return (alpha_EO + noise_EO).softmax(-1)

    return relax


class Once(torch.autograd.Function):
    """A derivative that cannot be differentiated again."""

    @staticmethod
    def forward(ctx, alpha_EO):
        ctx.save_for_backward(alpha_EO)
        return alpha_EO**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient_EO):
        return 3 * ctx.saved_tensors[0] ** 2 * gradient_EO


@relaxation("once")
def relax_once(alpha_EO, progress):
    return Once.apply(alpha_EO)


# --- perturbations ------------------------------------------------------------------------------


def perturbation(name):
    """Registers a perturbation that has no settings."""
    return lambda perturb: register("perturbation", name)(lambda: perturb)


@perturbation("mutates")
def perturb_mutates(op_weights_EO, train_loss, progress, generator):
    return op_weights_EO.mul_(0.5).add_(0.1)


@perturbation("swells")
def perturb_swells(op_weights_EO, train_loss, progress, generator):
    return op_weights_EO * 1.5


@perturbation("draws")
def perturb_draws(op_weights_EO, train_loss, progress, generator):
    share = np.random.rand() / 2
    return (1 - share) * op_weights_EO + share * uniform(op_weights_EO)


@perturbation("peeks")
def perturb_peeks(op_weights_EO, train_loss, progress, generator):
    return op_weights_EO if random.random() < 2 else uniform(op_weights_EO)


# --- hypergradients -----------------------------------------------------------------------------


def hypergradient(name):
    """Registers a hypergradient that has no settings."""
    return lambda compute: register("hypergradient", name)(lambda: compute)


@hypergradient("backward")
def compute_backward(problem, alpha_EO, relax):
    alpha_EO = alpha_EO.detach().requires_grad_()
    problem.valid_loss(relax(alpha_EO), problem.weights).loss.backward()
    return Hypergradient(alpha_EO.grad)


@hypergradient("steps")
def compute_steps(problem, alpha_EO, relax):
    found = parts.first_order(problem, alpha_EO, relax)
    with torch.no_grad():
        for weight in problem.weights.values():
            weight -= 0.1
    return found


@hypergradient("flattens")
def compute_flattens(problem, alpha_EO, relax):
    return Hypergradient(parts.first_order(problem, alpha_EO, relax).gradient_EO.reshape(-1))


@hypergradient("bare")
def compute_bare(problem, alpha_EO, relax):
    return parts.first_order(problem, alpha_EO, relax).gradient_EO


@hypergradient("draws")
def compute_draws(problem, alpha_EO, relax):
    return Hypergradient(torch.randn_like(alpha_EO).detach())


@hypergradient("unsaid")
def compute_unsaid(problem, alpha_EO, relax):
    for loss in problem.more_train_batches(2):
        loss(relax(alpha_EO.detach()), problem.weights)
    return parts.first_order(problem, alpha_EO, relax)


@register("hypergradient", "half-way", needs=("virtual-step", "train-batch"), limit="implicit")
def half_way():
    """One step where the limit is promised."""
    return parts.unrolled()


@register("hypergradient", "undecayed", needs=("virtual-step", "train-batch"), limit="one-step")
def undecayed():
    """Gradient descent where the optimizer's own map has weight decay."""

    def part(problem, alpha_EO, relax):
        names = list(problem.weights)

        def step(gradients, weights=None):
            still = problem.virtual_step([torch.zeros_like(g) for g in gradients])
            moved = problem.virtual_step(gradients)
            return {n: problem.weights[n].detach() + moved[n] - still[n] for n in names}

        return parts.unrolled()(dataclasses.replace(problem, virtual_step=step), alpha_EO, relax)

    return part


@register("hypergradient", "far", limit="fourth-order", itself=True)
def far(problem, alpha_EO, relax):
    return parts.first_order(problem, alpha_EO, relax)


# --- discretizations ----------------------------------------------------------------------------


def discretization(name):
    """Registers a discretization that has no settings."""
    return lambda discretize: register("discretization", name)(lambda: discretize)


@discretization("mutates")
def choose_mutates(alpha_EO):
    alpha_EO[:, 0] = -1e9
    return parts.argmax_per_edge(alpha_EO)


@discretization("tensor")
def choose_tensor(alpha_EO):
    return alpha_EO.argmax(-1)


@discretization("beyond")
def choose_beyond(alpha_EO):
    return [alpha_EO.shape[1]] * len(alpha_EO)


@discretization("short")
def choose_short(alpha_EO):
    return parts.argmax_per_edge(alpha_EO)[1:]


@discretization("draws")
def choose_draws(alpha_EO):
    return [random.randrange(5) for _ in alpha_EO]


# --- operations ---------------------------------------------------------------------------------


def filters_3x3(site):
    return {"weight": (site.outputs, site.inputs, 3, 3)}


def convolve(x_BCHW, weights, **options):
    return torch.nn.functional.conv2d(x_BCHW, weights["weight"], padding=1, **options)


@register("operation", "mutates")
def operation_mutates():
    return Operation(lambda x, site, weights, norm: x.data.add_(1))


@register("operation", "strides")
def operation_strides():
    return Operation(lambda x, site, weights, norm: convolve(x, weights, stride=2), filters_3x3)


@register("operation", "drops")
def operation_drops():
    def call(x_BCHW, site, weights, norm):
        return torch.nn.functional.dropout(convolve(x_BCHW, weights))

    return Operation(call, filters_3x3)


@register("operation", "idles")
def operation_idles():
    return Operation(lambda x, site, weights, norm: x, filters_3x3)


@register("operation", "pretends")
def operation_pretends():
    def call(x_BCHW, site, weights, norm):
        return norm(convolve(x_BCHW, weights), "norm")  # without the ReLU

    return Operation(call, filters_3x3, lambda site: {"norm": site.outputs}, kernel=3)


# --- algorithms ---------------------------------------------------------------------------------


def darts_with(**own):
    usual = {
        "relax": parts.softmax,
        "perturb": parts.unperturbed,
        "hypergradient": parts.first_order,
        "discretize": parts.argmax_per_edge,
    }
    return Algorithm(**{**usual, **own})


@register("algorithm", "mutates")
def algorithm_mutates():
    def relax(alpha_EO, progress):
        alpha_EO.data += 1e-3
        return alpha_EO.softmax(-1)

    return darts_with(relax=relax)


@register("algorithm", "counts")
def algorithm_counts():
    def relax(alpha_EO, progress):
        return (alpha_EO / next(CALLS)).softmax(-1)

    return darts_with(relax=relax)


@register("algorithm", "hidden")
def algorithm_hidden():
    """Its temperature is no function of the epoch, but of the steps since the start."""
    steps = itertools.count(1)

    def perturb(op_weights_EO, train_loss, progress, generator):
        share = 1 / (1 + next(steps))
        return (1 - share) * op_weights_EO + share * uniform(op_weights_EO)

    return darts_with(perturb=perturb)


@register("algorithm", "drifts")
def algorithm_drifts():
    """Its cell depends on how often it was asked."""
    asked = itertools.count()

    def discretize(alpha_EO):
        return [(each + next(asked)) % 5 for each in parts.argmax_per_edge(alpha_EO)]

    return darts_with(discretize=discretize)


@register("algorithm", "undeclared")
def algorithm_undeclared():
    """It takes a drawing relaxation in Python, and does not say so."""
    return darts_with(relax=relax_continues())


@register("algorithm", "remembers")
def algorithm_remembers():
    """Its memory is counted up wherever it is looked at."""

    def relax(alpha_EO, progress):
        progress.memory["calls"].add_(1)
        return (alpha_EO / progress.memory["calls"]).softmax(-1)

    return darts_with(relax=relax, start=lambda: {"calls": torch.zeros((), dtype=torch.float64)})


@register("algorithm", "averages")
def algorithm_averages():
    """What it remembers of the steps is kept where no checkpoint looks."""
    kept = []

    def relax(alpha_EO, progress):
        return (alpha_EO * progress.memory["share"] * (1 + len(kept))).softmax(-1)

    def look(gradients, progress):
        kept.append(len(gradients))
        return WeightGradients()

    return darts_with(
        relax=relax,
        on_weight_gradients=look,
        start=lambda: {"share": torch.ones((), dtype=torch.float64)},
    )


@register("algorithm", "halves")
def algorithm_halves():
    """It changes the gradients that it is to look at."""

    def look(gradients, progress):
        for g in gradients.values():
            g.mul_(0.5)
        return WeightGradients()

    return darts_with(on_weight_gradients=look)


@register("algorithm", "alternates")
def algorithm_alternates():
    """It stops every other time."""

    def look(gradients, progress):
        return WeightGradients(dict.fromkeys(gradients) if next(CALLS) % 2 else {})

    return darts_with(on_weight_gradients=look)


@register("algorithm", "misnames")
def algorithm_misnames():
    """It hands back a gradient of nothing."""
    return darts_with(on_weight_gradients=lambda gradients, progress: WeightGradients({"w": None}))


@register("algorithm", "shifts")
def algorithm_shifts():
    """It moves alpha itself."""
    return darts_with(project=lambda alpha_EO: alpha_EO.data.sub_(1))


@register("algorithm", "number")
def algorithm_number():
    return darts_with(start=lambda: {"calls": 0})


def selecting(choose):
    return darts_with(
        start=lambda: {"cell_E": torch.zeros(6, dtype=torch.int64)},
        select=Selection(
            begins=lambda epochs: epochs - 1,
            choose=choose,
            cell=lambda choice, memory: memory["cell_E"].tolist(),
            rate=1.0,
        ),
    )


@register("algorithm", "forgets")
def algorithm_forgets():
    """Its selection draws from a generator that goes on from call to call."""
    stream = torch.Generator().manual_seed(0)
    return selecting(lambda trial: {"cell_E": torch.randint(5, (6,), generator=stream)})


@register("algorithm", "trains")
def algorithm_trains():
    """Its selection moves alpha."""

    def choose(trial):
        trial.alpha_EO.add_(0.1)
        return {"cell_E": trial.alpha_EO.argmax(-1)}

    return selecting(choose)


# --- spaces -------------------------------------------------------------------------------------

TRIANGLE = Space(
    name="triangle",
    nodes=3,
    edges=((0, 1), (1, 2)),
    operations=("none", "skip_connect", "nor_conv_1x1"),
    none=0,
    skip=1,
    weighted=(2,),
)


@register("space", "tilde")
def space_tilde():
    return dataclasses.replace(TRIANGLE, operations=("none", "skip~connect", "nor_conv_1x1"))


class Forgetful(Space):
    def _join(self, names):
        return super()._join([names[0], *["none"] * (len(names) - 1)])


@register("space", "codec")
def space_codec():
    return Forgetful(**{f.name: getattr(TRIANGLE, f.name) for f in dataclasses.fields(TRIANGLE)})


def order_twice(edge_count, operation_count):
    cells = list(itertools.product(range(operation_count), repeat=edge_count))
    return [*cells[:-1], cells[0]]


@register("space", "order")
def space_order():
    return dataclasses.replace(TRIANGLE, order=order_twice)


@register("space", "anew")
def space_anew():
    return dataclasses.replace(TRIANGLE, order=lambda e, o: order_twice(e, o))


@register("space", "unknown")
def space_unknown():
    return dataclasses.replace(TRIANGLE, operations=("none", "skip_connect", "sep_conv_9x9"))


# --- data sets ----------------------------------------------------------------------------------


def grey(decode, **own):
    usual = {
        "name": "grey",
        "classes": 3,
        "channels": 1,
        "resolution": 8,
        "size": 10,
        "mean": (0.5,),
        "std": (0.5,),
        "crop_padding": 1,
        "flip": False,
        "note": "",
        "files": (),
        "decode": decode,
    }
    return Dataset(**{**usual, **own})


def images(rows):
    return np.zeros((len(rows), 8, 8, 1), dtype=np.uint8)


@register("dataset", "floats")
def dataset_floats():
    return grey(lambda rows: (images(rows) / 255, rows % 3))


@register("dataset", "labels")
def dataset_labels():
    return grey(lambda rows: (images(rows), rows))


@register("dataset", "draws")
def dataset_draws():
    return grey(lambda rows: (images(rows) + np.random.randint(2), rows % 3))


@register("dataset", "facts")
def dataset_facts():
    return grey(lambda rows: (images(rows), rows % 3), mean=(0.5, 0.5, 0.5))


# --- schedules, optimizers, trackers ------------------------------------------------------------


@register("schedule", "negative")
def schedule_negative():
    return lambda initial, epoch, epochs: initial * (1 if epoch < 2 else -1)


@register("schedule", "remembers")
def schedule_remembers():
    return lambda initial, epoch, epochs: initial / next(CALLS)


class Hidden(torch.optim.SGD):
    """Momentum by hand, where no checkpoint looks."""

    def __init__(self, params, lr=0.01):
        super().__init__(params, lr)
        self.taken = 0

    @torch.no_grad()
    def step(self, closure=None):
        self.taken += 1
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None:
                    w -= group["lr"] / self.taken * w.grad


class Stalls(torch.optim.SGD):
    """Steps that shrink faster than they add up."""

    def __init__(self, params, lr=0.01):
        super().__init__(params, lr)
        self.param_groups[0]["taken"] = 0

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["taken"] += 1
            for w in group["params"]:
                if w.grad is not None:
                    w -= group["lr"] / group["taken"] ** 4 * w.grad


class Draws(torch.optim.SGD):
    """Noise from the generator of all."""

    def __init__(self, params, lr=0.01):
        super().__init__(params, lr)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for w in group["params"]:
                w += group["lr"] * torch.randn_like(w)


class Tracker:
    def start(self, settings, folder):
        pass

    def record(self, record):
        pass

    def finish(self, status):
        pass


@register("tracker", "fails")
class Fails(Tracker):
    def record(self, record):
        raise ValueError("no server")


@register("tracker", "mutates")
class Mutates(Tracker):
    def record(self, record):
        record["valid_accuracy"] = 0.0


# --- measures -----------------------------------------------------------------------------------


def metric(name, **own):
    """Registers a measure that has no settings; the file loads torch, which none may."""

    def decorate(look):
        def measure(snapshot):
            found = look(snapshot)
            return found if isinstance(found, Values) else Values({"found": found})

        whole = {"quantities": {"found": Quantity("1")}, "cost": "nothing", **own}
        register("measure", name)(lambda: Measure(measure, **whole))
        return look

    return decorate


@metric("eager")
def look_eager(snapshot):
    return 0.0


@metric("unitless", quantities={"found": Quantity("")})
def look_unitless(snapshot):
    return 0.0


@metric("undeclared")
def look_undeclared(snapshot):
    return Values({"found": 0.0, "more": 1.0})


@metric("infinite")
def look_infinite(snapshot):
    return float("inf")


@metric("late")
def look_late(snapshot):
    return 1 / (2 - snapshot.progress.epoch)


@metric("steps")
def look_steps(snapshot):
    for weight in snapshot.supernet.weights.values():
        weight.mul_(0.9)
    return 0.0


@metric("shifts")
def look_shifts(snapshot):
    snapshot.alpha_EO.add_(0.1)
    return 0.0


@metric("forgets")
def look_forgets(snapshot):
    if snapshot.statistics is not None:
        snapshot.statistics.mean_S.zero_()
    return 0.0


@metric("paints")
def look_paints(snapshot):
    snapshot.images["train"].images_NCHW.zero_()
    return 0.0


@metric("stops")
def look_stops(snapshot):
    torch.use_deterministic_algorithms(not torch.are_deterministic_algorithms_enabled())
    return 0.0


@metric("draws")
def look_draws(snapshot):
    return float(torch.rand(()))


@metric("shuffles")
def look_shuffles(snapshot):
    random.shuffle([1, 2, 3])
    return 0.0


@metric("remembers")
def look_remembers(snapshot):
    return next(CALLS)


# --- stopping rules -----------------------------------------------------------------------------


@register("stopping", "ahead")
def stop_ahead(run):
    return Decision(run.epochs[-1] // 2, 0, 1)


@register("stopping", "mutates")
def stop_mutates(run):
    run.skips.append(0)
    return Decision(None, None, 0)


@register("stopping", "remembers")
def stop_remembers(run):
    return Decision(None, None, next(CALLS) % 2)


@register("stopping", "beyond")
def stop_beyond(run):
    return Decision(run.epochs[-1] + 1, 0, 1)


@register("stopping", "later")
def stop_later(run):
    return Decision(0, run.epochs[-1], 1)


# --- spaces with operations of their own --------------------------------------------------------


def call_drops(x_BCHW, site, weights, norm):
    return torch.nn.functional.dropout(x_BCHW)


def own_drops():
    return Operation(call_drops)


def call_doubles(x_BCHW, site, weights, norm):
    return 2 * x_BCHW


def own_doubles():
    return Operation(call_doubles)


OWN = dataclasses.replace(TRIANGLE, operations=("none", "skip_connect", "own"), weighted=())


@register("space", "drops")
def space_drops():
    return dataclasses.replace(OWN, own={"own": own_drops})


@register("space", "doubles")
def space_doubles():
    return dataclasses.replace(OWN, own={"own": own_drops, "skip_connect": own_doubles})


@register("space", "fills")
def space_fills():
    return dataclasses.replace(
        TRIANGLE, operations=("zero", *TRIANGLE.operations[1:]), own={"zero": own_doubles}
    )


@register("space", "noisy")
def space_noisy():
    return dataclasses.replace(OWN, own={"own": own_drops})

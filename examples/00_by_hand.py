"""DARTS on NAS-Bench-201 by hand: one page, no framework, two optimizers.

The search looks for a cell. Every edge of the cell computes five candidate operations and sums
them, weighted by a softmax over its row of alpha. Alpha and the network weights w learn in turn:

    alpha  moves against  d L_valid(w, softmax(alpha)) / d alpha    on a validation batch
    w      moves against  d L_train(w, softmax(alpha)) / d w        on a training batch

each under an optimizer of its own. In the end every edge keeps the operation of its largest alpha.

Run it: ``python examples/00_by_hand.py``. optnas takes the same steps (``algorithm.name=darts``,
``clipping.also_counts=nothing``); tests/test_by_hand.py compares the two to 1e-9.

Source: Liu, Simonyan and Yang, DARTS: Differentiable Architecture Search, ICLR 2019 (first order).
Cell and network: Dong and Yang, NAS-Bench-201, ICLR 2020, with 4 channels instead of 16 and one
cell per stage instead of five.

Measured on one core of an AMD EPYC: 10 seconds. Accuracy on the validation half after 12 epochs,
mean of the seeds 0, 1 and 2: SGD + Adam 97.2 %; with Adam (lr=1e-3, weight_decay=3e-4) on w 91.0 %,
its training half not yet fitted. Far too short to judge optimizers by.
"""

from functools import partial

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset

# The pair of optimizers: change these two lines. Any of torch.optim that needs no closure will do.
WEIGHT_OPTIMIZER = partial(torch.optim.SGD, lr=0.025, momentum=0.9, weight_decay=3e-4)
ARCH_OPTIMIZER = partial(torch.optim.Adam, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)

SEED = 0  # of the two halves of the images, the initial w and alpha, and the order of the batches
EPOCHS = 12  # passes over the training half
BATCH_SIZE = 64  # images per batch, of either half
CHANNELS = 4  # of the first stage; the second has twice, the third four times as many
MAX_NORM = 5.0  # a gradient of all network weights longer than this is shortened to it
ALPHA_SCALE = 1e-3  # standard deviation of the initial alpha: every operation starts near 1/5

# A cell has four nodes: 0 is its input, 3 its output. An edge leads from each to every later one.
EDGES = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]

# Candidate operations by name. Their batch norms learn no scale, which could undo the softmax's.
OPERATIONS = {
    "none": lambda channels: Zero(),
    "skip_connect": lambda channels: nn.Identity(),
    "nor_conv_1x1": lambda channels: relu_conv_norm(channels, channels, 1, affine=False),
    "nor_conv_3x3": lambda channels: relu_conv_norm(channels, channels, 3, affine=False),
    "avg_pool_3x3": lambda channels: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
}


class Zero(nn.Module):
    """No connection."""

    def forward(self, x):
        return torch.zeros_like(x)


def relu_conv_norm(inputs, outputs, kernel, stride=1, affine=True):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(outputs, affine=affine))


class Cell(nn.Module):
    """All candidate operations of all edges; a node is the sum over the edges that end in it."""

    def __init__(self, channels):
        super().__init__()
        self.edges = nn.ModuleList(
            nn.ModuleList(make(channels) for make in OPERATIONS.values()) for _ in EDGES
        )

    def forward(self, x, A):
        nodes = [x, 0, 0, 0]
        for (source, target), candidates, weights in zip(EDGES, self.edges, A):
            mixed = sum(a * operation(nodes[source]) for a, operation in zip(weights, candidates))
            nodes[target] = nodes[target] + mixed
        return nodes[3]


class Halve(nn.Module):
    """A residual block between two stages: half the height and width, twice the channels."""

    def __init__(self, inputs):
        super().__init__()
        self.conv_a = relu_conv_norm(inputs, 2 * inputs, 3, stride=2)
        self.conv_b = relu_conv_norm(2 * inputs, 2 * inputs, 3)
        self.pool, self.shortcut = nn.AvgPool2d(2), nn.Conv2d(inputs, 2 * inputs, 1, bias=False)

    def forward(self, x):
        return self.conv_b(self.conv_a(x)) + self.shortcut(self.pool(x))


class Supernet(nn.Module):
    """Three cells, all weighted by the same A = softmax(alpha), [6 edges, 5 operations]."""

    def __init__(self, channels):
        super().__init__()
        conv = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.stem = nn.Sequential(conv, nn.BatchNorm2d(channels))
        self.cell_1, self.halve_1 = Cell(channels), Halve(channels)
        self.cell_2, self.halve_2 = Cell(2 * channels), Halve(2 * channels)
        self.cell_3, self.norm = Cell(4 * channels), nn.BatchNorm2d(4 * channels)
        self.linear = nn.Linear(4 * channels, 10)  # ten digits

    def forward(self, images, A):
        x = self.cell_1(self.stem(images), A)
        x = self.cell_2(self.halve_1(x), A)
        x = self.cell_3(self.halve_2(x), A)
        return self.linear(self.norm(x).relu().mean(dim=(2, 3)))


def arch_step(network, alpha, optimizer, images, labels):
    """Move alpha against its gradient at the present network weights: first order."""
    loss = cross_entropy(network(images, alpha.softmax(dim=1)), labels)
    (alpha.grad,) = torch.autograd.grad(loss, alpha)
    optimizer.step()


def weight_step(network, alpha, optimizer, images, labels):
    """Move the network weights against their clipped gradient; return the loss before the step."""
    loss = cross_entropy(network(images, alpha.detach().softmax(dim=1)), labels)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), MAX_NORM)
    optimizer.step()
    return loss.item()


@torch.no_grad()
def accuracy(network, alpha, images, labels):
    """Percent of the images that the supernet gets right."""
    predicted = network.eval()(images, alpha.softmax(dim=1)).argmax(dim=1)
    return 100 * (predicted == labels).double().mean().item()


def derive(alpha):
    """The cell of the largest alpha per edge, written as NAS-Bench-201 writes it."""
    names, nodes = list(OPERATIONS), ["|", "|", "|"]
    for (source, target), best in zip(EDGES, alpha.argmax(dim=1)):
        nodes[target - 1] += f"{names[best]}~{source}|"
    return "+".join(nodes)


def search(network, alpha, weight_optimizer, arch_optimizer, train, valid, valid_set, epochs):
    """Alternate the two steps; yield train loss, validation accuracy and cell after every epoch."""
    # The learning rate of w falls to a 25th along half a cosine, as in DARTS: 0.025 to 0.001.
    final_rate = weight_optimizer.param_groups[0]["lr"] / 25
    schedule = CosineAnnealingLR(weight_optimizer, epochs, final_rate)
    for _ in range(epochs):
        network.train()
        losses = []
        for train_batch, valid_batch in zip(train, valid):
            arch_step(network, alpha, arch_optimizer, *valid_batch)
            losses.append(weight_step(network, alpha, weight_optimizer, *train_batch))
        schedule.step()
        yield sum(losses) / len(losses), accuracy(network, alpha, *valid_set), derive(alpha)


def main():
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # one core is enough
    pixels, digits = load_digits(return_X_y=True)  # 1,797 images of 8 x 8 pixels from 0 to 16
    images, labels = torch.tensor(pixels).float().reshape(-1, 1, 8, 8), torch.tensor(digits)
    images = (images - images.mean()) / images.std()
    halves = [(images[part], labels[part]) for part in torch.randperm(len(labels)).chunk(2)]
    drawn = {"batch_size": BATCH_SIZE, "shuffle": True, "drop_last": True}
    train, valid = (DataLoader(TensorDataset(*half), **drawn) for half in halves)
    network = Supernet(CHANNELS)
    alpha = (ALPHA_SCALE * torch.randn(len(EDGES), len(OPERATIONS))).requires_grad_()
    optimizers = WEIGHT_OPTIMIZER(network.parameters()), ARCH_OPTIMIZER([alpha])
    print("epoch  train loss  valid accuracy  cell")
    epochs = search(network, alpha, *optimizers, train, valid, halves[1], EPOCHS)
    for epoch, (loss, percent, cell) in enumerate(epochs, start=1):
        print(f"{epoch:5}  {loss:10.3f}  {percent:14.1f}  {cell}", flush=True)


if __name__ == "__main__":
    main()

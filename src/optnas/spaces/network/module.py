"""A network as a ``torch.nn.Module``: with its weights and all it takes to use them elsewhere.

Shapes: B images, C channels, E edges, O operations, K classes, S channels of all batch norms.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from optnas.base.errors import UserError
from optnas.base.files import regular, write_bytes
from optnas.spaces.network.protocol import Output
from optnas.spaces.network.statistics import Statistics

FORMAT = "optnas-1"


@dataclass(frozen=True)
class Pictures:
    """The images that a network is made for.

    Attributes:
        mean: of each channel, of pixel values in 0 to 1.
        std: of each channel, likewise.
        resolution: height and width in pixels, None where nothing says.
        class_names: of each class; empty where they have none.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    resolution: int | None = None
    class_names: tuple[str, ...] = ()


# Images, operation weights where there are any, ``weights``, ``statistics``, ``update`` -> output.
Call = Callable[..., Output]


class NetworkModule(nn.Module):
    """A network with its weights as parameters and its batch-norm statistics as buffers.

    ``module(pixels_BCHW)`` is logits ``[B, K]`` of images with pixel values in 0 to 1: they are
    normalised here. In training mode batches are normalised by their own statistics and running
    ones move, as in torch's BatchNorm2d; after ``module.eval()`` running ones count. Parameters
    have the names of the network weights.

    Args:
        weights: network weights by name; taken over, not copied.
        call: the network as a function, of the arguments of `SearchNetwork.__call__`.
        statistics: running statistics, None where there are none.
        pictures: the images it is made for.
        facts: what the network is, plain values by name; written into files of `save`.
        op_weights_EO: of a supernet, its operation weights: the buffer ``op_weights``.

    Attributes:
        pictures: the images it is made for.
        facts: what it is.
    """

    op_weights: Tensor | None
    running_mean: Tensor
    running_var: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        call: Call,
        statistics: Statistics | None,
        pictures: Pictures,
        facts: Mapping[str, Any],
        op_weights_EO: Tensor | None = None,
    ):
        super().__init__()
        self.pictures, self.facts = pictures, dict(facts)
        self._call, self._tracked = call, statistics is not None
        for name, weight in weights.items():
            *parents, last = name.split(".")
            holder: nn.Module = self
            for parent in parents:
                if parent not in holder._modules:
                    holder.add_module(parent, nn.Module())
                holder = holder.get_submodule(parent)
            holder.register_parameter(last, nn.Parameter(weight.detach()))
        like = next(iter(weights.values())).detach()
        if statistics is not None:
            self.register_buffer("running_mean", statistics.mean_S.clone())
            self.register_buffer("running_var", statistics.variance_S.clone())
        self.register_buffer("op_weights", op_weights_EO)
        for name in ("mean", "std"):
            self.register_buffer(name, like.new_tensor(getattr(pictures, name))[:, None, None])

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Logits.

        Args:
            pixels_BCHW: values in 0 to 1.

        Returns:
            ``[B, K]``.

        Raises:
            UserError: they have another shape than `pictures` says, or are no floats.
        """
        self._check(pixels_BCHW)
        statistics = Statistics(self.running_mean, self.running_var) if self._tracked else None
        update = self.training and self._tracked
        inputs_BCHW = (pixels_BCHW.to(self.mean.dtype) - self.mean) / self.std
        weights = dict(self.named_parameters())
        mixed = [] if self.op_weights is None else [self.op_weights]
        logits_BK, after = self._call(
            inputs_BCHW, *mixed, weights=weights, statistics=statistics, update=update
        )
        if update and after is not None:
            self.running_mean.copy_(after.mean_S)
            self.running_var.copy_(after.variance_S)
        return logits_BK

    def _check(self, pixels_BCHW: Tensor) -> None:
        if torch.jit.is_tracing():  # would take each comparison of shapes for a part of the network
            return
        given, side, channels = pixels_BCHW, self.pictures.resolution, len(self.pictures.mean)
        if isinstance(given, Tensor) and given.is_floating_point() and given.ndim == 4:
            sides = given.shape[2:] if side is None else (side, side)
            if given.shape[1:] == (channels, *sides):
                return
        is_tensor = isinstance(given, Tensor)
        height, width = ("H", "W") if side is None else (side, side)
        raise UserError(
            f"a tensor of shape (B, {channels}, {height}, {width}) with float values in 0 to 1 is "
            "due here",
            where="network",
            key="images",
            value=f"{given.dtype} {tuple(given.shape)}" if is_tensor else type(given).__name__,
            remedy="of uint8 give x / 255, of one image x[None], of channels that come last "
            "x.permute(0, 3, 1, 2)"
            + ("" if side is None else "; bring images of another size to this one before"),
        )

    def save(self, path: str | Path) -> None:
        """Write all tensors and what they are into one file in the format safetensors.

        `optnas.network` reads that of a cell back; any reader of the format has the tensors.

        Args:
            path: the file, ``NAME.safetensors``.

        Raises:
            UserError: the package is not installed, or the file cannot be written.
        """
        path = Path(path)
        told = {"format": FORMAT, **self.facts, "pictures": asdict(self.pictures)}
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        content = _safetensors().save(tensors, {k: json.dumps(v) for k, v in told.items()})
        try:
            write_bytes(path, content)
        except OSError as error:
            raise UserError(
                f"cannot write it ({error.strerror})",
                where=path,
                remedy="choose a folder that is there and can be written",
            ) from error


def read_saved(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `NetworkModule.save` wrote.

    Args:
        path: the file.

    Returns:
        What the network is, and its tensors by name.

    Raises:
        UserError: the file is not there, damaged, or not written by `NetworkModule.save`.
    """
    _safetensors()
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(regular(path), framework="pt") as file:
            told = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(
            f"cannot read it ({error})", where=path, remedy="write it again with module.save(PATH)"
        ) from error
    if told.get("format") != FORMAT:
        raise UserError(
            "was not written by optnas, so it does not say what network its tensors are of",
            where=path,
            remedy="read it with safetensors.torch.load_file",
        )
    return told, tensors


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise UserError(
            "the package safetensors is not installed",
            where="module.save",
            remedy="run: pip install 'optnas[safetensors]', or keep module.state_dict() with "
            "torch.save",
        ) from error
    return safetensors.torch

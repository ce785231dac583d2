"""F7 to F13 by name. Without pandas, as whoever asks for the names of figures loads this file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optnas.base.registry import register
from optnas.measures.figures import Figure

if TYPE_CHECKING:
    from optnas.report.material import Material


@register("figure", "F7", in_report=True)
def f7(material: Material) -> Figure:
    """Optimizer comparison under DARTS."""
    from optnas.report.figures import pair_figure

    return pair_figure(material, "darts")


@register("figure", "F8", in_report=True)
def f8(material: Material) -> Figure:
    """Optimizer comparison under DARTS-."""
    from optnas.report.figures import pair_figure

    return pair_figure(material, "darts-minus")


@register("figure", "F9", in_report=True)
def f9(material: Material) -> Figure:
    """Optimizer comparison under SDARTS."""
    from optnas.report.figures import pair_figure

    return pair_figure(material, "sdarts-rs", "sdarts-adv")


@register("figure", "F10", in_report=True)
def f10(material: Material) -> Figure:
    """Momentum comparison under DARTS."""
    from optnas.report.figures import momentum_figure

    return momentum_figure(material, "darts")


@register("figure", "F11", in_report=True)
def f11(material: Material) -> Figure:
    """Momentum comparison under DARTS-."""
    from optnas.report.figures import momentum_figure

    return momentum_figure(material, "darts-minus")


@register("figure", "F12", in_report=True)
def f12(material: Material) -> Figure:
    """Momentum comparison under SDARTS."""
    from optnas.report.figures import momentum_figure

    return momentum_figure(material, "sdarts-rs", "sdarts-adv")


@register("figure", "F13", in_report=True)
def f13(material: Material) -> Figure:
    """Benchmark accuracy over epochs by algorithm, a panel for each pair."""
    from optnas.report.figures import algorithm_figure

    return algorithm_figure(material)

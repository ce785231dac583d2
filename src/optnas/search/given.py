"""What a caller gives as settings, as complete ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optnas.base.errors import UserError
from optnas.base.folder import Place
from optnas.base.toml import nest, read_toml
from optnas.search.objects import named
from optnas.search.settings.complete import COMPONENTS
from optnas.search.settings.layers import Layer, resolve
from optnas.search.settings.model import Settings
from optnas.search.words import told

SETTINGS = "settings"  # what a UserError calls this argument


def settings_of(
    settings: Mapping[str, Any] | None = None,
    *,
    config: Place | None = None,
    where: object = SETTINGS,
) -> Settings:
    """Complete settings from a configuration file and dotted keys; the keys win.

    Args:
        settings: dotted keys, such as ``{"weight_optimizer.name": "Adam"}``, nested tables, or
            both; where a name is due also a class, function or instance (`optnas.search.objects`).
        config: a TOML file of settings, a run's own config.toml included.
        where: what to call ``settings`` in error messages.

    Returns:
        The settings, checked.
    """
    with told(where), _of_a_run(settings), named(settings or {}, where) as given:
        layers = [] if config is None else [Layer(config, read_toml(Path(config)))]
        return resolve([*layers, Layer(where, nest(given, where))], default=where)


@contextlib.contextmanager
def _of_a_run(given: Mapping[str, Any] | None) -> Iterator[None]:
    """Of a run's settings with another component in them, an error says how that is written."""
    try:
        yield
    except UserError as error:
        sections = {str(key).partition(".")[0] for key in given or {}}
        own = str(error.key).partition(".")[0]
        # Every section that a file of the user's would leave to the protocol: `Run.settings`.
        if own not in COMPONENTS or not sections >= {*COMPONENTS, "search", "run", "evaluation"}:
            raise
        way = f"optnas.settings_of({{'{own}.name': NAME}}, config='RUN/config.toml')"
        remedy = (
            f"{error.remedy}; another component instead of a run's own, with its defaults: {way}"
        )
        raise UserError(
            error.reason, where=error.where, key=error.key, value=error.value, remedy=remedy
        ) from error

"""Which optimizers there are and which settings they take, read without importing torch.

Importing torch takes seconds; a misspelt setting should be answered, and a run's configuration
written with every default spelled out, before that. The signatures of ``torch.optim`` are
therefore read from its source. A test compares each with ``inspect.signature``.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import math
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optnas.base import registry
from optnas.base.errors import COMMAND_LINE, UserError, did_you_mean
from optnas.optimizers.base import SUPPLIED, BaseTable, RestTable

# Switches of torch's own machinery that no search can use: the loop never differentiates through a
# step nor captures one in a graph, and a learning rate is set by the schedule.
NOT_OFFERED = ("params", "differentiable", "capturable")

# name -> why it cannot serve, and what to do
REFUSED = {
    "SparseAdam": (
        "it takes sparse gradients only, and a supernet's are dense",
        "choose another, such as SGD or Adam",
    ),
}
REFUSED_FOR_WEIGHTS = {
    "Muon": (
        "it takes matrices only, and convolution filters are not",
        "use muon, which reshapes them and takes a second optimizer for the rest",
    ),
}
# Packages that are an extra of optnas.
EXTRAS = {"pytorch_optimizer": "optim", "schedulefree": "optim"}

# Optimizers whose step the unrolled hypergradient can differentiate, see `virtual`.
UNROLLABLE = ("SGD", "Adam", "AdamW", "RMSprop")


def not_unrollable(name: str) -> UserError:
    """The error of an unrolled hypergradient over another weight optimizer."""
    return UserError(
        f"the unrolled hypergradient differentiates a step of {', '.join(UNROLLABLE)}, "
        f"not of {name}",
        key="algorithm.hypergradient",
        value="unrolled",
        remedy="use first-order, or one of those for weight_optimizer.name",
    )


def _torch_optim_folder() -> Path:
    spec = importlib.util.find_spec("torch")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "optim"


@functools.cache
def torch_optimizers() -> dict[str, str]:
    """Names of the optimizers of the installed torch, with the module that defines each.

    Returns:
        Class name -> module file name without ending.
    """
    tree = ast.parse((_torch_optim_folder() / "__init__.py").read_text())
    return {
        alias.name: (node.module or "").rpartition(".")[2]
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name[0].isupper() and alias.name != "Optimizer"
    }


@functools.cache
def torch_signature(name: str) -> dict[str, Any]:
    """The settings of one of torch's optimizers.

    Args:
        name: a key of `torch_optimizers`.

    Returns:
        Setting -> default, in the order of the constructor, without those of `NOT_OFFERED`.
    """
    tree = ast.parse((_torch_optim_folder() / f"{torch_optimizers()[name]}.py").read_text())
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    (init,) = (
        function
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == name
        for function in node.body
        if isinstance(function, ast.FunctionDef) and function.name == "__init__"
    )
    positional = init.args.args[1:]
    defaults: dict[str, ast.expr | None] = dict(
        zip(
            [argument.arg for argument in positional][-len(init.args.defaults) :],
            init.args.defaults,
            strict=True,
        )
    )
    defaults |= dict(zip([a.arg for a in init.args.kwonlyargs], init.args.kw_defaults, strict=True))
    return {
        setting: _literal(default, constants)
        for setting, default in defaults.items()
        if setting not in NOT_OFFERED and default is not None
    }


def _literal(node: ast.expr, constants: Mapping[str, ast.expr]) -> Any:
    if isinstance(node, ast.Name):
        return _literal(constants[node.id], constants)
    if isinstance(node, ast.Tuple):
        return tuple(_literal(element, constants) for element in node.elts)
    return ast.literal_eval(node)


def is_torchs(name: str) -> bool:
    """Whether a name is a class of torch.optim."""
    return name in torch_optimizers()


def complete_settings(
    name: str, given: Mapping[str, Any], *, section: str, where: object = COMMAND_LINE
) -> dict[str, Any]:
    """An optimizer's settings, checked against its signature, with defaults spelled out.

    Args:
        name: a class of torch.optim, a registered name, ``module:Class`` or ``./file.py:Class``.
        given: what the user wrote, without ``name`` and ``schedule``.
        section: ``weight_optimizer`` or ``arch_optimizer``, or a table below one of them.
        where: file or command line, for error messages.

    Returns:
        All settings, inner optimizers as tables of their own; those whose value is None (TOML has
        none), or is nothing that a file could hold, are left to the optimizer.

    Raises:
        UserError: the optimizer does not exist, cannot serve here, or does not take a setting.
    """
    return _complete(name, given, section, where, fixed=())


def _complete(
    name: str, given: Mapping[str, Any], section: str, where: object, fixed: tuple[str, ...]
) -> dict[str, Any]:
    signature, tables = _signature(name, section, where)
    signature = {k: v for k, v in signature.items() if k not in fixed}
    besides = () if "." in section else ("schedule",)
    for setting, value in given.items():
        if setting not in signature:
            raise UserError(
                f"{name} has no setting '{setting}'"
                + (" here: it steps at the rate of its section" if setting in fixed else ""),
                where=where,
                key=f"{section}.{setting}",
                value=value,
                remedy=f"remove it, and set {section.partition('.')[0]}.{setting}"
                if setting in fixed
                else did_you_mean(setting, [*signature, *tables, *besides]),
            )
    settings: dict[str, Any] = {}
    for setting, default in signature.items():
        key = f"{section}.{setting}"
        if setting not in given and default is inspect.Parameter.empty:
            _tell_missing(name, key, where, table=setting in tables)
        value = given.get(setting, default)
        if setting in tables:
            if value is not None:
                settings[setting] = _complete_table(value, tables[setting], key, where)
            continue
        if value is None or (setting not in given and not _is_plain(value)):
            continue  # the optimizer fills it in
        _check_type(value, default, key=key, where=where)
        settings[setting] = list(value) if isinstance(value, tuple) else value
    return settings


def _tell_missing(name: str, key: str, where: object, *, table: bool) -> typing.NoReturn:
    raise UserError(
        f"{name} needs another optimizer here" if table else f"{name} needs this setting",
        where=where,
        key=key,
        remedy=f"add {key}.name=NAME, such as SGD" if table else f"add {key}=VALUE",
    )


def _complete_table(value: Any, table: object, key: str, where: object) -> dict[str, Any]:
    """An inner optimizer's table, completed like a section."""
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise UserError(
            "is a table with the name and the settings of another optimizer",
            where=where,
            key=key,
            value=value,
            remedy=f"write {key}.name=NAME, such as SGD",
        )
    settings = dict(value)
    name = settings.pop("name")
    fixed = ("lr",) if table is BaseTable else ()
    return {"name": name, **_complete(name, settings, key, where, fixed)}


def _signature(
    name: str, section: str, where: object
) -> tuple[dict[str, Any], Mapping[str, object]]:
    """Setting -> default, and setting -> kind of table for those that are inner optimizers."""
    key = f"{section}.name"
    weights = section.partition(".")[0] != "arch_optimizer"
    refused = REFUSED | (REFUSED_FOR_WEIGHTS if weights else {})
    if name in refused:
        reason, remedy = refused[name]
        raise UserError(
            f"{name} cannot serve here: {reason}", where=where, key=key, value=name, remedy=remedy
        )
    if is_torchs(name):
        return torch_signature(name), {}
    if ":" not in name and name not in registry.names("optimizer"):
        raise UserError(
            "there is no optimizer of this name",
            where=where,
            key=key,
            value=name,
            remedy=did_you_mean(
                name, {*torch_optimizers(), *registry.names("optimizer")} - set(refused)
            )
            + " (or write module:Class)",
        )
    factory = _found(name, key, where)
    return _inspected(factory), _tables(factory)


def _found(name: str, key: str, where: object) -> registry.Factory:
    try:
        factory = registry.find("optimizer", name, where=where, key=key)
    except UserError as error:
        missing = getattr(error.__cause__, "name", None)
        if isinstance(error.__cause__, ModuleNotFoundError) and missing in EXTRAS:
            raise UserError(
                f"the package {missing} is not installed",
                where=where,
                key=key,
                value=name,
                remedy=f"pip install 'optnas[{EXTRAS[missing]}]'",
            ) from error
        raise
    if inspect.isclass(factory):
        from torch.optim import Optimizer

        if not issubclass(factory, Optimizer):
            raise UserError(
                "this class is not a torch.optim.Optimizer",
                where=where,
                key=key,
                value=name,
                remedy="name an optimizer, or a function that returns one",
            )
    return factory


def _inspected(factory: registry.Factory) -> dict[str, Any]:
    parameters = list(inspect.signature(factory).parameters.items())[1:]
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {
        name: parameter.default
        for name, parameter in parameters
        if name not in (*NOT_OFFERED, *SUPPLIED) and parameter.kind not in variable
    }


def _tables(factory: registry.Factory) -> dict[str, object]:
    try:
        hints = typing.get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
    except (NameError, TypeError):  # annotations of foreign code may not evaluate
        return {}
    return {
        setting: table
        for setting, hint in hints.items()
        for table in (BaseTable, RestTable)
        if table in (hint, *typing.get_args(hint))
    }


def _is_plain(value: Any) -> bool:
    """Whether a file of settings can hold a default."""
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_type(value: Any, default: Any, *, key: str, where: object) -> None:
    """Compare a value with its default: torch itself would take a string and fail much later."""
    if isinstance(default, bool):
        expected, fits = "true or false", isinstance(value, bool)
    elif _is_number(default):
        expected, fits = "a number", _is_number(value)
    elif isinstance(default, (tuple, list)) and any(isinstance(each, str) for each in default):
        expected = f"a list of words such as {list(default)}"
        fits = isinstance(value, (tuple, list)) and all(isinstance(each, str) for each in value)
    elif isinstance(default, (tuple, list)):
        expected = f"a list of {len(default)} numbers such as {list(default)}"
        fits = (
            isinstance(value, (tuple, list))
            and len(value) == len(default)
            and all(map(_is_number, value))
        )
    else:
        return
    if not fits:
        raise UserError(
            f"must be {expected}", where=where, key=key, value=value, remedy="change its value"
        )


def defaults_of(name: str, section: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Defaults of an optimizer's settings, and which settings are optimizers themselves.

    Args:
        name: as `complete_settings` takes it.
        section: likewise.

    Returns:
        Defaults by setting, of those that have one; names of settings.
    """
    signature, tables = _signature(name, section, COMMAND_LINE)
    empty = inspect.Parameter.empty
    return {k: v for k, v in signature.items() if v is not empty}, tuple(tables)

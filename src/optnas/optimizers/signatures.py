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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optnas import registry
from optnas.errors import COMMAND_LINE, UserError, did_you_mean

# Switches of torch's own machinery that no search can use: the loop never differentiates through a
# step nor captures one in a graph, and a learning rate is set by the schedule.
NOT_OFFERED = ("params", "differentiable", "capturable")

REFUSED = {
    "LBFGS": "it re-evaluates the loss through a closure, which the loop does not offer",
    "SparseAdam": "it takes sparse gradients only, and a supernet's are dense",
}
REFUSED_FOR_WEIGHTS = {
    "Muon": "it takes matrices only, and convolution filters are not",
}

# Optimizers whose step the unrolled hypergradient can differentiate, see `virtual`.
UNROLLABLE = ("SGD", "Adam", "AdamW", "RMSprop")


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


def complete_settings(
    name: str, given: Mapping[str, Any], *, section: str, where: object = COMMAND_LINE
) -> dict[str, Any]:
    """An optimizer's settings, checked against its signature, with defaults spelled out.

    Args:
        name: a class of torch.optim, ``module:Class`` or ``./file.py:Class``.
        given: what the user wrote, without ``name`` and ``schedule``.
        section: ``weight_optimizer`` or ``arch_optimizer``.
        where: file or command line, for error messages.

    Returns:
        All settings; those whose value is None (TOML has none) are left out.

    Raises:
        UserError: the optimizer does not exist, cannot serve here, or does not take a setting.
    """
    refused = REFUSED | (REFUSED_FOR_WEIGHTS if section == "weight_optimizer" else {})
    if name in refused:
        raise UserError(
            f"{name} cannot serve here: {refused[name]}",
            where=where,
            key=f"{section}.name",
            value=name,
            remedy="choose another, such as SGD or Adam",
        )
    if ":" in name:
        signature = _inspected(registry.find("optimizer", name, where=where, key=f"{section}.name"))
    elif name in torch_optimizers():
        signature = torch_signature(name)
    else:
        raise UserError(
            "torch.optim has no optimizer of this name",
            where=where,
            key=f"{section}.name",
            value=name,
            remedy=did_you_mean(name, set(torch_optimizers()) - set(refused))
            + " (or write module:Class)",
        )
    for setting, value in given.items():
        if setting not in signature:
            raise UserError(
                f"{name} has no setting '{setting}'",
                where=where,
                key=f"{section}.{setting}",
                value=value,
                remedy=did_you_mean(setting, signature),
            )
    settings = {}
    for setting, default in signature.items():
        if setting not in given and default is inspect.Parameter.empty:
            raise UserError(
                f"{name} needs this setting",
                where=where,
                key=f"{section}.{setting}",
                remedy=f"add {section}.{setting}=VALUE",
            )
        value = given.get(setting, default)
        if setting not in given and isinstance(value, tuple) and None in value:
            continue  # TOML has no None: the optimizer fills it in
        _check_type(value, default, key=f"{section}.{setting}", where=where)
        if value is not None:
            settings[setting] = list(value) if isinstance(value, tuple) else value
    return settings


def _inspected(factory: registry.Factory) -> dict[str, Any]:
    parameters = list(inspect.signature(factory).parameters.items())[1:]
    return {
        name: parameter.default
        for name, parameter in parameters
        if name not in NOT_OFFERED and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_type(value: Any, default: Any, *, key: str, where: object) -> None:
    """Compare a value with its default: torch itself would take a string and fail much later."""
    if isinstance(default, bool):
        expected, fits = "true or false", isinstance(value, bool)
    elif _is_number(default):
        expected, fits = "a number", _is_number(value)
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

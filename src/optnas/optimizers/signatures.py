"""Which optimizers there are and which settings they take, read without importing torch.

Importing torch takes seconds; a misspelt setting should be answered, and a run's configuration
written with every default spelled out, before that. The signatures of ``torch.optim`` are
therefore read from its source. A test compares each with ``inspect.signature``.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pydantic

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.schema import Component, Setting, complete, either, settings_of, type_of
from optnas.optimizers.base import SUPPLIED

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
# Types that an annotation in torch's source may name and a file of settings can hold.
TYPES = {"bool": bool, "int": int, "float": float, "str": str}
# name -> bounds of settings, which torch does not check; a buffer whose decay is 1 or more grows
# without bound
BOUNDS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": pydantic.Field(lt=1), "dampening": pydantic.Field(ge=0, le=1)},
    "RMSprop": {"momentum": pydantic.Field(lt=1), "alpha": pydantic.Field(lt=1)},
    "ASGD": dict.fromkeys(("lambd", "alpha", "t0"), pydantic.Field(ge=0)),
    "LBFGS": {
        **dict.fromkeys(("max_iter", "max_eval", "history_size"), pydantic.Field(ge=1)),
        **dict.fromkeys(("tolerance_grad", "tolerance_change"), pydantic.Field(ge=0)),
    },
    "Muon": {"eps": pydantic.Field(ge=0), "ns_steps": pydantic.Field(ge=1)},
}
# Packages that are an extra of optnas.
EXTRAS = {"pytorch_optimizer": "optim", "schedulefree": "optim"}


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
    tree = ast.parse((_torch_optim_folder() / "__init__.py").read_text(encoding="utf-8"))
    return {
        alias.name: (node.module or "").rpartition(".")[2]
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name[0].isupper() and alias.name != "Optimizer"
    }


@functools.cache
def torch_signature(name: str) -> dict[str, Setting]:
    """The settings of one of torch's optimizers.

    Args:
        name: a key of `torch_optimizers`.

    Returns:
        Settings in the order of the constructor, without those of `NOT_OFFERED`.
    """
    file = _torch_optim_folder() / f"{torch_optimizers()[name]}.py"
    tree = ast.parse(file.read_text(encoding="utf-8"))
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
    arguments = init.args
    with_default = arguments.args[len(arguments.args) - len(arguments.defaults) :]
    pairs = [
        *zip(with_default, arguments.defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    return {
        argument.arg: Setting(
            type_of(default) if argument.annotation is None else _hint(argument.annotation), default
        )
        for argument, written in pairs
        if argument.arg not in NOT_OFFERED and written is not None
        for default in [_literal(written, constants)]
    }


def _literal(node: ast.expr, constants: Mapping[str, ast.expr]) -> Any:
    if isinstance(node, ast.Name):
        return _literal(constants[node.id], constants)
    if isinstance(node, ast.Tuple):
        return tuple(_literal(element, constants) for element in node.elts)
    return ast.literal_eval(node)


def _hint(node: ast.expr) -> Any:
    """The type that an annotation in source says, as far as a file can hold its values."""
    match node:
        case ast.Constant(value=None):
            return type(None)
        case ast.Name(id=name) if name in TYPES:
            return TYPES[name]
        case ast.BinOp(left=left, right=right):
            return either([_hint(left), _hint(right)])
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inside):
            return either([_hint(inside), type(None)])
        case ast.Subscript(value=ast.Name(id="Union"), slice=ast.Tuple(elts=inside)):
            return either(map(_hint, inside))
        case ast.Subscript(value=ast.Name(id="tuple" | "Tuple"), slice=ast.Tuple(elts=inside)):
            return tuple[tuple(map(_hint, inside))]  # type: ignore[misc]
    return Any


def is_torchs(name: str) -> bool:
    """Whether a name is a class of torch.optim."""
    return name in torch_optimizers()


# ``own_steps``: the learning rate is the size of the first step, and no later one reads it.
OF_TORCHS: Mapping[str, Mapping[str, Any]] = {"Rprop": {"own_steps": True}}


def facts(name: str) -> Mapping[str, Any]:
    """What an optimizer said of itself when it was registered; of torch's, what is said here."""
    return OF_TORCHS.get(name, {}) if is_torchs(name) else registry.facts("optimizer", name)


def complete_settings(
    name: str,
    given: Mapping[str, Any],
    *,
    section: str,
) -> dict[str, Any]:
    """An optimizer's settings, checked against its signature, with defaults spelled out.

    Args:
        name: a class of torch.optim, a registered name, ``module:Class`` or ``./file.py:Class``.
        given: what the user wrote, without ``name`` and ``schedule``.
        section: ``weight_optimizer`` or ``arch_optimizer``.

    Returns:
        All settings as of `schema.complete`, tuples as lists, inner optimizers as tables of their
        own.

    Raises:
        UserError: the optimizer does not exist, cannot serve here, or does not take a setting.
    """
    completed = complete(
        describe("optimizer", name, f"{section}.name"),
        given,
        section=section,
        describe=describe,
        besides=("schedule",),
    )
    listed: dict[str, Any] = _listed(completed)
    return listed


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _listed(each) for key, each in value.items()}
    return list(value) if isinstance(value, tuple) else value


def describe(kind: str, name: str, key: str) -> Component:
    """As `registry.describe`, and of torch's optimizers too.

    Args:
        kind: of the component.
        name: what the user wrote.
        key: its dotted key; below ``arch_optimizer``, some serve that serve nowhere else.

    Returns:
        The settings it takes.

    Raises:
        UserError: there is no such component, or it cannot serve here.
    """
    if kind != "optimizer":
        return registry.describe(kind, name, key)
    for_alpha = key.startswith("arch_optimizer.")
    refused = REFUSED if for_alpha else REFUSED | REFUSED_FOR_WEIGHTS
    if name in refused:
        reason, remedy = refused[name]
        raise UserError(f"{name} cannot serve here: {reason}", key=key, value=name, remedy=remedy)
    if is_torchs(name):
        return Component(name, torch_signature(name) | _bounded(name))
    if ":" not in name and name not in registry.names("optimizer"):
        offered = {*torch_optimizers(), *registry.names("optimizer")} - set(refused)
        raise UserError(
            "there is no optimizer of this name",
            key=key,
            value=name,
            remedy=registry.nearest(name, offered),
        )
    factory = _found(name, key)
    if not for_alpha and facts(name).get("on_simplex"):
        raise UserError(
            "it moves rows of alpha on the simplex, and network weights are no such rows",
            key=key,
            value=name,
            remedy="use it as arch_optimizer",
        )
    leaves = next(iter(inspect.signature(factory).parameters), "")
    skip = (leaves, *NOT_OFFERED, *SUPPLIED)
    return Component(name, settings_of(factory, skip, foreign=True))


def _bounded(name: str) -> dict[str, Setting]:
    """Those of one of torch's settings that have a bound which torch does not check."""
    bounded = {}
    for each, bound in BOUNDS.get(name, {}).items():
        hint, default = torch_signature(name)[each]
        within: Any = Annotated[hint, bound]
        bounded[each] = Setting(within, default)
    return bounded


def imported(package: str, name: str, key: str = "name") -> Any:
    """A package that an optimizer comes from.

    Args:
        package: a key of `EXTRAS`.
        name: of the optimizer.
        key: of the setting that names it.

    Raises:
        UserError: the package is not installed; the remedy names the extra.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise UserError(
            f"the package {package} is not installed",
            key=key,
            value=name,
            remedy=f"pip install 'optnas[{EXTRAS[package]}]'",
        ) from error


def _found(name: str, key: str) -> registry.Factory:
    try:
        factory = registry.find("optimizer", name, key=key)
    except UserError as error:
        missing = getattr(error.__cause__, "name", None)
        if isinstance(error.__cause__, ModuleNotFoundError) and missing in EXTRAS:
            imported(missing, name, key)  # tells that it is not there
        raise
    if inspect.isclass(factory):
        from torch.optim import Optimizer

        if not issubclass(factory, Optimizer):
            raise UserError(
                "this class is not a torch.optim.Optimizer",
                key=key,
                value=name,
                remedy="name an optimizer, or a function that returns one",
            )
    return factory

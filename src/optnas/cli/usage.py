"""What to write instead where a command line has an option or a command that there is not."""

from __future__ import annotations

import re
import sys
from typing import Any

from optnas.base.errors import FEW

# Commands that take dotted settings, by what these are of.
OF_SEARCH = ("optnas search",)
OF_TRAINING = ("optnas train", "optnas study train", "optnas benchmark train")
LISTS = {
    "study": "optnas list studies",
    "protocol": "optnas list protocols",
    "data": "optnas list datasets",
    "benchmark": "optnas benchmark tables",
}


def usage_line(error: Any) -> str:
    """A usage error of typer in one line.

    Args:
        error: has ``format_message``, and mostly ``ctx``.

    Returns:
        What is wrong, what to write instead where that is known, and which help says more.
    """
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "optnas")
    option = getattr(error, "option_name", None)
    message = error.format_message()
    remedy = ""
    if message.startswith("No such command 'list'") and path.split()[-1] in LISTS:
        message, remedy = "No such command 'list'", f"write {LISTS[path.split()[-1]]}"
    elif (asked := re.match(r"No such command '([^']+)'", message)) and (
        places := _groups_with(asked[1], context)
    ):
        message, remedy = asked[0], f"write {' or '.join(places)}"
    elif option is not None and message.startswith("No such option") and _takes_settings(context):
        remedy = _as_setting(option, path)
        if remedy:
            message = error.message
        elif not set(getattr(error, "possibilities", None) or ()) - {"--help"}:
            message, remedy = error.message, "settings are written KEY=VALUE"
    told = "; ".join(filter(None, (message, remedy, f"see {path} --help")))
    return f"command line: {told}".replace(".;", ";")


def _groups_with(name: str, context: Any) -> list[str]:
    """Commands of this name elsewhere, as they are written."""
    commands = context.find_root().command.commands if context is not None else {}
    groups = {name: getattr(command, "commands", None) for name, command in commands.items()}
    own = [f"optnas {name}"] if name in groups and groups[name] is None else []
    return own + [f"optnas {group} {name}" for group, its in groups.items() if name in (its or ())]


def _takes_settings(context: Any) -> bool:
    parameters = context.command.params if context is not None else ()
    return any(
        each.param_type_name == "argument" and "KEY=VALUE" in (each.metavar or "")
        for each in parameters
    )


def _as_setting(option: str, path: str) -> str:
    """What to write for an option of a setting's name, with its value; empty if there is none."""
    from optnas.search.settings.layers import as_section

    if path not in (*OF_SEARCH, *OF_TRAINING) or not option.startswith("--"):
        return ""
    word, value = option.removeprefix("--").replace("-", "_"), _given(option)
    keys, sections = _of_training(word) if path in OF_TRAINING else _of_search(word)
    if word in sections:
        return as_section(word, value)
    if word.partition(".")[0] in sections:
        keys = [word]
    return f"write {' or '.join(f'{key}={value}' for key in keys[:FEW])}" if keys else ""


def _of_search(word: str) -> tuple[list[str], set[str]]:
    from optnas.search import protocols
    from optnas.search.settings.layers import DEFAULT_PROTOCOL, settings_called
    from optnas.search.settings.model import Settings

    if word == "protocol":
        return [word], set()
    found = settings_called(word, protocols.load(DEFAULT_PROTOCOL)[1])
    return found, set(Settings.model_fields)


def _of_training(word: str) -> tuple[list[str], set[str]]:
    from optnas.base.refusals import keys_called
    from optnas.search.standalone.found import DEFAULT_PROTOCOL
    from optnas.search.standalone.settings import SHELF, TrainingSettings

    found = keys_called(word, TrainingSettings)
    if word in SHELF.load(DEFAULT_PROTOCOL)[1]["optimizer"]:
        found.append(f"optimizer.{word}")
    return found, set(TrainingSettings.model_fields)


def _given(option: str) -> str:
    """The value that stands on the command line beside an option."""
    for word, following in zip(sys.argv, [*sys.argv[1:], ""], strict=True):
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
        if word == option and following and not following.startswith("--"):
            return following
    return "VALUE"

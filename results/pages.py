"""What the documentation site has beyond docs/*.md: pages made from the code when it is built.

A hook of mkdocs (mkdocs.yml). The reference is made from the package's names, settings, components
and commands; the tutorial from its notebook; a file of the repository that a page links to becomes
a page too, so that no link leaves the site.
"""

from __future__ import annotations

import base64
import inspect
import json
import os
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import griffe
import pydantic
import torch
import typer
from documents import topic
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click

import optnas
from optnas.base import registry, schema
from optnas.base.schema import EMPTY, Setting
from optnas.cli.main import app
from optnas.optimizers import signatures
from optnas.search import protocols
from optnas.search.settings.model import DataSection, MeasureSection, Settings
from optnas.search.standalone.settings import SHELF, TrainingSettings

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
# Parameters of factories that the program supplies; what is left is for users to set.
SUPPLIED = {
    "dataset": ("folder",),
    "engine": ("out", "jobs"),
    "figure": ("runs", "material", "table", "folder", "reference"),
    "optimizer": ("params", "names"),
    "stopping": ("run",),
}
# Sections of settings whose keys are those of the component they name -> its kind.
NAMED = {
    "algorithm": "algorithm",
    "space": "space",
    "data": "dataset",
    "weight_optimizer": "optimizer",
    "arch_optimizer": "optimizer",
    "measures": "measure",
    "tracking": "tracker",
    "optimizer": "optimizer",
}
# What fills a setting that has neither a default nor a value in the protocol.
FILLED = {
    "data": "of the data set",
    "augmentation": "of the data set",
    "benchmark": "a table of the space",
    "measures": "of the measure",
    "weight_optimizer": "of the protocol, else `constant`",
    "arch_optimizer": "of the protocol, else `constant`",
}
PLACES = (
    "Where the files lie is in `data.folder` (else in the variable `OPTNAS_DATA`) and, of the two "
    "splits that are lists, in `data.split_file`: [splits](../data/splits.md).\n"
)
WORDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "nothing",
    "object": "table",
}
BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minItems": "{} or more",
}
GUIDES = {"algorithm": "algorithms", "measure": "measures"}  # kinds with a page per component


# --- the reference ------------------------------------------------------------------------------


def names() -> Iterator[tuple[str, str]]:
    """The public names, one page per room: path and text."""
    rooms: dict[str, list[str]] = {}
    homes = optnas._HOME | optnas._MODULES
    for name in optnas.__all__:
        rooms.setdefault(homes[name].partition(".")[0], []).append(name)
    for room, held in rooms.items():
        parts = [f"# optnas.{room}\n\nFrom here: {', '.join(f'`{name}`' for name in held)}.\n"]
        for name in held:
            module = name in optnas._MODULES
            target = f"optnas.{homes[name]}" + ("" if module else f".{name}")
            parts.append(f"::: {target}\n")
        yield f"reference/names/{room}.md", "\n".join(parts)


def told(kind: Mapping[str, Any]) -> str:
    """The values that a JSON schema admits, in words."""
    if "enum" in kind or "const" in kind:
        return ", ".join(f"`{each}`" for each in kind.get("enum", [kind.get("const")]))
    if "anyOf" in kind:
        return " or ".join(dict.fromkeys(told(each) for each in kind["anyOf"]))
    if kind.get("type") == "array":
        inside = {told(each) for each in kind.get("prefixItems", [kind.get("items", {})])}
        word = f"list of {' or '.join(sorted(inside))}"
    else:
        word = WORDS.get(kind.get("type", ""), "any value")
    bounds = [
        text.format(kind[key]) for key, text in BOUNDS.items() if kind.get(key, 2**63) < 2**63
    ]
    return ", ".join([word, *bounds])


def values_of(setting: Setting) -> str:
    """The values that a setting of a component admits, in words."""
    part = schema.part_of(setting.hint)
    if part is not None:
        several = "table of {}s by name" if part.many else "a {}"
        return several.format(part.kind)
    if setting.hint is Any or not _is_written(setting.hint):
        return "any value"
    return told(pydantic.TypeAdapter(setting.hint).json_schema())


def _is_written(hint: Any) -> bool:
    try:
        pydantic.TypeAdapter(hint).json_schema()
    except pydantic.errors.PydanticUserError:
        return False
    return True


def cell(text: object) -> str:
    """Text in a table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def spelt(value: Any) -> str:
    """A default as a settings file would have it."""
    if value is EMPTY:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, (bool, str, int, float)):
        return f"`{json.dumps(value) if isinstance(value, bool) else value}`"
    if isinstance(value, (list, tuple)):
        return f"`{list(value)}`"
    return "`{}`" if isinstance(value, Mapping) and not value else f"`{value!r}`"


def linked(text: str, page: str) -> str:
    """Documents that a docstring names, as links."""
    base = posixpath.dirname(page)

    def link(match: re.Match[str]) -> str:
        return f"[{match[1]}]({posixpath.relpath(match[1], base)})"

    return re.sub(r"(?<![\w/\]`(])docs/([\w/-]+\.md)", link, text)


def parts_of(thing: Any) -> tuple[str, dict[str, str]]:
    """A docstring's text, and what it says of each parameter."""
    text, parameters = [], {}
    docstring = inspect.getdoc(thing) or ""
    for section in griffe.Docstring(docstring, lineno=1).parse("google", warnings=False):
        if section.kind is griffe.DocstringSectionKind.text:
            text.append(section.value)
        elif section.kind is griffe.DocstringSectionKind.parameters:
            parameters |= {each.name: each.description for each in section.value}
    return "\n\n".join(text), parameters


def components() -> Iterator[tuple[str, str]]:
    """Every registered component, one page per kind: path and text."""
    for plural, kind in registry.plurals().items():
        page = f"reference/components/{plural}.md"
        parts = [f"# {plural.capitalize()}\n\n`optnas list {plural}` prints the names.\n"]
        own = registry.names(kind)
        of_torch = set(signatures.torch_optimizers()) - set(signatures.REFUSED)
        for name in sorted({*own, *(of_torch if kind == "optimizer" else ())}):
            parts.append(component(kind, name, page) if name in own else of_torch_itself(name))
        yield page, linked("\n".join(parts), page)


def of_torch_itself(name: str) -> str:
    """One of torch's own optimizers, which torch documents: its settings."""
    settings = schema.settings_of(vars(torch.optim)[name], ("params",), foreign=True)
    return f"## {name}\n\n`torch.optim.{name}`.\n\n{table(settings, {})}"


def component(kind: str, name: str, page: str) -> str:
    """One component: what it does, what it needs, its settings."""
    factory = registry.find(kind, name)
    text, meanings = parts_of(factory)
    lines = [f"## {name}\n", text, ""]
    guide = f"{GUIDES.get(kind)}/{name}.md"
    if (DOCS / guide).exists() and guide not in text:
        link = posixpath.relpath(guide, posixpath.dirname(page))
        lines += [f"Equations, sources, deviations: [{name}]({link}).", ""]
    if needs := registry.facts(kind, name).get("needs"):
        lines += [f"Needs: {', '.join(f'`{need}`' for need in needs)}.", ""]
    skip = ("space", *SUPPLIED.get(kind, ()))
    return "\n".join([*lines, table(schema.settings_of(factory, skip, foreign=True), meanings)])


def table(settings: Mapping[str, Setting], meanings: Mapping[str, str]) -> str:
    """Settings of a component."""
    if not settings:
        return ""
    lines = ["| setting | values | default | meaning |", "|---|---|---|---|"]
    for key, setting in settings.items():
        row = (f"`{key}`", values_of(setting), spelt(setting.default), meanings.get(key, ""))
        lines.append(f"| {' | '.join(map(cell, row))} |")
    return "\n".join([*lines, ""])


def settings() -> str:
    """Every setting of a search and of a training, but those of components."""
    page = "reference/settings.md"
    lines = [
        "# Settings\n",
        "Every section of a search's `config.toml`, and what `protocol=cpu`, the default, has in "
        "it. A section that names a component has the settings of that component too: "
        "[components](components/algorithms.md). How settings are given: "
        "[the command line](../command-line.md); what each protocol has: "
        "[protocols](../protocols.md), one of which `protocol` names.\n",
        *sections(Settings, protocols.load("cpu")[1]),
        "## Settings of a training\n",
        "Of `optnas train` ([the found cell, trained](../training.md)).\n",
        *sections(TrainingSettings, SHELF.load("cpu")[1], level="###"),
    ]
    return linked("\n".join(lines), page)


def sections(
    model: type[pydantic.BaseModel], protocol: Mapping[str, Any], level: str = "##"
) -> Iterator[str]:
    """The sections of a model as tables."""
    document = model.model_json_schema()
    for name, field in model.model_fields.items():
        section = field.annotation
        if name == "measures":
            section, name = MeasureSection, "measures.NAME"
        if not (inspect.isclass(section) and issubclass(section, pydantic.BaseModel)):
            continue  # what identifies a run, and the protocol's own name
        key, kind = name.partition(".")[0], NAMED.get(name.partition(".")[0])
        yield f"{level} {name}\n"
        described = document["$defs"][section.__name__]
        if kind is None:
            yield f"{' '.join(inspect.getdoc(section).split())}\n"
        else:
            plural = registry.KINDS[kind].groups[0].removeprefix("optnas.")
            link = f"[{plural}](components/{plural}.md)"
            yield f"`{name}.name` is one of {link}, with its settings.\n"
        if section is DataSection:
            yield PLACES
        rows = list(_rows(name, section, described, protocol.get(key, {})))
        if rows:
            yield "| setting | values | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows)
            yield ""


def _rows(
    name: str, section: Any, described: Mapping[str, Any], given: Mapping[str, Any]
) -> Iterator[str]:
    for key, field in section.model_fields.items():
        if key == "name":
            continue
        default = spelt(given.get(key, EMPTY if field.is_required() else field.default))
        if default == "required":
            default = FILLED.get(name.partition(".")[0], default)
        kind = "a schedule" if key == "schedule" else told(described["properties"][key])
        meaning = field.description or ""
        if key == "schedule":
            meaning = "of the learning rate: [schedules](components/schedules.md)"
        yield f"| `{name}.{key}` | {cell(kind)} | {default} | {cell(meaning)} |"


def commands() -> Iterator[tuple[str, str]]:
    """The command line, a page for what is no group and one per group: path and text."""
    whole = typer.main.get_command(app)
    context = click.Context(whole, info_name="optnas")
    groups = {n: c for n, c in whole.commands.items() if hasattr(c, "commands")}
    plain = {n: c for n, c in whole.commands.items() if n not in groups and not c.hidden}
    texts = [_command(each, name, context) for name, each in plain.items()]
    own = [f"`optnas {' '.join(each.opts)}`: {each.help}\n" for each in whole.params]
    yield "reference/commands/optnas.md", "\n".join(["# optnas\n", *own, *texts])
    for name, group in groups.items():
        text = _command(group, name, context).replace("## ", "# ", 1)
        yield f"reference/commands/{name}.md", text.replace("\n### ", "\n## ")


def _command(command: Any, name: str, context: click.Context) -> str:
    text = get_docs_for_click(
        obj=command, ctx=context, name=name, indent=1, call_prefix=context.info_name or ""
    )
    # Each command below it has its own heading, and is not cut short there.
    text = re.sub(r"(?s)\*\*Commands\*\*:\n\n.*?\n\n(?=#)", "", text)
    return text.replace("**Usage**:\n\n", "")


# --- the tutorial -------------------------------------------------------------------------------


def tutorial() -> Iterator[tuple[str, str | bytes]]:
    """The notebook as a page, with what it showed; its pictures as files."""
    lines = []
    for number, each in enumerate(json.loads((DOCS / "tutorial.ipynb").read_text())["cells"]):
        source = "".join(each["source"])
        lines.append(source if each["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in each.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                yield f"tutorial-{number}.png", base64.b64decode(data["image/png"])
                lines.append(f"![{source}](tutorial-{number}.png)")
            elif "text/html" in data:
                shown = "".join(data["text/html"]).replace(' border="1" class="dataframe"', "")
                lines.append(f'<div class="table" markdown="0">{shown}</div>')
            else:
                text = "".join(output.get("text", data.get("text/plain", [])))
                lines.append(f"```text\n{text.rstrip()}\n```")
    yield "tutorial.md", "\n\n".join(lines)


class Examples(griffe.Extension):
    """The heading of an example, as griffe knows it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every module, class and function."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"(?m)^Example:$", "Examples:", obj.docstring.value)


# --- the hook -----------------------------------------------------------------------------------

# What stands in capitals in the navigation -> the pages.
MADE: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
    "NAMES": names,
    "COMPONENTS": components,
    "COMMANDS": commands,
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make pages, and put them where the navigation names them in capitals."""
    config.extra["made"] = made = {"reference/settings.md": settings(), **dict(tutorial())}
    pages = {
        folder.name.upper(): [page.relative_to(DOCS).as_posix() for page in topic(folder)]
        for folder in DOCS.iterdir()
        if folder.is_dir()
    }
    for marker, make in MADE.items():
        made |= (found := dict(make()))
        pages[marker] = list(found)
    config.nav = _filled(config.nav, pages)
    return config


def _filled(nav: Any, pages: Mapping[str, list[str]]) -> Any:
    if isinstance(nav, dict):
        return {title: _filled(each, pages) for title, each in nav.items()}
    if isinstance(nav, list):
        whole: list[Any] = []
        for each in nav:
            filled = _filled(each, pages)
            whole += filled if isinstance(filled, list) else [filled]
        return whole
    return pages.get(nav, nav)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and every file of the repository that a page links to."""
    for path, content in config.extra["made"].items():
        files.append(File.generated(config, path, content=content))
    waiting = list(files.documentation_pages())
    while waiting:
        page = waiting.pop()
        for link in LINK.finditer(page.content_string):
            target = target_of(page.src_uri, link[2])
            shown = target and shown_as(target)
            if target and shown and files.get_file_from_path(shown) is None:
                files.append(file := _of_repository(config, target, shown))
                if target.endswith(".md"):
                    waiting.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to files of the repository go to the pages that show them."""
    here = page.file.src_uri

    def link(match: re.Match[str]) -> str:
        target = target_of(here, match[2])
        if target is None:
            return match[0]
        shown = posixpath.relpath(shown_as(target), posixpath.dirname(here) or ".")
        return f"{match[1]}{shown}{match[3]}"

    if here == "reference.md":
        markdown += _contents(config)
    return LINK.sub(link, markdown)


def _contents(config: MkDocsConfig) -> str:
    """Links to the pages of the reference that are made from the code."""
    made: dict[str, list[str]] = {}
    for path in config.extra["made"]:
        if path.startswith("reference/"):
            folder, _, name = path.removeprefix("reference/").rpartition("/")
            made.setdefault(folder, []).append(f"[{name.removesuffix('.md')}]({path})")
    lines = [f"- {folder or 'settings'}: {', '.join(links)}" for folder, links in made.items()]
    return "\n## Made from the code\n\n" + "\n".join(lines) + "\n"


LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
REPOSITORY = "repository/"  # pages that show files outside docs/


def target_of(page: str, link: str) -> str | None:
    """The file of the repository that a link on a page of the site leads to, if it is one."""
    if re.match(r"[a-z]+:|/", link):
        return None
    at_home = page.startswith(REPOSITORY)
    home = page.removeprefix(REPOSITORY) if at_home else f"docs/{page}"
    path = posixpath.normpath(posixpath.join(posixpath.dirname(home), link))
    return path if (ROOT / path).exists() and not path.startswith("..") else None


def shown_as(target: str) -> str:
    """The page, or the picture, that a file of the repository is on the site."""
    if target == "docs/tutorial.ipynb":
        return "tutorial.md"
    as_it_is = os.path.splitext(target)[1] in (".md", ".svg", ".png")
    if target.startswith("docs/") and as_it_is:
        return target.removeprefix("docs/")
    return f"{REPOSITORY}{target}" + ("" if as_it_is else ".md")


def _of_repository(config: MkDocsConfig, target: str, shown: str) -> File:
    path = ROOT / target
    if path.suffix in (".svg", ".png"):
        return File.generated(config, shown, content=path.read_bytes())
    if path.is_dir():
        held = sorted(each.name for each in path.iterdir() if each.name[0] not in "._")
        content = f"# {target}\n\n" + "\n".join(f"- `{name}`" for name in held)
    elif path.suffix == ".md":
        content = path.read_text()
    else:
        language = {".py": "python", ".toml": "toml", ".json": "json"}.get(path.suffix, "text")
        content = f"# {target}\n\n````{language}\n{path.read_text()}\n````\n"
    return File.generated(config, shown, content=content)

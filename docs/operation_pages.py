"""One page per operation and one per family, written from the rules and from docs/operations/FAMILY.yaml.

A rule has the formula, the errors and the source. The YAML files have what a rule has no room for: the derivation, what
the plot shows, an example, and the meaning of parameters that the docstring does not describe. Their keys are:

    title, chapter, notation, formula, parameters: of the family. `chapter` is the page of the guide in docs/study;
        `formula` (optional) are lines to which the docstrings refer.
    operations: per operation
        derivation: lines of calculus that lead from y to dL/da.
        plot: see `operation_plots.Plot.from_dict`, one or a list.
        example: operands by name, `y`, and optionally g. Operands with a decimal point become tensors.
        notes, chapter, parameters, operands, numpy, torch: optional.
"""

from __future__ import annotations

import contextlib
import functools
import html
import inspect
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import griffe
import numpy as np
import operation_plots as plots
import yaml
from operation_rules import called_by, docstring, formula_and_notes, location, signature

from minigrad import ops

DOCS = Path(__file__).parent
FAMILIES = ("elementwise", "activation", "reduce", "shape", "linalg", "image", "normalise", "loss")
# The names of the families in the table of operations.md.
NAMES = {"reduction": "reduce", "linear algebra": "linalg", "normalization": "normalise"}
SAME_NAME_IN_TORCH = {"elementwise", "reduce", "shape", "linalg"}  # the others are in torch.nn.functional
LEGEND = '<p class="op-legend"><span class="value">value</span> <span class="gradient">gradient</span></p>'


@functools.cache
def families() -> dict[str, dict[str, Any]]:
    """The content of the YAML files, by family."""
    return {name: yaml.safe_load((DOCS / f"operations/{name}.yaml").read_text(encoding="utf-8")) for name in FAMILIES}


def entries() -> dict[str, tuple[str, dict[str, Any]]]:
    """Per operation its family and its entry in the YAML file, in the order of `ops.__all__` within each family."""
    return {
        name: (family, content["operations"][name])
        for family, content in families().items()
        for name in sorted(content["operations"], key=ops.__all__.index)
    }


def pages() -> Iterator[tuple[str, str]]:
    """Yield the path in docs/ and the Markdown of each page."""
    for family in FAMILIES:
        yield f"operations/{family}.md", family_page(family)
    for name in entries():
        yield f"operations/{name}.md", page(name)


def page(name: str) -> str:
    """Return the Markdown of an operation's page."""
    family, entry = entries()[name]
    function = getattr(ops, name)
    formula, notes = formula_and_notes(function)
    sections = [
        f"# {name}",
        f"[{families()[family]['title']}]({family}.md) · [`{location(function)}`](../{reference(name, family)})",
        f"```python\n{signature(name, function)}\n```",
        f"## Formula\n\n<p>{prose(families()[family]['notation'], name)}</p>",
        lines([*families()[family].get("formula", []), *formula], name),
        *(f"<p>{prose(note, name)}</p>" for note in notes),
        f"## Plot\n\n{figures(entry)}",
        f"## Derivation\n\n{lines(entry['derivation'].splitlines(), name)}",
        f"## Example\n\n{example(entry['example'])}",
        f"## Notes\n\n<p>{prose(entry['notes'], name)}</p>" if "notes" in entry else "",
        f"## Parameters\n\n{parameters(name)}",
        f"## Source {{ data-search-exclude }}\n\n{source(function)}",
        f"## See also {{ data-search-exclude }}\n\n{see_also(name)}",
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def family_page(family: str) -> str:
    """Return the Markdown of a family's page: a small plot and the formula of each operation."""
    content = families()[family]
    cards = []
    for name in (name for name, (own, _) in entries().items() if own == family):
        plot = plots_of(content["operations"][name])[0]
        curves = plots.sample(plot, points=41, dots=1)
        picture = plots.svg(plot, curves, f"Value and gradient of {plot.y}", small=True)
        formula = html.escape(formula_and_notes(getattr(ops, name))[0][0].rstrip(".").replace("`", ""))
        label = name.replace("_", "_<wbr>")
        cards.append(
            f'<a class="op-card" href="{name}.html"><strong>{label}</strong>{picture}<span>{formula}</span></a>'
        )
    grid = '<div class="op-grid">\n' + "\n".join(cards) + "\n</div>"
    return f"# {content['title']}\n\n<p>{prose(content['notation'])}</p>\n\n{LEGEND}\n\n{grid}\n"


def prose(text: str, page: str = "") -> str:
    """Text with `code` as HTML. Names of other operations become links."""

    def code(match: re.Match[str]) -> str:
        name = match[1]
        marked = f"<code>{name}</code>"
        return f'<a href="{name}.html">{marked}</a>' if name in ops.__all__ and name != page else marked

    return re.sub("`([^`]+)`", code, html.escape(" ".join(text.split()), quote=False))


def lines(formulas: list[str], page: str) -> str:
    """Formulas, one per line; "see NAME" becomes a link."""

    def link(match: re.Match[str]) -> str:
        name = match[1]
        return f'see <a href="{name}.html">{name}</a>' if name in ops.__all__ and name != page else match[0]

    linked = [re.sub(r"see (\w+)", link, prose(line, page)) for line in formulas]
    return f'<div class="op-lines">{"".join(f"<p>{line}</p>" for line in linked)}</div>'


def parameters(name: str) -> str:
    """A table of the operands and options, and the errors."""
    entry = entries()[name][1]
    function = getattr(ops, name)
    rows = []
    for parameter in inspect.signature(function).parameters.values():
        is_operand = "Array" in str(parameter.annotation) or parameter.name in entry.get("operands", ())
        default = "" if parameter.default is parameter.empty else f"<code>{html.escape(repr(parameter.default))}</code>"
        rows.append(
            f"<tr><td><code>{parameter.name}</code></td><td>{'operand' if is_operand else 'option'}</td>"
            f"<td>{default}</td><td>{prose(meaning(name, parameter.name), name)}</td></tr>"
        )
    table = (
        "<table><thead><tr><th>parameter</th><th>kind</th><th>default</th><th>meaning</th></tr></thead>\n<tbody>\n"
        + "\n".join(rows)
        + "\n</tbody></table>"
    )
    errors = [
        f"<li><code>{error.annotation}</code>: {prose(error.description, name)}</li>"
        for part in docstring(function)
        if part.kind is griffe.DocstringSectionKind.raises
        for error in part.value
    ]
    return table + (f"\n\n<p>Raises:</p>\n<ul>{''.join(errors)}</ul>" if errors else "")


def meaning(name: str, parameter: str) -> str:
    """What a parameter means: from the docstring, or from the YAML file of the family.

    Raises:
        KeyError: neither describes it.
    """
    family, entry = entries()[name]
    shared = {**families()[family]["parameters"], **entry.get("parameters", {})}
    for part in docstring(getattr(ops, name)):
        if part.kind is griffe.DocstringSectionKind.parameters:
            for described in part.value:
                if described.name == parameter and parameter in shared:
                    return described.description.rstrip(".").replace("see above", shared[parameter])
                if described.name == parameter:
                    return described.description.rstrip(".")
    return shared[parameter]


def plots_of(entry: dict[str, Any]) -> list[plots.Plot]:
    """The plots of an entry; most have one."""
    definitions = entry["plot"]
    return [plots.Plot.from_dict(plot) for plot in (definitions if isinstance(definitions, list) else [definitions])]


def figures(entry: dict[str, Any]) -> str:
    """The plots of an operation, each with a caption and what happens at kinks."""
    return "\n\n".join(map(_figure, plots_of(entry)))


def _figure(plot: plots.Plot) -> str:
    curves = plots.sample(plot)
    number = plots.number
    operands = ", ".join(f"{name} = {_shown(x)}" for name, x in plot.operands.items())
    ends = (
        f"at t = {number(t)} the value is {number(y)} and the gradient {number(d)}"
        for t, y, d in (curves.segments[0][0].tolist(), curves.segments[-1][-1].tolist())
    )
    description = f"Value and gradient of {plot.y} for {operands}: {', '.join(ends)}"
    error = f"{curves.error:.0e}" if curves.error else "0"
    kinks = "".join(f"<br>{_about_kink(kink)}" for kink in curves.kinks)
    return (
        f'<figure class="op-figure">\n{plots.svg(plot, curves, description)}\n<figcaption>\n'
        '<span class="value">value y</span> <span class="gradient">gradient dy/dt, from backward</span>'
        ' <span class="dots">finite differences</span><br>'
        f"<code>y = {html.escape(plot.y)}</code> for <code>{html.escape(operands)}</code>."
        f" The gradient and the finite differences differ by at most {error}.{kinks}\n</figcaption></figure>"
    )


def _about_kink(kink: plots.Kink) -> str:
    number = plots.number
    if kink.jumps:
        return (
            f"At t = {number(kink.t)} the value jumps. The engine returns the gradient {number(kink.gradient)} there."
        )
    return (
        f"At the kink t = {number(kink.t)} the slope is {number(kink.left)} on the left and {number(kink.right)} on the"
        f" right. The engine returns {number(kink.gradient)}."
    )


def _shown(x: Any) -> str:
    return f"[{', '.join(map(_shown, x))}]" if isinstance(x, list) else str(x)


def example(entry: dict[str, Any]) -> str:
    """A block of code and what it prints."""
    code = example_code(entry)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    return f"```python\n{code}```\n\n```text\n{printed.getvalue()}```"


def example_code(entry: dict[str, Any]) -> str:
    """A program that computes a value and its gradients."""
    operands = {name: x for name, x in entry.items() if name not in ("y", "g")}
    tensors = [name for name, x in operands.items() if re.search(r"\d\.\d|e-", repr(x))]
    code = ["import numpy as np\n"] if "np." in entry["y"] else []
    code.append("from minigrad import Tensor, ops\n")
    code += [f"{k} = Tensor({x}, requires_grad=True)" if k in tensors else f"{k} = {x}" for k, x in operands.items()]
    is_scalar = np.ndim(eval(entry["y"], {"ops": ops, "np": np, **{k: np.array(x) for k, x in operands.items()}})) == 0
    backward = f"y.backward({entry['g']})" if "g" in entry else "y.backward()" if is_scalar else "y.sum().backward()"
    comment = "g = dL/dy" if "g" in entry else "g = 1" if is_scalar else "g = 1 for each element"
    code += [f"y = {entry['y']}", f"{backward}  # {comment}", "print(y)", *(f"print({k}.grad)" for k in tensors)]
    return "\n".join(code) + "\n"


def reference(name: str, family: str) -> str:
    """The entry of an operation in the API reference."""
    return f"api/engine.md#minigrad.ops.{family}.{name}"


def source(function: Callable[..., Any]) -> str:
    """The source of a rule, of the private rules that it calls, and folded, of the helpers."""
    called = called_by(function)
    rules = [rule for rule in called if inspect.getsource(rule).startswith("@operation")]
    helpers = [helper for helper in called if helper not in rules]
    shown = "\n\n".join(_code(part) for part in (function, *rules))
    if not helpers:
        return shown
    folded = "\n\n".join(map(_code, helpers))
    return f'{shown}\n\n<details markdown="1"><summary>Functions that it calls</summary>\n\n{folded}\n\n</details>'


def _code(function: Callable[..., Any]) -> str:
    return f'```python title="{location(function)}"\n{inspect.getsource(function)}```'


def see_also(name: str) -> str:
    """Links: what it is called in NumPy and torch, the guide, and the family."""
    family, entry = entries()[name]
    counterparts = [counterpart(name, library) for library in ("numpy", "torch")]
    chapter = chapter_link(entry.get("chapter", families()[family]["chapter"]))
    siblings = (n if n == name else f"[{n}]({n}.md)" for n, (f, _) in entries().items() if f == family)
    return "\n".join(
        filter(
            None,
            [
                f"- Counterparts: {', '.join(x if '`' in x else f'`{x}`' for x in counterparts if x)}",
                f"- Guide: {chapter}" if chapter else "",
                f"- [{families()[family]['title']}]({family}.md): {', '.join(siblings)}",
                "- [Names, accuracy and extreme values of all operations](../operations.md)",
            ],
        )
    )


def counterpart(name: str, library: str) -> str:
    """The name of the same operation in numpy or torch, empty if it has none there."""
    family, entry = entries()[name]
    if library in entry:
        return str(entry[library])
    if library == "numpy":
        return f"numpy.{name}" if family in SAME_NAME_IN_TORCH and hasattr(np, name) else ""
    return f"torch.{name}" if family in SAME_NAME_IN_TORCH else f"torch.nn.functional.{name}"


def chapter_link(chapter: str) -> str:
    """A link to a chapter of the guide, with its title; empty if there is no such file."""
    path = DOCS / "study" / chapter
    if not path.is_file():
        return ""
    title = re.search("^# (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return f"[{title[1] if title else chapter}](../study/{chapter})"


def with_links(markdown: str) -> str:
    """operations.md with links to the pages: in its tables, the names of operations and of families."""

    names = entries()

    def row(match: re.Match[str]) -> str:
        first, rest = match[1], match[2]
        family = NAMES.get(first, first)
        first = f"[{first}](operations/{family}.md)" if family in FAMILIES else first
        return f"| {first} |{rest}"

    def code(match: re.Match[str]) -> str:
        return f"[{match[0]}](operations/{match[1]}.md)" if match[1] in names else match[0]

    rows = re.sub(r"^\| (.+?) \|(.*)$", row, markdown, flags=re.MULTILINE)
    return re.sub(r"^\|.*$", lambda line: re.sub(r"`(\w+)`", code, line[0]), rows, flags=re.MULTILINE)

"""How the drawings look: colours (light and dark), text metrics and the ramp of gradient sizes.

Colours are CSS variables, so that one SVG serves both modes; every rule states the light colour first
as a plain value, for renderers that know no variables. Knows nothing of systems or layouts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

FONT = "'DejaVu Sans', Verdana, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"

# role of a colour -> (light, dark)
COLOURS: dict[str, tuple[str, str]] = {
    "surface": ("#FFFFFF", "#14181D"),
    "panel": ("#F6F8FA", "#1B2128"),
    "panel-line": ("#D5DCE3", "#343D47"),
    "ink": ("#1C2024", "#E8ECF0"),
    "muted": ("#5A6570", "#9DA8B3"),
    "faint": ("#C3CBD3", "#46515C"),
    "wire": ("#7E8A96", "#8B97A3"),
    "box": ("#FFFFFF", "#232A32"),
    "input-fill": ("#EEF0F2", "#2A323B"),
    "gate": ("#9A6700", "#E0B84C"),
    "gate-fill": ("#FFF3D1", "#3A2D05"),
    "state-a": ("#007A5A", "#3FCF9F"),  # the linear highway, `c`
    "state-a-fill": ("#D6F2E7", "#0B3528"),
    "state-b": ("#0072B2", "#56B4E9"),  # other states, `h`
    "state-b-fill": ("#DCEDFA", "#0B2E45"),
    "loss": ("#B93C00", "#FF9B6A"),
    "loss-fill": ("#FDE4D8", "#451C08"),
    "skip": ("#8250A0", "#C39BE0"),
    "skip-fill": ("#F1E6F7", "#33203F"),
    "ramp-0": ("#F7CFA3", "#8A4E24"),
    "ramp-1": ("#F2AD6B", "#A15C22"),
    "ramp-2": ("#E5873A", "#BC6D1F"),
    "ramp-3": ("#C95A14", "#D6842F"),
    "ramp-4": ("#9C3403", "#F3A45B"),
    "ramp-5": ("#641B00", "#FFD9AE"),
}
RAMP = 6  # number of ramp colours
EQUAL = 1e-6  # sizes that differ by less, beside themselves, are one size: what is left is rounding

# advance widths of ASCII 32..126 in thousandths of an em (DejaVu Sans, the widest of the stack)
_ASCII = (
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636, 636,
    636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632, 575, 775,
    752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390,
    337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612,
    635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
)  # fmt: skip
_OTHER = {
    "·": 318,
    "…": 1000,
    "‖": 500,
    "∂": 517,
    "ᵀ": 385,
    "²": 401,
    "⁻": 528,
    "¹": 401,
    "½": 969,
    "₀": 401,
    " ": 318,
    "\u2009": 200,
}
_OTHER |= dict.fromkeys("αβγδεζηθικλμνξοπρστυφχψΣ", 660)


GREEK = dict(
    zip(
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon phi "
        "chi psi omega".split(),
        "αβγδεζηθικλμνξοπρστυφχψω",
        strict=True,
    )
)


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a label; `script` is -1 for a subscript, 1 for a superscript."""

    text: str
    script: int = 0


Label = tuple[Span, ...]


def label(text: str, sub: str = "", sup: str = "") -> Label:
    """`h` with subscript `0`: the pieces of a typeset name."""
    parts = [Span(text)]
    if sub:
        parts.append(Span(sub, -1))
    if sup:
        parts.append(Span(sup, 1))
    return tuple(parts)


def name(text: str, step: str = "", storey: bool = False) -> Label:
    """A name of the language typeset: `W_f` is W with subscript f; copies' prefixes are left off
    (`storey=True` keeps them); a step joins the subscript."""
    head, _, last = text.rpartition(".")
    base, _, sub = last.partition("_")
    prefix = f"{head}." if storey and head else ""
    if not base:
        base, sub = last, ""
    return label(prefix + GREEK.get(base, base), ",".join(p for p in (GREEK.get(sub, sub), step) if p))


def plain(text: Label) -> str:
    """A label in one line of plain text: `h[0]` style is left to the caller; here `W_f`."""
    return "".join(("_" if s.script < 0 else "^" if s.script > 0 else "") + s.text for s in text)


def text_width(text: str, size: float) -> float:
    """Width of a text in px at a font size in px; a generous estimate where the font differs."""
    total = 0
    for ch in text:
        code = ord(ch)
        total += _ASCII[code - 32] if 32 <= code < 127 else _OTHER.get(ch, 838)
    return total * size / 1000


def label_width(text: Sequence[Span], size: float) -> float:
    return sum(text_width(s.text, size * (0.72 if s.script else 1.0)) for s in text)


def css() -> str:
    """The style sheet of every drawing: plain light colours, and variables for renderers that know them.

    Some converters read `fill:var(--ink)` as black instead of skipping it; they do skip `@supports`.
    """
    light = "".join(f"--{k}:{v[0]};" for k, v in COLOURS.items())
    dark = "".join(f"--{k}:{v[1]};" for k, v in COLOURS.items())
    frame = [
        f".tg{{{light}font-family:{FONT}}}",
        f"@media (prefers-color-scheme:dark){{.tg{{{dark}}}}}",
        f':root[data-theme="dark"] .tg{{{dark}}}',
        f':root[data-theme="light"] .tg{{{light}}}',
        "@supports (paint-order:stroke){"
        ".tg text.number{stroke:var(--panel);stroke-width:3px;paint-order:stroke;stroke-linejoin:round}}",
    ]
    variable = [re.sub(r"\$([\w-]+)\$", r"var(--\1)", r) for r in _rules() if "$" in r]
    return "\n".join([*frame, plain_rules(), "@supports (color:var(--ink)){", *variable, "}"])


def plain_rules() -> str:
    """The rules with their light colours."""
    return re.sub(r"\$([\w-]+)\$", lambda m: COLOURS[m[1]][0], "\n".join(_rules()))


def _rules() -> list[str]:
    """Selectors and declarations; `$ink$` stands for a colour."""

    def paint(prop: str, colour: str) -> str:
        return f"{prop}:${colour}$"

    rules = [
        f".tg .surface{{{paint('fill', 'surface')}}}",
        f".tg text{{{paint('fill', 'ink')};stroke:none}}",
        f".tg text.muted{{{paint('fill', 'muted')}}}",
        f".tg .panel{{{paint('fill', 'panel')};{paint('stroke', 'panel-line')};stroke-width:1}}",
        f".tg .gap{{{paint('stroke', 'faint')};fill:none;stroke-width:2;stroke-dasharray:.1 6;stroke-linecap:round}}",
        f".tg .body{{{paint('fill', 'box')};{paint('stroke', 'wire')};stroke-width:1.2}}",
        f".tg .chip{{{paint('fill', 'surface')};{paint('stroke', 'faint')};stroke-width:1}}",
        f".tg .wire{{{paint('stroke', 'wire')};fill:none;stroke-width:1.5;stroke-linejoin:round}}",
        f".tg .head{{{paint('fill', 'wire')};stroke:none}}",
        f".tg .halo{{{paint('stroke', 'panel')};fill:none;stroke-width:6}}",
        f".tg .input .body{{{paint('fill', 'input-fill')};{paint('stroke', 'wire')}}}",
        ".tg .boundary .body{stroke-dasharray:3 2.5}",
        ".tg .output>.body{stroke-width:2.2}",
        f".tg .faded .wire{{{paint('stroke', 'faint')};stroke-width:1.2}}",
        f".tg .faded .head{{{paint('fill', 'faint')}}}",
        ".tg text.code{font-family:'DejaVu Sans Mono',Consolas,Menlo,monospace;white-space:pre}",
        ".tg .equation .mark{fill:none}",
        f".tg .equation:target .mark{{{paint('fill', 'gate-fill')};{paint('stroke', 'gate')}}}",
        ".tg .node.dim,.tg .faded{opacity:.45}",
        f".tg .chip.chosen{{{paint('fill', 'ramp-0')};{paint('stroke', 'ramp-4')};stroke-width:1.6}}",
        f".tg .chosen>.body{{stroke-width:3.2;{paint('stroke', 'ramp-4')}}}",
    ]
    for role in ("gate", "loss", "skip"):
        rules.append(f".tg .{role} .body{{{paint('fill', role + '-fill')};{paint('stroke', role)};stroke-width:1.5}}")
    for role in ("state-a", "state-b"):
        rules.append(f".tg .{role} .body{{{paint('fill', role + '-fill')};{paint('stroke', role)};stroke-width:2}}")
    for role in ("state-a", "state-b", "skip", "loss", "gate"):
        rules.append(f".tg .{role}.net .wire{{{paint('stroke', role)}}}")
        rules.append(f".tg .{role}.net .head{{{paint('fill', role)}}}")
    rules.append(".tg .state-b.net .wire{stroke-width:2}.tg .highway .wire{stroke-width:4}")
    rules.append(".tg .skip.net .wire{stroke-width:1.8}.tg .wire.dashed{stroke-dasharray:6 4}")
    for k in range(RAMP):
        rules.append(
            f".tg .hot.r{k} .wire{{{paint('stroke', f'ramp-{k}')}}}.tg .hot.r{k} .head{{{paint('fill', f'ramp-{k}')}}}"
        )
        rules.append(f".tg .cell.r{k}{{{paint('fill', f'ramp-{k}')};stroke:none;shape-rendering:crispEdges}}")
    rules.append(f".tg text.on.r3,.tg text.on.r4,.tg text.on.r5{{{paint('fill', 'surface')}}}")
    return rules


def ramp_position(value: float, low: float, high: float) -> float:
    """Normalised log10 of a size in [low, high]: 0 for the smallest, 1 for the largest; 0 for zero."""
    if not value > 0 or not math.isfinite(value):
        return 1.0 if value == math.inf else 0.0
    if not low > 0 or same(low, high):
        return 1.0
    return min(1.0, max(0.0, math.log10(value / low) / math.log10(high / low)))


def same(low: float, high: float) -> bool:
    """Whether two sizes differ by rounding at most."""
    return not high > low * (1 + EQUAL)


def ramp_range(sizes: Sequence[float]) -> tuple[float, float]:
    """The ends of the ramp for these positive sizes; what is rounding error beside the largest does not count."""
    high = max(sizes, default=0.0)
    return (min((v for v in sizes if v > high * 1e-14), default=high), high)


def ramp_class(position: float) -> str:
    return f"r{min(RAMP - 1, int(position * RAMP))}"


def ramp_width(position: float) -> float:
    """Stroke width in px of a gradient edge."""
    return round(1.1 + 3.4 * position, 2)


def number(value: float) -> str:
    """Three significant digits, as short as they can be printed."""
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    exponent = math.floor(math.log10(abs(value)))
    if -4 < exponent < 4:
        text = f"{value:.{max(0, 2 - exponent)}f}"
        return text.replace("0.", ".", 1).replace("-", "−") if abs(value) < 1 else text.replace("-", "−")
    mantissa, power = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(power)}".replace("-", "−")

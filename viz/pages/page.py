"""Self-contained pages: one file, nothing fetched, readable with a keyboard, a screen reader, in light and dark."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from tinygrad_seq.files import write_file
from viz import theme

_SHELL = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'{scripts}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title>
<style>{style}</style></head>
<body class="tg">
{body}
{blocks}</body></html>
"""


class Page:
    """What `stepper`, `gallery`, `lab` and the walks return.

    .html         the page as text
    .save(path)   writes it to a `.html` file, complete or not at all; OSError names a path that cannot be written
    .data         every number that it shows, as arrays
    """

    def __init__(self, title: str, html: str, data: Mapping[str, Any] | None = None) -> None:
        self.title, self.html = title, html
        self.data: dict[str, Any] = dict(data or {})

    def save(self, path: str | Path) -> Path:
        path = Path(path)
        if path.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"cannot save a page as {path.name!r}: use .html")
        return write_file(path, self.html.encode(), parents=False)

    def _repr_html_(self) -> str:
        return (
            f'<iframe title="{escape(self.title)}" style="width:100%;height:620px;border:0" '
            f'srcdoc="{escape(self.html)}"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<Page {self.title!r}, {len(self.html) / 1000:.0f} kB>"


def write(title: str, body: str, data: Any = None, script: str = "", style: str = "") -> str:
    """The document. `script` names a file of this package; `data` is its JSON block `data`."""
    blocks, scripts = "", ""
    if script:
        code = resource(script)
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        scripts = f"; script-src 'sha256-{digest}'"
        blocks = f'<script type="application/json" id="data">{block(data)}</script>\n<script>{code}</script>\n'
    sheet = theme.css() + "\n" + resource("page.css") + style
    return _SHELL.format(scripts=scripts, title=escape(title), style=sheet, body=body, blocks=blocks)


def block(data: Any) -> str:
    """JSON that may stand inside a script element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("</", "<\\/").replace("<!--", "<\\u0021--")


@cache
def resource(name: str) -> str:
    return (files("viz.pages") / name).read_text(encoding="utf-8")


_ICONS = {
    "first": "M4 3v10M13 3L6 8l7 5z",
    "back": "M12 3L5 8l7 5z",
    "next": "M4 3l7 5-7 5z",
    "last": "M12 3v10M3 3l7 5-7 5z",
    "play": "M4 2l10 6-10 6z",
}


def button(name: str, label: str, more: str = "") -> str:
    """A real button with an icon drawn in the page and its name beside it."""
    icon = f'<svg viewBox="0 0 16 16" aria-hidden="true" focusable="false"><path d="{_ICONS[name]}"/></svg>'
    return f'<button type="button" id="{name}"{more}>{icon}<span>{label}</span></button>'


def toolbar(last: int, what: str = "Step") -> str:
    """Buttons and a range for a page that is walked through: steps 0 to `last`."""
    buttons = "".join(
        (
            button("first", "First"),
            button("back", "Back"),
            button("play", "Play", ' aria-pressed="false"'),
            button("next", "Next"),
            button("last", "Last"),
        )
    )
    return (
        f'<div id="toolbar" role="toolbar" aria-label="{what}s" aria-controls="picture">{buttons}'
        f'<label for="range">{what}</label>'
        f'<input id="range" type="range" min="0" max="{last}" step="1" value="0" aria-valuetext="{what} 0"></div>'
        '<p id="status" role="status"></p>'
    )


def shown(value: Any) -> str:
    """A value as a page prints it: six digits of a number, four of each of up to eight, else a summary."""
    if value is None:
        return "not kept by the tape"
    import numpy as np

    array = np.asarray(value)
    if array.dtype.kind not in "fciub":
        return str(value)[:40]
    if array.size == 1:
        return _number(array.reshape(())[()], 6)
    flat = array.reshape(-1)
    if array.ndim == 1 and array.size <= 8:
        return "[" + ", ".join(_number(v, 4) for v in flat) + "]"
    size = " × ".join(str(n) for n in array.shape)
    norm = float(np.linalg.norm(flat)) if array.size else 0.0
    first = ", ".join(_number(v, 3) for v in flat[:4])
    return f"{size}: [{first}{', …' if array.size > 4 else ''}], ‖·‖ = {_number(norm, 4)}"


def _number(value: Any, digits: int) -> str:
    if isinstance(value, complex) or getattr(getattr(value, "dtype", None), "kind", "") == "c":
        return f"{value:.{digits}g}".replace("-", "−")
    return f"{float(value):.{digits}g}".replace("-", "−")

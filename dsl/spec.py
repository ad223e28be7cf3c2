"""What `dsl.load` and `dsl.parse` return: one cell, and everything that can be asked of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsl.plan.schedule import schedule
from dsl.system import adjoint as _adjoint
from dsl.system.printing import to_tree
from dsl.system.resolve import resolve
from dsl.system.scope import library_file, library_index
from dsl.system.system import System
from dsl.text.diagnostics import CellError, Diagnostic, suggest
from dsl.text.format import format as format_tree
from dsl.text.parse import parse as parse_text
from dsl.text.tree import Cell, File

# messages that an unread line may be the cause of: an equation, a use or a declaration that is missing
NEEDS_ALL = ("E201", "E210", "E305", "E306", "E601")

if TYPE_CHECKING:
    from dsl.plan.describe import Plan
    from dsl.run.model import Model
    from dsl.system.explaining import Explained
    from dsl.system.judging import Comparison


class Spec:
    """A cell: its source, its system of equations, and what follows from them.

    `print(spec)` shows the source. `spec.system` is resolved on first use; a mistake in the cell raises
    `CellError` with every diagnostic. Arguments given to `load`, `parse` or a call (`Cell="GRU"`,
    `L=2`, `k=3`) are kept; sizes may stay open until `build`.
    """

    def __init__(self, file: File, cell: str, arguments: Mapping[str, Any] | None = None) -> None:
        self.file, self.name = file, cell
        self.arguments: dict[str, Any] = dict(arguments or {})

    def __call__(self, **arguments: Any) -> Spec:
        """The same cell with some arguments given: `dsl.load("CharRNN")(Cell="GRU", L=2)`."""
        return self if not arguments else Spec(self.file, self.name, {**self.arguments, **arguments})

    @cached_property
    def _resolved(self) -> tuple[System, list[Diagnostic]]:
        system, warnings = resolve(self.file, self.name, self.arguments)
        schedule(system)  # an impossible order is the author's mistake: say so here
        return system, warnings

    @property
    def system(self) -> System:
        """The flat equations, everything inlined (`dsl.system.System`)."""
        return self._resolved[0]

    @property
    def warnings(self) -> list[Diagnostic]:
        return self._resolved[1]

    @property
    def tree(self) -> Cell:
        return self.file.cells[self.name]

    def __str__(self) -> str:
        return format_tree(self.tree).rstrip("\n")

    def __repr__(self) -> str:
        return f"<cell {self.name}({', '.join(p.name for p in self.tree.parameters)})>"

    def latex(self) -> str:
        """The equations as LaTeX, one aligned block."""
        from dsl.system.latex import cell_latex, ranks

        return cell_latex(
            self.tree, ranks(self.system), {given: name for name, given in getattr(self, "cotangents", {}).items()}
        )

    def _repr_latex_(self) -> str:
        return "$$" + self.latex() + "$$"

    def _repr_html_(self) -> str:
        from dsl.notebook import page

        return page(self)

    # ------------------------------------------------------------ what follows

    def adjoint(
        self,
        *,
        joined: bool = False,
        outside: tuple[str, ...] | None = None,
        wrt: tuple[str, ...] | None = None,
        **arguments: Any,
    ) -> AdjointSpec:
        """Backpropagation through time, derived: a system of equations again.

        `joined=True` contains the forward equations too, and can itself be differentiated.
        """
        spec = self(**arguments)
        for name in (*(outside or ()), *(wrt or ())):
            if name not in spec.system.streams:
                near = suggest(name, list(spec.system.streams))
                raise ValueError(f"{self.name} has no stream {name!r}" + (f"; did you mean {near!r}?" if near else ""))
        derived = _adjoint.adjoint(spec.system, outside, wrt)
        if joined:
            derived = _adjoint.joined(spec.system, derived)
        return AdjointSpec(spec, derived)

    def plan(self, **arguments: Any) -> Plan:
        """How the compiled run computes it: `print(spec.plan())`."""
        from dsl.plan.describe import describe

        return describe(self(**arguments).system)

    def generation(self, *, greedy: bool = False, **arguments: Any) -> str:
        """The cell as `generate` runs it, in the language: what `~` draws is an equation on noise (`y.uniform[t]`).

        `sharpness` is one over the temperature; the first `primed` steps are given, `y.given`. Noise is drawn by a
        run with `train=True`, and its mean otherwise. Errors: ValueError when nothing is drawn.
        """
        from dsl.run.program import needed, restrict
        from dsl.system.sampled import sampled

        system = self(**arguments).system
        if not system.draws:
            raise ValueError(f"{self.name} draws nothing: generation needs a line such as `y[t] ~ categorical(...)`")
        made = sampled(system, greedy=greedy).system
        return format_tree(to_tree(restrict(made, needed(made, made.outputs, {})))).rstrip("\n")

    def build(
        self,
        *,
        seed: int = 0,
        dtype: str = "float32",
        like: Mapping[str, Any] | None = None,
        remat: bool = False,
        **arguments: Any,
    ) -> Model:
        """A model: parameters drawn, sizes settled. `like={"x": x}` infers open sizes from data; `remat=True` trains
        with memory that grows with √T (see `Model`)."""
        from dsl.run.model import Model

        return Model(self(**arguments), seed=seed, dtype=dtype, like=like, remat=remat)


class AdjointSpec(Spec):
    """A derived system with the names of what goes in and comes out.

    cotangents   output -> the input that carries ∂L/∂output ("h" -> "dh")
    gradients    input or parameter -> the stream that holds its gradient ("V" -> "V_bar")
    """

    def __init__(self, forward: Spec, derived: _adjoint.Adjoint) -> None:
        tree = to_tree(derived.system)
        text = format_tree(tree)
        file = parse_text(text, f"<{tree.name}>")
        super().__init__(file, tree.name)
        self.forward = forward
        self.cotangents, self.gradients = derived.cotangents, derived.gradients
        self.derived = derived

    @property
    def system(self) -> System:
        return self.derived.system

    def explain(self, latex: bool = False) -> Explained:
        """How it was derived: for each equation where its terms come from, and the rules used; as text or LaTeX."""
        from dsl.system.explaining import explain

        return explain(self.forward.system, self.derived, latex)

    def compare(self, text: str, **options: Any) -> Comparison:
        """Check a hand-derived adjoint: per equation the largest difference and the first step that differs."""
        from dsl.system.compare import compare

        return compare(self, text, **options)


def parse(text: str, cell: str | None = None, path: str = "<text>", **arguments: Any) -> Spec:
    """A cell from source text; `cell` names one of several, the last is the default.

    Raises `CellError` with every syntax error, and with the mistakes of meaning in the lines that could be read.
    """
    try:
        file = parse_text(text, path)
    except CellError as error:
        raise _with_meaning(error, arguments) from None
    return _choose(file, cell, arguments)


def _with_meaning(error: CellError, arguments: Mapping[str, Any]) -> CellError:
    """Syntax errors together with what is wrong elsewhere in the file.

    A line that could not be read may have declared anything, so nothing is said of the names in it.
    """
    if error.partial is None:
        return error
    text = error.source.text
    unread: set[str] = set()
    for diagnostic in error.diagnostics:
        start = text.rfind("\n", 0, diagnostic.span.start) + 1
        given = re.split(r"[=~#\n]", text[start:], maxsplit=1)[0]
        if not given.split()[:1] == ["return"]:
            unread |= _words(given)  # what the line would have given
    hidden = _words(_not_read(error.partial))
    found: list[Diagnostic] = []
    for name in error.partial.cells:
        try:
            resolve(error.partial, name, arguments)
        except CellError as meaning:
            for d in meaning.diagnostics:
                is_unknown = d.message.startswith("unknown name `")
                stands = is_unknown and not hidden & _words(d.message.removeprefix("unknown name"))
                if d.source is None and (stands or d.code not in NEEDS_ALL):
                    found.append(d)
    known = [d for d in found if not unread & _words(" ".join(re.findall(r"`([^`]*)`", d.message)))]
    return CellError([*error.diagnostics, *dict.fromkeys(known)], error.source)


def _not_read(file: File) -> str:
    """The lines of a file of which no statement was made, without comments; what one `return`s, it does not define."""
    source = file.source
    read: set[int] = set()
    for item in file.items:
        for node in (item, *item.body) if isinstance(item, Cell) else (item,):
            read.update(range(source.line_of(node.span.start), source.line_of(node.span.end) + 1))
    lines = [line.partition("#")[0] for n, line in enumerate(source.text.split("\n"), 1) if n not in read]
    return "\n".join(line for line in lines if line.split()[:1] != ["return"])


def _words(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z_]\w*", text))


def load(name: str, **arguments: Any) -> Spec:
    """A library cell ("LSTM"), or a cell of a file ("my.cell", "my.cell:Skip")."""
    path, _, cell = name.partition(":")
    if path.endswith(".cell"):
        text = read_text(Path(path))
        return parse(text, cell or None, path, **arguments)
    index = library_index()
    if name not in index:
        near = suggest(name, list(index))
        hint = f"did you mean {near!r}?" if near else f"`tgseq cells` lists the {len(index)} there are"
        raise KeyError(f"no cell {name!r} in the library; {hint} (a file of your own: load('file.cell:{name}'))")
    return _choose(library_file(index[name]), name, arguments)


def read_text(path: Path) -> str:
    """A cell file's text; clear errors for one that is missing or not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def _choose(file: File, cell: str | None, arguments: Mapping[str, Any]) -> Spec:
    from dsl.text.tree import Span

    cells = list(file.cells)
    if not cells:
        raise CellError(
            [Diagnostic("E201", "no cell in this file", Span(0, 0), help="a cell starts with `cell Name(D, H):`")],
            file.source,
        )
    name = cell if cell is not None else cells[-1]
    if name not in file.cells:
        near = suggest(name, cells)
        hint = f"did you mean `{near}`?" if near else "it has " + ", ".join(cells)
        raise CellError(
            [Diagnostic("E201", f"no cell named `{name}` in {file.source.path}", Span(0, 0), help=hint)], file.source
        )
    return Spec(file, name, arguments)


def cells() -> list[str]:
    """The names of all library cells."""
    return sorted(library_index())

"""Random trees of everything that can be written, for the property tests of printer and parser."""

from __future__ import annotations

from hypothesis import strategies as st

from dsl.text.tree import (
    Argument,
    Binary,
    Call,
    Cell,
    Declaration,
    Draw,
    Equation,
    Expr,
    File,
    Import,
    Loss,
    Macro,
    Negative,
    Notes,
    Number,
    Output,
    Parameter,
    Ref,
    Source,
    TimeAxis,
    Transpose,
    Type,
    Use,
)

OPERATORS = ("+", "-", "*", "/", "//", "%", "@", "**")
COMPARISONS = ("==", "!=", "<=", ">=", "<", ">")

# words of one place only (`stack`, `one_hot`, ...) are names anywhere else; T and H are names unless they end a path
plain_names = st.sampled_from(["h", "x", "W_f", "t", "len", "pi", "none", "T", "H", "b2", "_z", "inf", "if", "inputs"])
names = plain_names | st.sampled_from(["one_hot", "stack", "of", "reverse", "kept", "complex", "scalar", "imports"])
parts = st.sampled_from(["W", "0", "12", "c_msg", "T", "H"])


@st.composite
def paths(draw: st.DrawFn) -> str:
    path = ".".join([draw(names), *draw(st.lists(parts, max_size=2))])
    return path + ".z" if path.endswith((".T", ".H")) else path


numbers = (
    st.integers(0, 10**20)
    | st.floats(0, allow_nan=False, allow_infinity=False)
    | st.floats(0, 1e300, allow_nan=False).map(lambda imaginary: complex(0.0, imaginary))
).map(Number)


def refs(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Ref]:
    return st.builds(Ref, paths(), st.none() | st.lists(inner, min_size=1, max_size=2).map(tuple))


def arguments(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[tuple[Argument, ...]]:
    return st.lists(st.builds(Argument, inner, st.none() | names), max_size=3).map(tuple)


def calls(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Call]:
    return st.builds(Call, names, arguments(inner), st.lists(names, max_size=2).map(tuple))


def _grow(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    binary = st.builds(Binary, st.sampled_from(OPERATORS + COMPARISONS), inner, inner)
    transpose = st.builds(Transpose, inner, st.sampled_from("TH"))
    return refs(inner) | calls(inner) | binary | binary | st.builds(Negative, inner) | transpose


expressions = st.recursive(numbers | st.builds(Ref, paths()), _grow, max_leaves=12)
sizes = st.recursive(
    st.integers(0, 9).map(Number) | st.builds(Ref, plain_names),
    lambda inner: st.builds(Binary, st.sampled_from(OPERATORS), inner, inner),
    max_leaves=4,
)
targets = refs(sizes)
many_targets = st.lists(targets, min_size=1, max_size=9).map(tuple)
types = st.builds(
    Type, st.lists(sizes, max_size=3).map(tuple), st.sampled_from([None, "complex", "one_hot"])
)  # no sizes: scalar
comment = st.sampled_from(["", "why", "# ruled", "∂L/∂h from outside: `h = 0`, \\", "cell A(D):"])
notes = st.builds(Notes, st.lists(comment.filter(bool), max_size=2).map(tuple), comment)


@st.composite
def declarations(draw: st.DrawFn) -> Declaration:
    kind = draw(st.sampled_from(["input", "state", "param", "const", "noise"]))
    drawn = draw(calls(expressions)) if kind == "noise" or draw(st.booleans()) else None
    value = draw(st.none() | expressions) if drawn is None else None
    kept = drawn is not None and kind != "noise" and draw(st.booleans())
    return Declaration(
        kind, draw(many_targets), draw(st.none() | types), value, drawn, kept, notes=draw(notes)
    )  # fmt: skip


use_arguments = st.lists(st.builds(Argument, expressions, names), max_size=3).map(tuple)
statements = (
    declarations()
    | st.builds(TimeAxis, names, expressions, notes=notes)
    | st.builds(Use, names, plain_names, use_arguments, st.booleans(), st.none() | sizes, notes=notes)
    | st.builds(Output, many_targets, notes=notes)
    | st.builds(Loss, names, expressions, notes=notes)
    | st.builds(Equation, targets, expressions, st.booleans(), notes=notes)
    | st.builds(Draw, targets, calls(expressions), notes=notes)
)
cells = st.builds(
    Cell,
    names,
    st.lists(st.builds(Parameter, names, st.none() | sizes), max_size=3).map(tuple),
    st.lists(statements, max_size=4).map(tuple),
    notes=notes,
    tail=st.lists(comment.filter(bool), max_size=2).map(tuple),
)
macros = st.builds(Macro, names, st.lists(names, min_size=1, max_size=3).map(tuple), expressions, notes=notes)
imports = st.builds(Import, plain_names, st.lists(names, min_size=1, max_size=3).map(tuple), notes=notes)
files = st.builds(
    File,
    st.lists(cells | macros | imports, max_size=3).map(tuple),
    st.just(Source("")),
    st.lists(comment.filter(bool), max_size=2).map(tuple),
)

"""The catalogue's pages on meaning: names, shapes, copies, and beside it on time. Importing it registers them all."""

from __future__ import annotations

from importlib import import_module

import dsl.text.explanations  # noqa: F401  the pages on syntax
from dsl.system import explanations_of_time
from dsl.text import diagnostics
from dsl.text.diagnostics import register

PAGES: dict[str, tuple[str, str]] = {
    **explanations_of_time.PAGES,  # axes, indices, order
    "E201": (
        "a name that nothing defines",
        """
Every name is an input, a param, a const, an equation, a copy (`use`), a time axis or an argument of
the cell's header. Sizes come from the header: in `cell A(D, H):` both D and H are known, other
letters are not.

  cell A(D, H):
    input x[t]: D
    h[t] = tanh(V@x[t])      # V is unknown: add `param V: (H, D) ~ glorot`
""",
    ),
    "E202": (
        "a function, distribution or initialiser that does not exist",
        """
Functions are those that `tgseq explain NAME` knows (tanh, sigmoid, softmax, concat ...) and your
own macros:

  def gate(z) = 1/(1 + exp(-z))

Distributions: categorical(logits = ...). Initialisers: glorot, orthogonal, identity, normal,
uniform, ...
""",
    ),
    "E203": (
        "a file to import that is not there",
        """
`from lstm import LSTM` looks for lstm.cell beside the file, then in the library. An imported file
must itself be free of mistakes.
""",
    ),
    "E204": (
        "imports in a circle",
        """
a.cell imports b.cell and b.cell imports a.cell. Move what both need to a third file.
""",
    ),
    "E205": (
        "a name that the imported file does not define",
        """
Cells and macros can be imported, nothing else. `tgseq cells` lists the library's cells and their
files.
""",
    ),
    "E206": (
        "two cells or macros of one name in a file",
        """
A later one would hide the earlier. Rename one of them.
""",
    ),
    "E207": (
        "a name that means two things",
        """
A name has one declaration: one type, one boundary, one initialiser. It is not an argument of the header
or a time axis besides, and not one of the constants `pi`, `inf` and `none`. Keep the one you mean, and
give the other a name of its own.
""",
    ),
    "E208": (
        "a stream defined twice",
        """
Equations define, they do not update: there is one equation a stream, and their order does not
matter.

  y[t] = a[t]
  y[t] = y[t] + b[t]      # wrong
  y[t] = a[t] + b[t]      # right
""",
    ),
    "E209": (
        "an equation for something that is given",
        """
Inputs, params and consts come from outside; a state or an ordinary stream has an equation. Drop the
declaration or the equation.
""",
    ),
    "E210": (
        "a state without an equation",
        """
`state c[t]: H = 0` announces a stream that is read at another time; some equation must define it:

  c[t] = f[t]*c[t-1] + i[t]*g[t]

A cell without a single line has nothing to compute.
""",
    ),
    "E211": (
        "time on something constant",
        """
Params, consts and values without index are the same at every step.

  W[t]@x[t]      # wrong
  W@x[t]         # right
""",
    ),
    "E212": (
        "a function or a cell where a value belongs",
        """
A function is called, `tanh(x[t])`. A cell is copied, then its streams are read:

  use rnn = LSTM(x=x, H=H)
  y[t] = U@rnn[t]
""",
    ),
    "E214": (
        "time written into the name",
        """
h_t is a name like any other; time is an index.

  h_t      # wrong
  h[t]     # right
""",
    ),
    "E215": (
        "a macro that reads something else than its arguments",
        """
`def` is pure: nothing fresh, no parameters of its own, no hidden state. Pass what it needs, or
write a cell and `use` it.
""",
    ),
    "E216": (
        "logprob of something that is not drawn",
        """
`logprob(y[t])` is the log-density of the distribution in `y[t] ~ ...`, at the same step:

  y[t] ~ categorical(logits = U@h[t])
  loss nll = -mean[t](logprob(y[t]))
""",
    ),
    "E301": (
        "sizes that do not fit in a product",
        """
`W@x[t]` needs as many columns of W as x has units. An undeclared param gets its shape from its
first use, so one wrong use elsewhere may have fixed it: the message shows where each shape comes
from.
""",
    ),
    "E302": (
        "sizes that do not fit elementwise",
        """
Only scalars broadcast. A vector and a matrix, or vectors of different sizes, never do: NumPy's
silent broadcasting would compute another cell. `V*x[t]` multiplies number by number, a product of
matrix and vector is `V@x[t]`; `part(v, start, size)` stays within v.
""",
    ),
    "E303": (
        "a vector left of a matrix",
        """
Vectors are columns here: a matrix stands left.

  x[t]@W       # wrong
  W@x[t]       # or
  W.T@x[t]
""",
    ),
    "E304": (
        "a product with two readings",
        """
`@` binds tighter than `*`, so `r[t] * U@h[t-1]` is r*(U@h): the reset gate acts after the product.
NumPy reads it the other way, (r*U)@h. Both are known cells, so say which:

  r[t]*(U@h[t-1])      # reset after the product (cuDNN, PyTorch)
  U@(r[t]*h[t-1])      # reset before it (Cho et al. 2014, v3)
""",
    ),
    "E305": (
        "a shape that nothing fixes",
        """
Shapes are inferred from use: left of `@` a name is a matrix, beside a vector it has that vector's
shape. Where use leaves it open, declare it:

  param q: H = 0
  param V: (H, D) ~ glorot
""",
    ),
    "E306": (
        "an equation that gives another shape than declared",
        """
The right-hand side has a shape of its own, and the declaration says another. A vector all of one
value is `zeros(H) + s[t]`.
""",
    ),
    "E307": (
        "complex numbers in a real stream",
        """
A stream is real unless it is declared complex, or has no declaration and a complex equation.

  state h[t]: complex N = 0
  y[t] = re(h[t])                 # or im, abs, angle

What needs an order of numbers (maximum, relu, floor, softmax, a comparison with `<`) is not defined for
complex ones.
""",
    ),
    "E308": (
        "a function called with the wrong arguments",
        """
The message shows what the function takes. Reductions run over the features, or over one time axis
in brackets: `sum[s](...)`.
""",
    ),
    "E309": (
        "a boundary or an initialiser that is no value",
        """
A boundary is a number, a param, an input without index, or `last(...)` of another stream; `none` is
for one_hot streams. An initialiser takes numbers, which may be made of sizes:

  param W ~ normal(0, 1/sqrt(H))
  param V ~ uniform(-1/sqrt(D), 1/sqrt(D))
""",
    ),
    "E310": (
        "kept where there is nothing to keep",
        """
`kept` holds a parameter on the set that its initialiser draws from: after each step the optimizer
puts it back there.

  param W ~ orthogonal, kept      # W.T@W = I, through all of training
  param U ~ unitary, kept         # the same for complex numbers
  param g: H ~ norm, kept         # a vector, or each row of a matrix, of length 1

Other initialisers draw from no such set.
""",
    ),
    "E601": (
        "an argument that the cell does not have",
        """
A `use` may give sizes, inputs, boundaries of states, params and cells, all by the names in the
cell. The message lists them.
""",
    ),
    "E602": (
        "a cell that is not there",
        """
A cell is defined in the file, imported, an argument of the header, or in the library. `tgseq cells`
lists the library.
""",
    ),
    "E603": (
        "something that contains itself",
        """
A copy is inlined, so a cell cannot `use` itself, and a macro cannot call itself. Depth is written
`stack L of Cell(...)`.
""",
    ),
    "E604": (
        "an argument that should be a cell",
        """
`Cell=GRU` passes a cell by its name. The header's default shows the kind: `cell CharRNN(K, H,
Cell=LSTM):`.
""",
    ),
    "E605": (
        "a stack of unknown height",
        """
The copies of `stack L of ...` are written out, so L must be known. Give it in the header (`L=2`) or
when loading: `dsl.load("CharRNN", L=3)`.
""",
    ),
    "E606": (
        "two things of one name",
        """
A copy needs a name of its own. Rename it.
""",
    ),
    "E607": (
        "an argument of the wrong kind",
        """
Sizes are integer expressions, inputs and params are names of streams of this cell, and `build(H=...)`
takes numbers where the header means numbers. Define a stream
first: `z[t] = ...`, then `use a = Cell(x=z)`.
""",
    ),
    "E608": (
        "an input that is not given",
        """
Every input of a copied cell without a boundary must be given. `use rnn = LSTM(x=x, H=H)`
""",
    ),
    "E701": (
        "not compiled yet",
        """
This is in the language but no engine runs it yet; nothing is computed rather than something wrong.
The message names the part.
""",
    ),
    "E705": (
        "a read whose adjoint is not compiled yet",
        """
The cotangents of this index cannot be collected by one index of the language. Read it in two steps,
through a stream between.
""",
    ),
    "W901": (
        "a state that nobody reads at another step",
        """
`state` is for streams read at another time. An ordinary stream needs no declaration.
""",
    ),
    "W903": (
        "an equation that does not vary",
        """
Nothing on the right depends on the step, so every step computes the same value again.

  s[t] = exp(b)      # the same at every t
  s = exp(b)         # computed once
""",
    ),
    "W902": (
        "a parameter that is never used",
        """
It would be drawn, saved and never trained. Drop it.
""",
    ),
}

for _code, (_title, _text) in PAGES.items():
    register(_code, _title, _text)


def explain(code: str) -> str:
    """The page on a code of any part of the language; ValueError for one that does not exist."""
    for module in ("dsl.run.carry", "dsl.run.generate", "dsl.export.lacking"):  # they register codes of their own
        import_module(module)
    return diagnostics.explain(code)

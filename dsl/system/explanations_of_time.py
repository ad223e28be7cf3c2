"""The catalogue's pages on time: axes, indices, boundaries, and the order of steps."""

from __future__ import annotations

PAGES: dict[str, tuple[str, str]] = {
    "E401": (
        "an unknown time axis",
        """
Axes are named by the inputs and states (`input x[t]`), slower ones are declared:

  time u: len(t)//2
  z[u] = concat(x[2*u], x[2*u+1])
""",
    ),
    "E402": (
        "a stream read without a step",
        """
h has a value at every step; say which: `h[t]`, `h[t-1]`, `last(h)`, `mean[t](h[t])`. In a
recurrence it is most often `h[t-1]`.
""",
    ),
    "E403": (
        "an axis that is free on the right",
        """
Every axis on the right stands on the left too, or is bound by a reduction:

  c[t] = a[t,s]*enc[s]            # wrong: which s?
  c[t] = sum[s](a[t,s]*enc[s])    # right
""",
    ),
    "E404": (
        "a step of another axis",
        """
A stream on s has steps s; t counts something else. Inside `sum[s](...)` or an equation on [t,s]
both exist.
""",
    ),
    "E405": (
        "an equation for some steps only",
        """
The left side names a plain step: `h[t] = ...` holds for every t. The value before the first step is
the boundary: `state h[t]: H = 0`.
""",
    ),
    "E406": (
        "a time axis declared twice",
        """
Axes of inputs exist already. Give the derived axis another name.
""",
    ),
    "E407": (
        "an axis that stands twice",
        """
`c[t,t]` would be a diagonal. Give the second axis a name of its own.
""",
    ),
    "E408": (
        "a negative constant index",
        """
`h[-1]` is the value before step 0 (the boundary), not the last one as in Python. The last one is
`last(h)`.
""",
    ),
    "E409": (
        "an index at the length",
        """
Steps run from 0 to len(t)-1. The last value is `last(h)` or `h[len(t)-1]`.
""",
    ),
    "E410": (
        "an offset that varies",
        """
`h[t-k]` needs a k that is the same at every step: an integer argument of the cell, `cell Skip(D, H,
k=4):`. Reading at a computed step is attention: a softmax over the axis.
""",
    ),
    "E411": (
        "an index the language does not have",
        """
Indices are `a*t+c`, `(t+c)//k`, `len(t)-1-t`, `len(t)-c` or a constant, on one axis. Integer arguments
may stand for the numbers. An offset may stay open (`h[t-k]`); a stride or a divisor is part of the
equations, so its argument needs a default, or a value when the cell is asked for:

  cell Strided(D, k=2):
    input x[t]: D
    time u: len(t)//k
    z[u] = x[k*u]

`dsl.load("my.cell")(k=3)` and `build(k=3)` make it with another.
""",
    ),
    "E412": (
        "a read before the first step",
        """
At t = 0, `z[t-1]` has no value unless a boundary is declared:

  state z[t]: H = 0

The boundary holds outside on both sides; it may be a param (a learned start).
""",
    ),
    "E413": (
        "an input read outside its steps",
        """
There is no padding in the language. Declare what stands there: `input x[t]: D = 0`.
""",
    ),
    "E414": (
        "a read past the last step",
        """
An index must lie inside for every length, or the stream needs a boundary. `y[2*u+1]` with `time u:
len(t)//2` is inside; `y[2*u+2]` is not when len(t) is even.
""",
    ),
    "E415": (
        "a boundary that varies with time",
        """
The value outside the steps is one value: a number, a param, an input without index, `last(...)`.
Inside the steps an equation says everything.
""",
    ),
    "E416": (
        "a different number of axes",
        """
A stream has the axes of its declaration, in that order, wherever it is read or defined. The message
shows them.
""",
    ),
    "E417": (
        "`last` of something else than one-axis stream",
        """
`last(h)` takes the name of a stream with one axis; with two, name the axis:

  last[t](e[t,s])
""",
    ),
    "E418": (
        "a total of something shared",
        """
`total` adds up over the sequences of a batch; a value that is the same for all has nothing to add
up. Drop `total`; where only a term of it is such a value, add that in an equation of its own:

  wrong   total q = sum[t](outer(z[t], x[t])) + W
  right   total q = sum[t](outer(z[t], x[t]))
          r = q + W
""",
    ),
    "E419": (
        "a length that is no integer expression",
        """
The length of a derived axis is made of other lengths and integers: `time u: len(t)//2`, `time v:
2*len(u)+1`. It cannot be made of its own.
""",
    ),
    "E501": (
        "a value that needs itself",
        """
At a step, a stream cannot depend on its own value of the same step. Read an earlier one: `h[t-1]`.
""",
    ),
    "E502": (
        "a cycle within one step",
        """
Streams that need each other at the same step have no order of computation. Read one of them at an
earlier step.
""",
    ),
    "E503": (
        "the whole axis inside its own recurrence",
        """
`last(h)`, `sum[t](h[t])`, `h[2*t]`, `h[t//2]` and `h[len(t)-1-t]` look along the whole axis, and h
is still being computed on it. Put the reader on a slower axis, or outside the recurrence.
""",
    ),
    "E504": (
        "own past and own future",
        """
A stream that reads both its own past and its own future has no order of steps. Use two states, one
for each direction, and join them: a bidirectional cell.
""",
    ),
}

"""The catalogue's pages on syntax, E1xx: what each message means, with an example that is wrong and one that is right.

Importing this module registers them; the later stages of the language register their own codes likewise.
"""

from __future__ import annotations

from dsl.text.diagnostics import register

register(
    "E100",
    "the line does not fit the grammar",
    """
A statement has one of these forms, one a line:

  input x[t]: D                 state h[t]: H = 0            param W ~ glorot
  const P = permutation(N)      noise m: D ~ dropout(0.1)    time u: len(t)//2
  use rnn = stack 2 of LSTM(x=x, H=H)
  h[t] = tanh(V@x[t])           y[t] ~ categorical(logits = z[t])
  output h, y                   loss nll = -mean[t](logprob(y[t]))

The message names what could have stood at the marked place.
""",
)
register(
    "E101",
    "a character that is not in the language",
    """
The language is written in ASCII. Signs pasted from a paper have an ASCII spelling:

  wrong   f[t] ⊙ c[t]     W·x[t]     a − b
  right   f[t] * c[t]     W@x[t]     a - b

Elementwise product is `*`, matrix product `@`, power `**`, transpose `.T`. Comments may hold any character.
""",
)
register(
    "E102",
    "power is `**`",
    """
  wrong   x[t]^2     x[t]²
  right   x[t]**2

`**` associates to the right and binds tighter than a minus before it: `-x**2` is `-(x**2)`.
""",
)
register(
    "E103",
    "multiplication is never implicit",
    """
  wrong   2 x[t]     2x[t]     (1 - z[t]) h[t-1]
  right   2*x[t]     2*x[t]    (1 - z[t])*h[t-1]

`*` multiplies elementwise, `@` is the matrix product. A name before a parenthesis is a function call.
""",
)
register(
    "E104",
    "a closing bracket without its opening one",
    """
  wrong   h[t] = tanh(V@x[t]))
  right   h[t] = tanh(V@x[t])

Parentheses and square brackets pair within one statement.
""",
)
register(
    "E105",
    "a bracket is never closed",
    """
  wrong   h[t] = tanh(V@x[t] + W@h[t-1]
  right   h[t] = tanh(V@x[t] + W@h[t-1])

Inside an open bracket a statement goes on in the next line, so the missing one is noticed where the next statement
begins, or at the end of the file. The marked bracket is the innermost that was open.
""",
)
register(
    "E106",
    "a bracket is closed by one of the other kind",
    """
  wrong   h[t] = tanh(V@x[t)]
  right   h[t] = tanh(V@x[t])

`[ ]` holds indices, axes and steps; `( )` holds arguments and groups.
""",
)
register(
    "E107",
    "the header of a cell or a def",
    """
A cell begins with its name, its arguments in parentheses and a colon; its statements follow on lines of their own:

  cell Skip(D, H, k=4):
    input x[t]: D

A def is a single expression: `def gate(z) = 1/(1 + exp(-z))`.
""",
)
register(
    "E108",
    "equations define, they do not update",
    """
There are no variables to change; every stream has one equation, and its own past is read with an index:

  wrong   y[t] += x[t]
  right   y[t] = y[t-1] + x[t]          (with `state y[t]: D = 0`)
""",
)
register(
    "E109",
    "one group a declaration",
    """
A declaration gives one type and one value to all its names. Another type or value needs another line:

  wrong   state h[t]: H = 0, c[t]
  right   state h[t], c[t]: H = 0

Behind a distribution a comma may introduce `kept`: `param W ~ orthogonal, kept`.
""",
)
register(
    "E110",
    "comparisons do not chain",
    """
  wrong   where(0 < t < 5, a[t], b[t])
  right   where((0 < t)*(t < 5), a[t], b[t])
""",
)
register(
    "E111",
    "a statement outside every cell",
    """
Statements belong to the cell whose header stands above them; a `def` or `from` line ends a cell. Begin one:

  cell Elman(D, H):
    input x[t]: D
""",
)
register(
    "E112",
    "a line that begins like no statement",
    """
A line begins with cell, def, from, input, state, param, const, noise, time, use, output, loss or total, or it defines
one name: `h[t] = ...` or, drawn, `y[t] ~ ...`.

  wrong   inptu x[t]: D        x[t]: D              a[t], b[t] = f(x[t])
  right   input x[t]: D        input x[t]: D        one equation for a, one for b
""",
)
register(
    "E113",
    "a word of the language as a name",
    """
cell, def, from, input, state, param, const, noise, time, use, output, loss and total begin statements and cannot be
names. The words that stand in one place only (reverse, stack, of, kept, complex, one_hot, scalar, import) can.
""",
)
register(
    "E114",
    "an expression is missing",
    """
An operator, a comma, a bracket or `=` lacks what should follow it:

  wrong   h[t] = V@x[t] +          f(a, )          x[t] = * 2
  right   h[t] = V@x[t] + b        f(a)            x[t] = 2*x[t-1]

To go on in the next line, end the line in `\\` or keep a bracket open.
""",
)
register(
    "E115",
    "nested too deep",
    """
Brackets nest at most 100 deep, and an expression is at most 256 operations deep (a sum or a product is one operation
deep, however many terms it has). Equations cost nothing at run time:
give a part of the expression a name of its own.

  a[t] = ...
  h[t] = tanh(a[t])
""",
)
register(
    "E116",
    "a number too large",
    """
Numbers with a point or an exponent are double precision, below 1.8e308; integers have at most 300 digits. Infinity is
the constant `inf`.
""",
)
register(
    "E117",
    "`=` defines, `==` compares",
    """
  wrong   where(t = 0, a[t], b[t])       h[t] == tanh(x[t])       a[t] = b[t] = 0
  right   where(t == 0, a[t], b[t])      h[t] = tanh(x[t])        one line for a, one for b

Within a call, `name = value` is an argument given by name.
""",
)
register(
    "E118",
    "something follows a continuation",
    """
A `\\` continues a statement only as the last character of its line; not even a comment may follow it. Inside open
brackets no `\\` is needed.
""",
)
register(
    "E119",
    "the brackets of a function name its axis",
    """
  wrong   sum[t-1](h[t])       softmax[0](e[t,s])
  right   sum[t](h[t-1])       softmax[s](e[t,s])

The axis is bound by the reduction: inside it, `t` runs over all its steps. Without brackets a reduction runs over the
features.
""",
)
register(
    "E120",
    "where a transpose stands",
    """
A trailing `.T` is a transpose, `.H` a conjugate transpose. They follow the index, and are no part of a name:

  wrong   h.T[t]       W.T = V
  right   h[t].T       U = V.T
""",
)
register(
    "E121",
    "how a cell is used",
    """
`use name = Cell(...)` makes a fresh copy of a cell; `reverse` and `stack n of`, in this order, may stand before the
cell's name. All its arguments are named:

  wrong   use rnn = LSTM(x, 128)
  right   use rnn = LSTM(x=x, H=128)

An argument names one of the cell's sizes, inputs, states (it sets their boundary), parameters (it shares them) or
cells.
""",
)
register(
    "E122",
    "not UTF-8 text",
    """
Cell files are UTF-8; plain ASCII is UTF-8 too. Save the file in that encoding. A file that is not text at all (an
archive, a checkpoint) cannot be read as one.
""",
)
register(
    "E123",
    "names are ASCII",
    """
Names are letters a-z and A-Z, digits and `_`, not beginning with a digit; LaTeX shows `alpha` as a Greek letter.

  wrong   α[t] = σ(z[t])         h₁[t]
  right   alpha[t] = sigmoid(z[t])    h1[t]
""",
)
register(
    "E124",
    "a word of another language",
    """
A cell has no control flow: each equation holds at every step of its axis.

  if c: a else: b     where(c, a, b)
  for t in ...        an equation with `[t]`
  a and b             a*b                 (of conditions)
  a or b              maximum(a, b)
  not a               1 - a
""",
)
register(
    "E125",
    "there are no slices",
    """
An index is one step: `h[t-1]`. A part of a feature vector is `part(v, start, size)`; several earlier steps are several
reads, or a `sum[s]` over an axis of their own.
""",
)
register(
    "E126",
    "a name that has no index",
    """
A loss is one number per sequence, so it has no index: reduce on the right.

  wrong   loss nll[t] = -logprob(y[t])
  right   loss nll = -mean[t](logprob(y[t]))

Axes and copies of cells have none either: `time u: len(t)//2`, `use rnn = LSTM(x=x)`.
""",
)
register(
    "E127",
    "brackets where none can be",
    """
Only a name takes an index, all its axes in one pair of brackets; a function's name has no dots.

  wrong   (a[t] + b[t])[t-1]       a[t][s]       rnn.f(x[t])
  right   z[t-1], z[t] = a[t] + b[t]       a[t,s]       rnn.h[t]
""",
)
register(
    "E128",
    "the type in a declaration",
    """
A declaration is a word, names, `:` and a type, then `=` and a value or `~` and a distribution:

  wrong   state h[t] = 0: H        param W (H, D)        param W: [H, D]
  right   state h[t]: H = 0        param W: (H, D)       param W: (H, D)

A type is `scalar`, one size, or several sizes in parentheses; before it may stand `complex` or `one_hot`.
""",
)
register(
    "E129",
    "`output` lists names",
    """
  wrong   output h y        output 2*h[t]
  right   output h, y       z[t] = 2*h[t]
                            output z
""",
)

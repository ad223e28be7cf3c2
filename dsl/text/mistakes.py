"""What a line that does not fit the grammar was probably meant to be.

The parser says only where it stopped and what it could have gone on with. `diagnose` recognises the mistakes people
make on the way from a paper, from Python or from other frameworks, and names the fix; the rest get "expected ...".
"""

from __future__ import annotations

from collections.abc import Sequence

from lark import Token

from dsl.text.diagnostics import Diagnostic, Label, suggest
from dsl.text.layout import RESERVED, span
from dsl.text.tree import Source, Span

STATEMENT_WORDS = (
    "cell", "def", "from", "input", "state", "param", "const", "noise", "time", "use", "output", "loss", "total",
)  # fmt: skip
DECLARING = ("INPUT", "STATE", "PARAM", "CONST", "NOISE")
OPERATORS = ("PLUS", "MINUS", "STAR", "SLASH", "DOUBLE_SLASH", "PERCENT", "AT", "POWER", "COMPARE")
BEGINS_OPERAND = ("NAME", "PATH", "NUMBER", "LPAR")
ENDS_OPERAND = ("NAME", "PATH", "NUMBER", "RPAR", "RSQB", "TRANSPOSE")
FOREIGN = {
    "if": "there is no `if`: write `where(condition, a, b)`",
    "else": "there is no `else`: write `where(condition, a, b)`",
    "for": "there is no `for`: an equation holds at every step of its axis",
    "while": "there is no `while`: an equation holds at every step of its axis",
    "and": "there is no `and`: multiply the conditions",
    "or": "there is no `or`: take the `maximum` of the conditions",
    "not": "there is no `not`: write `1 - condition`",
    "lambda": "there is no `lambda`: write `def name(x) = ...` outside the cells",
    "return": "there is no `return`: write `output h`",
    "import": "imports read `from lstm import LSTM`",
    "class": "a cell begins with `cell Name(D, H):`",
    "let": "an equation needs no word: `h[t] = ...`",
}
MODULES = ("np", "numpy", "jnp", "jax", "torch", "nn", "F", "tf", "keras", "math", "scipy", "tg", "K", "self")
FORMS = {  # each statement as it is usually written
    "DEF": "def gate(z) = 1/(1 + exp(-z))",
    "FROM": "from lstm import LSTM, Peephole",
    "CELL": "cell Skip(D, H, k=4):",
    "INPUT": "input x[t]: D",
    "STATE": "state h[t], c[t]: H = 0",
    "PARAM": "param W: (H, D) ~ glorot",
    "CONST": "const P = permutation(N)",
    "NOISE": "noise m[t]: H ~ dropout(0.1)",
    "TIME": "time u: len(t)//2",
    "USE": "use rnn = stack 2 of LSTM(x=x, H=H)",
    "OUTPUT": "output h, rnn.c",
    "LOSS": "loss nll = -mean[t](logprob(y[t]))",
    "TOTAL": "total W_bar = sum[t](outer(z_bar[t], h[t-1]))",
}
SHOWN = {
    "NAME": "a name", "PATH": "a dotted name", "NUMBER": "a number", "COMPARE": "a comparison", "_EQUAL": "`=`",
    "_TILDE": "`~`", "_COMMA": "`,`", "COLON": "`:`", "LPAR": "`(`", "RPAR": "`)`", "LSQB": "`[`", "RSQB": "`]`",
    "TRANSPOSE": "`.T`", "$END": "the end of the line", "_OF": "`of`",
}  # fmt: skip


def diagnose(tokens: Sequence[Token], at: int, expected: frozenset[str], source: Source) -> Diagnostic:
    """The diagnostic for a line whose token at `at` (or its end, when at == len(tokens)) does not fit.

    `expected` holds the names of the terminals that would have fitted there.
    """
    line = _Stop(tokens, at, expected, source)
    for recognise in (
        _header, _update, _foreign, _groups, _typed, _listing, _word, _reserved, _equals, _bracket, _product, _operand,
    ):  # fmt: skip
        if found := recognise(line):
            return found
    return _generic(line)


class _Stop:
    """Where the parser stopped in a line."""

    def __init__(self, tokens: Sequence[Token], at: int, expected: frozenset[str], source: Source) -> None:
        self.tokens, self.at, self.expected, self.source = tokens, at, expected, source
        self.first = tokens[0].type if tokens else ""
        self.here = tokens[at].type if at < len(tokens) else "$END"
        self.before = tokens[at - 1].type if at else ""
        self.depth = sum((t.type in ("LPAR", "LSQB")) - (t.type in ("RPAR", "RSQB")) for t in tokens[:at])

        self.defined = self.find(("_EQUAL", "_TILDE"), at) is not None

    @property
    def place(self) -> Span:
        """The offending token, or the end of the line."""
        if self.at < len(self.tokens):
            return span(self.tokens[self.at])
        end = span(self.tokens[-1]).end if self.tokens else 0
        return Span(end, end + 1)

    def type(self, i: int) -> str:
        return self.tokens[i].type if 0 <= i < len(self.tokens) else "$END"

    def text(self, first: int, last: int) -> str:
        """The source from one token to another, both included."""
        if first > last or not 0 <= first < len(self.tokens):
            return ""
        last = min(last, len(self.tokens) - 1)
        return self.source.text[span(self.tokens[first]).start : span(self.tokens[last]).end]

    def operand_from(self, i: int) -> int:
        """The last token of the operand that begins at i: a name with its brackets, a group, or a number."""
        j = i + 1 if self.type(i) in ("NAME", "PATH") else i
        while self.type(j) in ("LPAR", "LSQB"):
            depth = 0
            while j < len(self.tokens):
                depth += (self.type(j) in ("LPAR", "LSQB")) - (self.type(j) in ("RPAR", "RSQB"))
                j += 1
                if depth == 0:
                    break
        return max(i, j - 1)

    def operand_to(self, i: int) -> int:
        """The first token of the operand that ends at i."""
        depth = 0
        while i >= 0:
            depth += (self.type(i) in ("RPAR", "RSQB")) - (self.type(i) in ("LPAR", "LSQB"))
            if depth <= 0 and self.type(i) != "TRANSPOSE":
                named = self.type(i) in ("LPAR", "LSQB") and self.type(i - 1) in ("NAME", "PATH", "RSQB")
                if not named:
                    return i
            i -= 1
        return 0

    def find(self, kinds: Sequence[str], stop: int | None = None) -> int | None:
        """The first token of one of the kinds outside brackets, before `stop`."""
        depth = 0
        for i, token in enumerate(self.tokens[:stop]):
            depth += (token.type in ("LPAR", "LSQB")) - (token.type in ("RPAR", "RSQB"))
            if depth == 0 and token.type in kinds:
                return i
        return None


def _header(line: _Stop) -> Diagnostic | None:
    """`cell A(D)` without colon, `cell A:`, `def f(x):`."""
    if line.first == "CELL":
        if line.expected == {"COLON"}:
            return Diagnostic("E107", "expected `:` after the header", line.place, help=f"{line.text(0, line.at - 1)}:")
        if line.before == "COLON":
            help = "statements go on lines of their own below the header"
            return Diagnostic("E107", "the header ends at its `:`", line.place, help=help)
        if line.expected == {"LPAR"}:
            help = f"cell {line.text(1, 1)}(D, H):"
            return Diagnostic("E107", "a header lists its arguments in parentheses", line.place, help=help)
    if line.first == "DEF" and line.here == "COLON" and line.at == len(line.tokens) - 1:
        help = f"cell {line.text(1, line.at)}"
        return Diagnostic(
            "E107", "a cell begins with `cell`, a `def` is one expression", span(line.tokens[0]), help=help
        )
    if line.first == "DEF" and line.here == "COLON":
        return Diagnostic("E107", "a `def` is one expression: `def gate(z) = ...`", line.place)
    if line.first == "DEF" and line.here == "RPAR" and line.before == "LPAR":
        return Diagnostic("E107", "a `def` needs an argument; a cell or a `const` needs none", line.place)
    return None


def _update(line: _Stop) -> Diagnostic | None:
    """`y[t] += x[t]`."""
    operators = ("PLUS", "MINUS", "STAR", "SLASH", "DOUBLE_SLASH", "PERCENT", "AT", "POWER")
    if (
        line.depth
        or line.first not in ("NAME", "PATH", "TOTAL")
        or line.find(("_EQUAL", "_TILDE"), line.at) is not None
    ):
        return None
    if line.here in operators and line.type(line.at + 1) == "_EQUAL":
        place = span(line.tokens[line.at], line.tokens[line.at + 1])
        start = 1 if line.first == "TOTAL" else 0
        target, value = line.text(start, line.at - 1), line.text(line.at + 2, len(line.tokens))
        bare = [t for t in line.tokens[start + 2 : line.at - 1] if t.type == "NAME"]
        earlier = f"{line.text(start, start)}[{bare[0]}-1]" if line.at - start == 4 and bare else ""
        operator = line.text(line.at, line.at)
        space = " " if operator in "+-" else ""
        fix = (
            f"`{target} = {earlier}{space}{operator}{space}{value}`?" if earlier and value else "one `=` for each name"
        )
        return Diagnostic("E108", f"equations define, not update: {fix}", place)
    if line.here in operators or line.here in ("NUMBER", "LPAR"):
        if line.here == "LPAR" or line.find(("_EQUAL",)) is None:
            return None
        message = "an equation defines one name, alone to the left of `=`"
        return Diagnostic("E112", message, line.place, help="as in `h[t] = ...`")
    return None


def _foreign(line: _Stop) -> Diagnostic | None:
    """Words of Python that are none here."""
    for i in (line.at, line.at - 1, 0):
        if line.type(i) in ("NAME", "IMPORT") and i < len(line.tokens) and str(line.tokens[i]) in FOREIGN:
            word = str(line.tokens[i])
            if i == 0 and (line.at != 1 or line.here in ("_EQUAL", "_TILDE", "LSQB")):
                continue
            if i == line.at and line.before not in ENDS_OPERAND and line.at:
                continue
            return Diagnostic("E124", FOREIGN[word], span(line.tokens[i]))
    return None


def _groups(line: _Stop) -> Diagnostic | None:
    """`state h[t]: H = 0, c[t]`: one group a declaration."""
    if line.first not in DECLARING:
        return None
    comma = line.at if line.here == "_COMMA" else line.at - 1
    given = line.find(("COLON", "_EQUAL", "_TILDE"))
    if line.type(comma) != "_COMMA" or given is None or comma < given or line.depth:
        return None
    if (
        line.type(comma + 1) == "NAME"
        and suggest(str(line.tokens[comma + 1]), ("kept",))
        and comma + 2 >= len(line.tokens)
    ):
        return Diagnostic("E109", "did you mean `kept`?", span(line.tokens[comma + 1]))
    if line.here == "KEPT" or line.type(comma + 1) == "KEPT":
        message = "only what is drawn (`~`) can be kept: `param W ~ orthogonal, kept`"
        return Diagnostic("E109", message, line.place)
    word, first, rest = line.text(0, 0), line.text(1, given - 1), line.text(given, comma - 1)
    if (sizes := _sizes_of_a_matrix(line, given, comma)) is not None:
        fix = f"{word} {first}: ({rest[1:].strip()}, {sizes}) {line.text(comma + 2, len(line.tokens))}".rstrip()
        message = f"the sizes of a matrix go in parentheses: `{fix}`"
        return Diagnostic("E128", message, span(line.tokens[given + 1], line.tokens[comma + 1]))
    others = [line.text(i, line.operand_from(i)) for i in _names(line, comma)]
    space = "" if rest.startswith(":") else " "
    fix = f": `{word} {', '.join([first, *others])}{space}{rest}`" if others else ""
    return Diagnostic(
        "E109", f"one group per line{fix}", span(line.tokens[comma]), help="give every group its own line"
    )


def _sizes_of_a_matrix(line: _Stop, given: int, comma: int) -> str | None:
    """The second size of `param W: H, D ~ glorot`; None where a second name may follow the comma."""
    second = line.text(comma + 1, comma + 1)
    one = line.type(given) == "COLON" and comma == given + 2 and line.type(comma + 2) in ("_EQUAL", "_TILDE", "$END")
    is_size = second.isdigit() or second in (line.text(given + 1, given + 1), "D", "H", "K", "N", "M")
    return second if one and line.first == "PARAM" and is_size else None


def _typed(line: _Stop) -> Diagnostic | None:
    """The type of a declaration in the wrong place or the wrong brackets."""
    if line.first not in DECLARING:
        return None
    given = line.find(("COLON", "_EQUAL", "_TILDE"), line.at)
    word, end = line.text(0, 0), len(line.tokens)
    if given is None and line.here in BEGINS_OPERAND and line.before in ("NAME", "PATH", "RSQB"):
        stop = line.find(("_EQUAL", "_TILDE")) or end
        value = line.text(stop, end)
        fix = f"{line.text(0, line.at - 1)}: {line.text(line.at, stop - 1)}{' ' + value if value else ''}"
        return Diagnostic("E128", f"a `:` goes before the type: `{fix}`", line.place)
    if line.here == "COLON" and line.depth == 0 and line.type(given or 0) in ("_EQUAL", "_TILDE"):
        value = line.text(given or 0, line.at - 1)
        fix = f"{line.text(0, (given or 0) - 1)}: {line.text(line.at + 1, end)} {value}"
        return Diagnostic("E128", f"the type goes before the value: `{fix}`", line.place)
    if given is None or line.type(given) != "COLON":
        return None
    if line.here == "LSQB" and line.before in ("COLON", "COMPLEX", "ONE_HOT"):
        return Diagnostic("E128", "the sizes of a matrix go in parentheses: `(H, D)`", line.place)
    if line.here in BEGINS_OPERAND and line.text(given + 1, line.at - 1) == "one-hot":
        return Diagnostic(
            "E128", "a category is written `one_hot K`", span(line.tokens[given + 1], line.tokens[line.at - 1])
        )
    if line.here in ("NAME", "NUMBER") and line.depth == 1 and line.type(given + 1) == "LPAR":
        message = (
            f"sizes are separated by commas: `({line.text(given + 2, line.at - 1)}, {line.text(line.at, line.at)})`"
        )
        return Diagnostic("E128", message, line.place, help=f"`{word}` takes sizes such as `H` or `(H, 2*D)`")
    return None


def _listing(line: _Stop) -> Diagnostic | None:
    """`output h y`, `output h + 1`, and whatever does not fit a `use`."""
    if line.first == "OUTPUT" and line.at > 1 and line.before in ("NAME", "PATH", "RSQB") and line.depth == 0:
        if line.here in ("NAME", "PATH"):
            fix = f"{line.text(0, line.at - 1)}, {line.text(line.at, len(line.tokens))}"
            return Diagnostic("E129", f"names are separated by commas: `{fix}`", line.place)
        message = "`output` lists names: define what it gives out in an equation of its own"
        return Diagnostic("E129", message, line.place, help=f"as in `{FORMS['OUTPUT']}`")
    if line.first == "USE" and line.depth == 0 and line.here not in ("LSQB", *RESERVED):
        message = "a copy of a cell is written `use name = [reverse] [stack n of] Cell(x=x, H=H)`"
        return Diagnostic("E121", message, line.place, _wanted(line), help=f"as in `{FORMS['USE']}`")
    return None


def _names(line: _Stop, comma: int) -> list[int]:
    """Where the names of a second group stand: after each comma, up to its own `:`, `=` or `~`."""
    found = []
    while line.type(comma) == "_COMMA" and line.type(comma + 1) in ("NAME", "PATH"):
        found.append(comma + 1)
        comma = line.operand_from(comma + 1) + 1
    return found


def _word(line: _Stop) -> Diagnostic | None:
    """A line that begins with no statement: a misspelt word, a lone expression, a type without its word."""
    if line.at == 0 and line.here == "DOUBLE_SLASH":
        return Diagnostic("E112", "a comment begins with `#`", line.place)
    if line.at == 0 and line.tokens and "NAME" in line.expected and "CELL" in line.expected:
        message = "a line begins with a word (`input`, `state`, `param`, ...) or defines a name: `h[t] = ...`"
        return Diagnostic("E112", message, line.place)
    if (
        line.first not in ("NAME", "PATH")
        or "CELL" in line.expected
        or line.find(("_EQUAL", "_TILDE"), line.at) is not None
    ):
        return None
    if "_EQUAL" not in line.expected or line.depth:
        return None
    name = str(line.tokens[0])
    if line.at == 1 and line.here == "LPAR":
        end = line.operand_from(0)
        inside, mark = line.text(2, end - 1), line.text(end + 1, end + 1)
        if mark in ("=", "~") and inside:
            message = f"an index goes in square brackets: `{name}[{inside}] {mark} ...`"
            return Diagnostic("E112", message, span(line.tokens[1], line.tokens[end]))
        message = "this defines nothing: a line begins with a word or with `name[t] =`"
        return Diagnostic("E112", message, span(line.tokens[0], line.tokens[end]))
    if line.text(line.at, line.at + 1) == "<-":
        message = "an equation is written with `=`"
        return Diagnostic("E117", message, span(line.tokens[line.at], line.tokens[line.at + 1]))
    if line.at == 1 and line.here in ("NAME", "PATH", "NUMBER", *RESERVED):
        close = suggest(name, STATEMENT_WORDS)
        hint = f"; did you mean `{close}`?" if close else ""
        help = "" if close else f"the words are {', '.join(STATEMENT_WORDS)}"
        return Diagnostic("E112", f"no statement begins with `{name}`{hint}", span(line.tokens[0]), help=help)
    if line.here in ("COLON", "_COMMA"):
        if line.type(line.at + 1) == "_EQUAL":
            place = span(line.tokens[line.at], line.tokens[line.at + 1])
            return Diagnostic("E117", "an equation is written with `=`", place)
        target = line.text(0, line.at - 1)
        message = f"is this an input, a state or a parameter? `input {target}: ...`"
        if line.here == "_COMMA":
            message = "an equation defines one name: one line for each"
        return Diagnostic("E112", message, line.place)
    if line.here == "COMPARE" and str(line.tokens[line.at]) == "==":
        return Diagnostic("E117", "an equation is written with one `=`; `==` compares", line.place)
    if line.here == "$END":
        target = line.text(0, line.at - 1)
        help = f"`output {target}` gives it out" if line.at == 1 else ""
        return Diagnostic("E112", f"this defines nothing: expected `=` or `~` after `{target}`", line.place, help=help)
    return None


def _reserved(line: _Stop) -> Diagnostic | None:
    """A word of the language where a name should stand."""
    i = line.at
    if i > 1 and line.here in RESERVED and line.depth == 0 and "$END" in line.expected:
        return Diagnostic("E112", "a statement begins on a line of its own", line.place)
    if i == 1 and line.first in RESERVED and line.here in ("_EQUAL", "_TILDE", "LSQB"):
        i = 0
    elif i == 0 or line.here not in RESERVED or "NAME" not in line.expected:
        return None
    word = str(line.tokens[i])
    help = f"choose another name, such as `{word}_`"
    if word == "output" and i == 0:
        help = "`output h` lists names; to call a stream so, choose another name, such as `out`"
    return Diagnostic(
        "E113", f"`{word}` is a word of the language and cannot be a name", span(line.tokens[i]), help=help
    )


def _equals(line: _Stop) -> Diagnostic | None:
    """`=` or a comparison where there cannot be another."""
    if line.here == "_EQUAL" and line.depth:
        help = f"write `{line.text(line.operand_to(line.at - 1), line.at - 1)} == ...`"
        return Diagnostic("E117", "comparison is `==`", line.place, help=help)
    if line.here == "_EQUAL" and line.defined:
        return Diagnostic("E117", "one `=` a line: each equation defines one name", line.place)
    if line.here == "COMPARE" and "PLUS" in line.expected:
        message = "comparisons do not chain: write `(a < b) * (b < c)`"
        return Diagnostic("E110", message, line.place)
    return None


def _bracket(line: _Stop) -> Diagnostic | None:
    """Brackets and colons where there can be none."""
    if line.here == "LSQB" and line.first in ("LOSS", "TIME", "USE", "CELL", "DEF") and line.at == 2:
        what = {"LOSS": "a loss is one number per sequence", "TIME": "an axis has no index"}.get(line.first)
        help = "reduce over the steps on the right: `mean[t](...)`" if line.first == "LOSS" else ""
        return Diagnostic("E126", what or "this name has no index", line.place, help=help)
    if line.here == "LSQB" and line.before in ("RPAR", "RSQB", "TRANSPOSE", "NUMBER"):
        message, help = "only a name takes an index: name the expression in an equation of its own", ""
        whole = line.text(line.operand_to(line.at - 1), line.at - 1)
        if line.before == "RSQB" and line.type(line.at + 1) == "NUMBER" and line.type(line.at + 2) == "RSQB":
            number = line.text(line.at + 1, line.at + 1)
            message = f"a component is no index: `sum(part({whole}, {number}, 1))` is the number"
            help = f"`part({whole}, {number}, 1)` is a vector of size 1"
        elif line.before == "RSQB":
            message, help = "all axes go into one pair of brackets: `a[t,s]`", "components: `part(v, start, size)`"
        return Diagnostic("E127", message, line.place, help=help)
    if line.here == "LPAR" and line.before == "PATH":
        name = line.text(line.at - 1, line.at - 1)
        head, _, tail = name.rpartition(".")
        help = f"write `{tail}`" if head.split(".")[0] in MODULES else ""
        place = span(line.tokens[line.at - 1])
        return Diagnostic("E127", f"`{name}` is no function: their names have no dots", place, help=help)
    if line.here == "COLON" and line.depth and line.type(_innermost(line) or 0) == "LPAR":
        fix = f": `{line.text(line.at - 1, line.at - 1)} = ...`" if line.before == "NAME" else ""
        return Diagnostic("E117", f"an argument is given by `=`{fix}", line.place)
    if line.here == "COLON" and line.depth:
        message = "there are no slices: an index is one step, as in `h[t-1]`"
        return Diagnostic("E125", message, line.place, help="a part of a vector is `part(v, start, size)`")
    if line.here == "RSQB" and line.before == "LSQB":
        return Diagnostic("E127", "the index is missing", line.place, help="as in `h[t]`; without brackets, one value")
    return None


def _product(line: _Stop) -> Diagnostic | None:
    """`2 x[t]`."""
    if line.here not in BEGINS_OPERAND or line.before not in ENDS_OPERAND or not line.expected & set(OPERATORS):
        return None
    first = line.operand_to(line.at - 1)
    left, right = line.text(first, line.at - 1), line.text(line.at, line.operand_from(line.at))
    if first < line.at - 1 and "\n" in left + right or len(left + right) > 60:
        return Diagnostic("E103", "multiplication is never implicit: write `*` or `@`", line.place)
    is_matrix = left[:1].isupper() and line.type(first) in ("NAME", "PATH") and not left.endswith(("]", ")"))
    return Diagnostic(
        "E103", f"multiplication is never implicit: `{left}{'@' if is_matrix else '*'}{right}`", line.place
    )


def _operand(line: _Stop) -> Diagnostic | None:
    """An operator or bracket with nothing to work on."""
    if not {"NAME", "NUMBER", "LPAR"} <= line.expected:
        return None
    after = f" after `{line.text(line.at - 1, line.at - 1)}`" if line.at else ""
    if line.here == "$END":
        return Diagnostic("E114", f"an expression is missing{after}", line.place)
    mark = line.text(line.at, line.at)
    help = ""
    if line.here == "LSQB":
        help = "there are no lists: vectors are joined by `concat(a, b)`"
    elif line.here == "PLUS":
        help = "a number needs no `+` before it"
    elif line.here == "MINUS":
        help = "put the negative operand in parentheses"
    elif line.here in RESERVED:
        return None
    return Diagnostic("E114", f"expected an expression{after}, not `{mark}`", line.place, help=help)


def _generic(line: _Stop) -> Diagnostic:
    mark = line.text(line.at, line.at)
    found = "the line ends too early" if line.here == "$END" else f"`{mark}` does not fit here"
    related: tuple[Label, ...] = ()
    if line.depth and (opener := _innermost(line)) is not None:
        related = (Label(span(line.tokens[opener]), "inside this"),)
    form = FORMS.get(line.first, "y[t] ~ categorical(logits = z[t])" if line.find(("_TILDE",)) else "")
    return Diagnostic("E100", found, line.place, _wanted(line), related, f"as in `{form}`" if form else "")


def _wanted(line: _Stop) -> str:
    return f"expected {_listed(line.expected)}" if line.expected else ""


def _innermost(line: _Stop) -> int | None:
    depth = 0
    for i in range(line.at - 1, -1, -1):
        depth += (line.type(i) in ("RPAR", "RSQB")) - (line.type(i) in ("LPAR", "LSQB"))
        if depth < 0:
            return i
    return None


def _listed(expected: frozenset[str]) -> str:
    """The terminals in words, in an order that does not depend on the set's."""
    left = set(expected)
    words = []
    if {"NAME", "NUMBER", "LPAR"} <= left:
        words.append("an expression")
        left -= {"NAME", "PATH", "NUMBER", "LPAR", "MINUS"}
    if {"PLUS", "STAR"} <= left or {"AT", "POWER"} <= left:
        words.append("an operator")
        left -= set(OPERATORS) | {"TRANSPOSE"}
    if {"NAME", "PATH"} <= left:
        left -= {"PATH"}
    words += sorted(SHOWN.get(name, f"`{name.lower()}`") for name in left)
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" or {words[-1]}" if words else "nothing more"

"""LaTeX as the equations and rules use it, turned into MathML, which browsers typeset by themselves.

Knows the commands that cells, adjoints and primitives are typeset with, and nothing of them: what it does
not know is an error, so that a page never shows a formula with a hole.
"""

from __future__ import annotations

import re
from html import escape

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[0-9]+(?:\.[0-9]+)?|\s+|.", re.S)
_SPACES = {"\\,": "0.17em", "\\;": "0.28em", "\\:": "0.22em", "\\ ": "0.33em", "\\quad": "1em"}
_FUNCTIONS = "tanh exp log sin cos tan sinh cosh max min arg det arctan arcsin arccos".split()
_GREEK = dict(
    zip(
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi omega "
        "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega".split(),
        "αβγδϵζηθικλμνξπρστϕχψωΓΔΘΛΞΠΣΦΨΩ",
        strict=True,
    )
)
_OPERATORS = {
    "odot": "⊙", "cdot": "·", "times": "×", "top": "⊤", "sim": "∼", "neq": "≠", "le": "≤", "ge": "≥", "bmod": "mod",
    "sum": "∑", "prod": "∏", "land": "∧", "lor": "∨", "lnot": "¬", "oplus": "⊕", "in": "∈", "to": "→", "lfloor": "⌊",
    "rfloor": "⌋", "langle": "⟨", "rangle": "⟩", "Vert": "‖", "dots": "…", "mid": "|", "|": "‖", "{": "{", "}": "}",
}  # fmt: skip
_LETTERS = {"partial": "∂", "infty": "∞", "ell": "ℓ", "nabla": "∇"}
_STYLES = {"mathrm": "normal", "operatorname": "normal", "mathbf": "bold", "mathtt": "monospace", "mathit": "italic"}
_BOLD = {c: chr(0x1D7CE + int(c)) for c in "0123456789"}


def mathml(latex: str, display: bool = True) -> str:
    """A `<math>` element. Errors: ValueError naming a command that is not known here."""
    reader = _Reader(latex)
    body = reader.row(())
    if reader.at < len(reader.tokens):
        raise ValueError(f"unexpected {reader.tokens[reader.at]!r} in LaTeX: {latex}")
    block = ' display="block"' if display else ""
    return f"<math{block}>{body}</math>"


class _Reader:
    """Recursive descent over one formula; depth is that of its brackets."""

    def __init__(self, latex: str) -> None:
        self.latex = latex
        self.tokens: list[str] = _TOKEN.findall(latex.strip())
        self.at = 0

    def next(self, spaces: bool = False) -> str:
        """The token read; white space counts only inside text."""
        while not spaces and self.at < len(self.tokens) and self.tokens[self.at].isspace():
            self.at += 1
        if self.at == len(self.tokens):
            raise ValueError(f"LaTeX ends too early: {self.latex}")
        self.at += 1
        return self.tokens[self.at - 1]

    def peek(self) -> str:
        while self.at < len(self.tokens) and self.tokens[self.at].isspace():
            self.at += 1
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def row(self, ends: tuple[str, ...]) -> str:
        """Atoms up to one of `ends` (left in place), as one element."""
        parts: list[str] = []
        while self.peek() not in (*ends, "", "}", "\\right", "\\end"):
            if self.peek() in ("&", "\\\\"):
                break
            parts.append(self.scripted())
        return parts[0] if len(parts) == 1 else f"<mrow>{''.join(parts)}</mrow>"

    def scripted(self) -> str:
        """An atom with its sub- and superscript."""
        base = "<mrow></mrow>" if self.peek() in ("^", "_") else self.atom()
        below = above = ""
        while self.peek() in ("^", "_"):
            mark, script = self.next(), self.atom()
            below, above = (script, above) if mark == "_" else (below, script)
        around = "under" if base == "<mo>∑</mo>" else "sub"
        if below and above:
            tags = ("munderover",) if around == "under" else ("msubsup",)
            return f"<{tags[0]}>{base}{below}{above}</{tags[0]}>"
        if below:
            return f"<m{around}>{base}{below}</m{around}>"
        return f"<msup>{base}{above}</msup>" if above else base

    def atom(self) -> str:
        token = self.next()
        if token == "{":
            inside = self.row(("}",))
            self.expect("}")
            return inside
        if token.startswith("\\"):
            return self.command(token)
        if token[0].isdigit():
            return f"<mn>{token}</mn>"
        if token.isalpha():
            return f"<mi>{escape(token)}</mi>"
        if token in "()[]|":
            return f'<mo stretchy="false">{token}</mo>'
        if token == "'":
            return "<mo>′</mo>"
        return f"<mo>{escape('−' if token == '-' else token)}</mo>"

    def expect(self, token: str) -> None:
        found = self.next()
        if found != token:
            raise ValueError(f"expected {token!r}, found {found!r} in LaTeX: {self.latex}")

    def group(self) -> str:
        self.expect("{")
        inside = self.row(("}",))
        self.expect("}")
        return inside

    def command(self, token: str) -> str:
        name = token[1:]
        if token in _SPACES:
            return f'<mspace width="{_SPACES[token]}"></mspace>'
        if name in ("_", "%", "#", "&"):
            return f"<mi>{escape(name)}</mi>"
        if name == "frac":
            top = self.group()
            return f"<mfrac>{top}{self.group()}</mfrac>"
        if name == "sqrt":
            return self.root()
        if name in ("bar", "overline"):
            inside = self.group()
            return f'<mover>{inside}<mo stretchy="true" lspace="0" rspace="0">¯</mo></mover>'
        if name == "left":
            return self.fenced()
        if name == "begin":
            return self.environment()
        if name == "text":
            return f"<mtext>{escape(self.words())}</mtext>"
        if name in _STYLES:
            return self.styled(name)
        if name == "textstyle":
            return "<mrow></mrow>"
        if name in _FUNCTIONS:
            return f"<mi>{name}</mi><mo>&#x2061;</mo>"
        if name in _GREEK:
            return f"<mi>{_GREEK[name]}</mi>"
        if name in _LETTERS:
            return f"<mi>{_LETTERS[name]}</mi>"
        if name in _OPERATORS:
            return f"<mo>{_OPERATORS[name]}</mo>"
        raise ValueError(f"no MathML for {token} in LaTeX: {self.latex}")

    def root(self) -> str:
        if self.peek() != "[":
            return f"<msqrt>{self.group()}</msqrt>"
        self.next()
        degree = self.row(("]",))
        self.expect("]")
        return f"<mroot>{self.group()}{degree}</mroot>"

    def fenced(self) -> str:
        opening = self.delimiter()
        inside = self.row(())
        self.expect("\\right")
        closing = self.delimiter()
        return f"<mrow>{opening}{inside}{closing}</mrow>"

    def delimiter(self) -> str:
        token = self.next()
        shown = _OPERATORS.get(token[1:], token) if token.startswith("\\") else token
        return "" if shown == "." else f'<mo fence="true">{escape(shown)}</mo>'

    def words(self) -> str:
        """The text of a group, commands like `\\_` read as the sign they stand for."""
        self.expect("{")
        depth, out = 1, []
        while depth:
            token = self.next(spaces=True)
            depth += {"{": 1, "}": -1}.get(token, 0)
            if depth and token not in "{}":
                out.append(token[1:] if token.startswith("\\") else token)
        return "".join(out).strip()

    def styled(self, name: str) -> str:
        ahead = self.at
        text = self.words()
        if any(t.startswith("\\") and t[1:].isalpha() for t in self.tokens[ahead : self.at]):
            self.at = ahead
            return self.group()
        if name == "mathbf":
            return f"<mi>{escape(''.join(_BOLD.get(c, c) for c in text))}</mi>"
        if name == "operatorname":
            return f'<mi mathvariant="normal">{escape(text)}</mi>' + (
                "" if self.peek() in ("_", "^") else "<mo>&#x2061;</mo>"
            )
        return f'<mi mathvariant="{"normal" if name == "mathrm" else _STYLES[name]}">{escape(text)}</mi>'

    def environment(self) -> str:
        kind = self.words()
        rows: list[list[str]] = [[]]
        while True:
            rows[-1].append(self.row(()))
            token = self.next()
            if token == "\\\\":
                rows.append([])
            elif token == "\\end":
                break
            elif token != "&":
                raise ValueError(f"unexpected {token!r} in LaTeX: {self.latex}")
        self.words()
        if kind not in ("aligned", "cases"):
            raise ValueError(f"no MathML for \\begin{{{kind}}} in LaTeX: {self.latex}")
        body = "".join("<mtr>" + "".join(f"<mtd>{c}</mtd>" for c in r) + "</mtr>" for r in rows)
        table = f'<mtable class="{kind}" displaystyle="{str(kind == "aligned").lower()}">{body}</mtable>'
        return f'<mrow><mo fence="true" stretchy="true">{{</mo>{table}</mrow>' if kind == "cases" else table

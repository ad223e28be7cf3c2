"""Random sentences of grammar.lark: lines that the grammar accepts, and the same with a token amiss.

The productions come from the grammar file itself, so that a rule added there is tried here.
"""

from __future__ import annotations

import functools
import random
from collections import defaultdict

from dsl.text.parse import _parser

WORDS = {
    "NAME": ("x", "h", "c", "z", "y", "W", "V", "b", "a", "H", "D", "k", "t", "s", "u", "rnn", "sub", "nll", "tanh",
             "sigmoid", "sum", "softmax", "concat", "last", "len", "where", "part", "zeros", "outer", "max", "LSTM",
             "Elman", "Cell", "glorot", "normal", "dropout", "categorical", "gate", "pi", "inf", "none"),
    "PATH": ("sub.h", "rnn.0.h", "rnn.c", "h.T", "W.T", "W.H", "sub.W", "a.b.c"),
    "NUMBER": ("0", "1", "2", "3", "0.5", "1e-3", "2j", "10"),
    "TRANSPOSE": (".T", ".H"),
    "COMPARE": ("==", "!=", "<=", ">=", "<", ">"),
}  # fmt: skip
PRELUDE = """\
def gate(z) = 1/(1 + exp(-z))
cell A(D, H, k=2):
  input x[t]: D
  state h[t]: H = 0
  state c[t]: H = 0
  param W, V ~ glorot
  param a: scalar = 1
  param b: H = 0
  time u: len(t)//2
  use sub = Elman(x=x, H=H)
  h[t] = tanh(V@x[t] + W@h[t-1] + b)
  c[t] = a*c[t-1] + h[t]
"""


@functools.cache
def _rules() -> tuple[dict[str, list[list[tuple[str, bool]]]], dict[str, str], dict[str, int]]:
    """Productions by nonterminal, texts of fixed terminals, and how deep the shallowest tree of each symbol is."""
    lark = _parser()
    rules: dict[str, list[list[tuple[str, bool]]]] = defaultdict(list)
    for rule in lark.rules:
        rules[rule.origin.name].append([(symbol.name, symbol.is_term) for symbol in rule.expansion])
    fixed = {t.name: t.pattern.value for t in lark.terminals if t.pattern.type == "str"}
    depth: dict[str, int] = {}
    while True:
        before = dict(depth)
        for name, expansions in rules.items():
            known = [max((0 if term else depth[s] for s, term in e), default=0) + 1 for e in expansions
                     if all(term or s in depth for s, term in e)]  # fmt: skip
            if known:
                depth[name] = min(known)
        if depth == before:
            return rules, fixed, depth


def sentence(rng: random.Random, start: str = "_statement", room: int = 24) -> list[str]:
    """The tokens of one random line; below `room` levels the shallowest production is taken."""
    rules, fixed, depth = _rules()
    out: list[str] = []
    work: list[tuple[str, bool, int]] = [(start, False, room)]
    while work:
        name, terminal, left = work.pop()
        if terminal:
            out.append(fixed[name] if name in fixed else rng.choice(WORDS[name]))
            continue
        choices = rules[name]
        need = [max((0 if term else depth[s] for s, term in e), default=0) for e in choices]
        room_here = left if rng.random() < 0.4 else min(need) + 1
        fitting = [e for e, n in zip(choices, need, strict=True) if n < max(room_here, min(need) + 1)]
        work.extend((s, term, left - 1) for s, term in reversed(rng.choice(fitting)))
    return out


def text(seed: int) -> str:
    """A cell with a sound beginning and some random lines, every third of them with a token amiss."""
    rng = random.Random(seed)
    lines = []
    for _ in range(rng.randint(1, 3)):
        tokens = sentence(rng, rng.choice(("_statement",) * 4 + ("equation",) * 6 + ("_line",)))
        if rng.random() < 0.33:
            i = rng.randrange(len(tokens))
            tokens[i : i + 1] = rng.choice(([], [tokens[i]] * 2, [rng.choice(WORDS["NAME"])], sentence(rng, "atom", 4)))
        lines.append("  " + " ".join(tokens))
    return PRELUDE + "\n".join(lines) + "\n"

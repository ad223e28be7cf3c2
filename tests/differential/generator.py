"""Random well-typed cells as source text, with the facts a coverage table needs.

`random_cell(seed)` is a pure function of its seed. It knows the language and nothing of the engines. A cell is built in
stages, each reading what earlier stages finished at any index, and its own recurrence only at offsets that some order
of steps allows: every stream of a recurrence has a potential p, and `v_j[t+d]` may be read by `v_i` when d < p_i - p_j
(mirrored for a backward recurrence), so skewed systems such as `a[t] = b[t+1]`, `b[t] = a[t-2]` occur too.
Functions are kept where they are smooth enough for finite differences (`log(1 + v*v)`, never `log(v)`).
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

UNARY = ("tanh", "sigmoid", "relu", "leaky_relu", "elu", "softplus", "exp", "log", "sqrt", "abs", "sign", "sin", "cos")
BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "logaddexp")
VECTOR = (
    *UNARY, *BINARY, "neg", "power", "where", "clip", "matvec", "transpose", "matmul", "outer", "concat", "part",
    "zeros", "softmax", "log_softmax", "lookup", "one_hot", "scale", "position", "length",
)  # fmt: skip
SCALAR = ("dot", "sum", "mean", "max", "min", "logsumexp")
NAMED = ("sum[]", "mean[]", "max[]", "min[]", "logsumexp[]", "softmax[]", "log_softmax[]", "last", "last[]")
PRIMITIVES = (*VECTOR, *SCALAR, *NAMED, "def", "logprob")
RARE = ("last[]", "last", "softmax[]", "log_softmax[]", "lookup", "one_hot")
BOUNDARIES = ("constant", "param", "input", "last", "none")
LAGS = ("-", "+")


@dataclass(frozen=True)
class Stream:
    """What may be read: `dim` None is a scalar; `boundary` tells whether reads outside are legal."""

    name: str
    axes: tuple[str, ...]
    dim: str | None
    boundary: bool = False
    category: bool = False


@dataclass
class Case:
    """A cell's text with numbers for its arguments and lengths for its data axes, one an entry of the batch; `tied`
    data repeats its numbers, so that maxima tie."""

    seed: int
    text: str
    arguments: dict[str, int]
    lengths: dict[str, list[int]]
    facts: set[str] = field(default_factory=set)
    tied: bool = False


@dataclass
class Recurrence:
    """The streams being defined together on `axis`, in order; a stream may read `d` further as `reach` tells."""

    axis: str
    sign: int  # -1 reads the past, +1 the future
    members: list[Stream]
    potentials: list[int]

    def reach(self, reader: int, member: int) -> int:
        """The offset nearest to the present (or beyond it) at which `reader` may read `member`, before the sign."""
        slack = self.potentials[reader] - self.potentials[member]
        return slack if member < reader else slack - 1


class Maker:
    """Writes one cell. Expressions are built from the outside in; every choice is the generator's."""

    def __init__(self, rng: random.Random, name: str, facts: set[str], wish: str | None = None) -> None:
        self.rng, self.name, self.facts, self.wish = rng, name, facts, wish
        self.declarations: list[str] = []
        self.body: list[str] = []
        self.streams: list[Stream] = []
        self.params: list[tuple[str, tuple[str, ...]]] = []
        self.derived: dict[str, str] = {}
        self.unread: list[Stream] = []
        self.loop: Recurrence | None = None
        self.reader = 0
        self.count = 0
        self.dims = ["D", "H"]
        self.halves_down = True  # u is len(t)//2, so 2*u+1 is inside
        self.integers = name == "Random"  # the header has j, an integer argument for offsets

    # ---------------------------------------------------------------- names and leaves

    def fresh(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def pick(self, items):  # type: ignore[no-untyped-def]
        return items[self.rng.randrange(len(items))]

    def param(self, *shape: str) -> str:
        """A parameter of that shape: sometimes one that exists already, sometimes left to inference by `@`."""
        known = [n for n, s in self.params if s == shape]
        if known and self.chance(0.3):
            return self.pick(known)
        name = self.fresh("W" if len(shape) == 2 else "b" if shape else "a")
        self.params.append((name, shape))
        kind = f"({', '.join(shape)})" if len(shape) == 2 else shape[0] if shape else "scalar"
        start = (
            self.pick(["~ glorot", "~ normal(0, 1)"])
            if len(shape) == 2
            else self.pick(["= 0", "= 1", "~ uniform(-1, 1)"])
        )
        self.declarations.append(f"param {name}: {kind} {start}")
        return name

    def index(self, stream: Stream, axes: tuple[str, ...]) -> str | None:
        """A legal index for a finished stream, or None when its axes cannot be reached from `axes`."""
        parts = []
        for a in stream.axes:
            forms: list[str] = []
            if a in axes:
                forms += [a] * 4 + [f"len({a})-1-{a}"]
                if stream.boundary:
                    d = self.far(self.rng.randint(1, 3))
                    forms += [f"{a}-{d}", f"{a}+{d}"] * 2 + [
                        f"2*{a}",
                        f"2*{a}-1",
                        f"{a}//2",
                        f"({a}+1)//2",
                        f"({a}-3)//2",
                    ]
            for u, base in self.derived.items():
                if base == a and u in axes:
                    inside = [f"2*{u}"] + ([f"2*{u}+1"] if self.halves_down or stream.boundary else [])
                    forms += inside * 3 + ([f"2*{u}-1", f"2*{u}+2"] if stream.boundary else [])
                if u == a and base in axes and stream.boundary:
                    forms += [f"{base}//2", f"({base}-1)//2", f"({base}+1)//2"] * 2
            if stream.boundary:
                forms += ["0", f"len({a})-2"] if a in axes else ["0", "2", f"len({a})-1", f"len({a})-2"]
            if not forms:
                return None
            form = self.pick(forms)
            self.note_form(a, form)
            parts.append(form)
        return ",".join(parts)

    def far(self, d: int) -> str:
        """An offset, as a number or as the integer argument j (which is 2)."""
        if d == 2 and self.integers and self.chance(0.4):
            self.facts.add("integer argument")
            return "j"
        return str(d)

    def note_form(self, axis: str, form: str) -> None:
        if form.startswith(f"{axis}-"):
            self.facts.add("lag -")
        elif form.startswith(f"{axis}+"):
            self.facts.add("lag +")
        kind = (
            "flip"
            if f"-1-{axis}" in form
            else "floor"
            if "//" in form
            else "stride"
            if "*" in form
            else "end"
            if "len" in form
            else ""
        )
        if kind or form.isdigit():
            self.facts.add(f"index {kind or 'constant'}")

    def read(self, axes: tuple[str, ...], dim: str | None) -> str | None:
        """A read of some stream with that feature dim; None when there is none."""
        options: list[str] = []
        finished = [s for s in self.streams if s.dim == dim and not s.category]
        self.rng.shuffle(finished)
        for s in finished[:3]:
            if not s.axes:
                options.append(s.name)
                continue
            where = self.index(s, axes)
            if where is not None:
                options.append(f"{s.name}[{where}]")
                self.unread = [u for u in self.unread if u.name != s.name]
        if self.loop and self.loop.axis in axes:
            for j, s in enumerate(self.loop.members):
                if s.dim == dim and set(s.axes) <= set(axes):
                    d = self.loop.reach(self.reader, j) - self.pick([0, 0, 0, 1, 2])
                    if len(s.axes) == 2 and self.chance(0.4):
                        options += [f"{s.name}[{self.sideways(s)}]"] * 3
                    elif d == 0 or s.boundary:
                        options += [f"{s.name}[{self.shifted(s, d)}]"] * 3
        return self.pick(options) if options else None

    def shifted(self, stream: Stream, distance: int) -> str:
        """Indices of a member of the recurrence, `distance` steps on along its direction (negative: already done)."""
        assert self.loop
        d = -self.loop.sign * distance
        axis = self.loop.axis
        if d:
            self.facts.add("lag -" if d < 0 else "lag +")
        moved = axis if d == 0 else f"{axis}{'+' if d > 0 else '-'}{self.far(abs(d))}"
        others = [a for a in stream.axes if a != axis]
        if others and distance < 0 and stream.boundary and self.chance(0.4):
            others = [self.pick([f"{a}-1", f"{a}+1"]) for a in others]
        return ",".join(moved if a == axis else others[0] for a in stream.axes)

    def sideways(self, stream: Stream) -> str:
        """Indices of a member of a grid's recurrence at the same step of the loop, one back on the other axis."""
        assert self.loop
        self.facts |= {"scan of two axes", "lag -"}
        return ",".join(a if a == self.loop.axis else f"{a}-1" for a in stream.axes)

    # ---------------------------------------------------------------- expressions

    def scalar(self, axes: tuple[str, ...], depth: int) -> str:
        if depth <= 0 or self.chance(0.2):
            found = self.read(axes, None)
            return found or self.pick(["0.5", "2", self.param()])
        kind = self.pick([*SCALAR, *NAMED[:5], "product", "sum2"])
        if self.wish in SCALAR:
            kind, self.wish = self.wish, None
        self.facts.add(kind) if kind in PRIMITIVES else None
        dim = self.pick(self.dims)
        if kind == "dot":
            return f"({self.vector(axes, dim, depth - 1)})@({self.vector(axes, dim, depth - 1)})"
        if kind in SCALAR:
            return f"{kind}({self.vector(axes, dim, depth - 1)})"
        if kind in NAMED:
            return self.over_axis(kind, axes, None, depth) or self.scalar(axes, depth - 1)
        if kind == "product":
            return f"tanh({self.scalar(axes, depth - 1)})*({self.scalar(axes, depth - 1)})"
        return f"({self.scalar(axes, depth - 1)} + {self.scalar(axes, depth - 1)})"

    def over_axis(self, kind: str, axes: tuple[str, ...], dim: str | None, depth: int) -> str | None:
        """A reduction over an axis the expression does not have yet, or a `last`; None where there is none to take."""
        busy = self.loop.axis if self.loop else None
        free = [a for a in ("t", "s") if a not in axes and a != busy and any(a in s.axes for s in self.streams)]
        free += [
            u
            for u in self.derived
            if u not in axes and u != busy and kind == "sum[]" and any(u in s.axes for s in self.streams)
        ]
        if kind == "last":
            ends = [
                s for s in self.streams if s.dim == dim and len(s.axes) == 1 and s.axes[0] != busy and not s.category
            ]
            ends = [s for s in ends if s.boundary or s.axes[0] not in self.derived]
            if not ends:
                return None
            self.facts.add(kind)
            return f"last({self.pick(ends).name})"
        if not free or len(axes) > 1:
            return None
        a = self.pick(free)
        self.facts.add(kind)
        outer, self.loop = self.loop, self.loop if self.loop and self.loop.axis in axes else None
        inside = self.vector((*axes, a), dim, depth - 1) if dim else self.scalar((*axes, a), depth - 1)
        self.loop = outer
        return f"{kind[:-2]}[{a}]({inside})"

    def condition(self, axes: tuple[str, ...], depth: int) -> str:
        a = self.pick(axes) if axes else None
        forms = [f"{self.scalar(axes, depth - 1)} > 0.1"]
        if a:
            forms += [f"{a}%2==0", f"{a} < len({a})-1", f"{a}>=2", f"{a}//2 != 1", f"len({a}) <= {a}+2"]
        return self.pick(forms)

    def vector(self, axes: tuple[str, ...], dim: str, depth: int) -> str:
        """A vector with `dim` features, as text that may stand as an argument."""
        if depth <= 0:
            return self.read(axes, dim) or self.param(dim)
        kinds = [k for k in VECTOR if k not in ("lookup", "one_hot") or any(s.category for s in self.streams)]
        kind = self.pick([*kinds, *["matvec"] * 6, *["read"] * 6, *["add", "mul"] * 2, *["scale"] * 2, *NAMED])
        if self.wish and self.wish in (*kinds, *NAMED) and self.chance(0.7):
            kind, self.wish = self.wish, None
        return self.build(kind, axes, dim, depth)

    def build(self, kind: str, axes: tuple[str, ...], dim: str, depth: int) -> str:
        def v(d: str = dim) -> str:
            return self.vector(axes, d, depth - 1)

        if kind in NAMED:
            if kind in ("softmax[]", "log_softmax[]", "last[]"):
                return self.kept_axis(kind, axes, dim, depth) or v()
            return self.over_axis(kind, axes, dim, depth) or v()
        if kind == "read":
            return self.read(axes, dim) or self.param(dim)
        self.facts.add(kind)
        other = self.pick(self.dims)
        if kind in UNARY:
            safe = {
                "exp": "exp(sin({}))",
                "log": "log(1.5 + sin({}))",
                "sqrt": "sqrt(1 + ({})**2)",
                "sign": "(sign({}) + 0.5)",
            }
            return safe.get(kind, kind + "({})").format(v())
        if kind in ("maximum", "minimum", "logaddexp"):
            return f"{kind}({v()}, {v()})"
        if kind in ("lookup", "one_hot"):
            return self.category(kind, axes, dim, depth)
        a = self.pick(axes) if axes else None
        forms = {
            "add": lambda: f"({v()} + {v()})",
            "sub": lambda: f"({v()} - {v()})",
            "mul": lambda: f"({v()})*({v()})",
            "div": lambda: f"({v()})/(2 + sin({v()}))",
            "neg": lambda: f"-({v()})",
            "power": lambda: f"({v()})**{self.pick([2, 3])}",
            "where": lambda: f"where({self.condition(axes, depth)}, {v()}, {self.pick([v(), '0'])})",
            "clip": lambda: f"clip({v()}, -0.6, 0.7)",
            "matvec": lambda: f"{self.param(dim, other)}@({v(other)})",
            "transpose": lambda: f"{self.param(other, dim)}.T@({v(other)})",
            "matmul": lambda: f"({self.param(dim, other)}@{self.param(other, dim)})@({v()})",
            "outer": lambda: f"outer({v()}, {v(other)})@({v(other)})",
            "concat": lambda: f"{self.param(dim, other + '+' + dim)}@concat({v(other)}, {v()})",
            "part": lambda: (
                f"part(concat({v(other)}, {v()}), {self.pick(['0' if other == dim else other, other, '1'])}, {dim})"
            ),
            "zeros": lambda: f"(zeros({dim}) + {self.scalar(axes, depth - 1)})",
            "softmax": lambda: f"softmax({v()})",
            "log_softmax": lambda: f"log_softmax({v()})",
            "scale": lambda: f"({self.scalar(axes, depth - 1)})*({v()})",
            "position": lambda: f"({v()})*(1 + {a})/len({a})" if a else v(),
            "length": lambda: f"({v()})/len({a})" if a else v(),
        }
        if not a and kind in ("position", "length"):
            self.facts.discard(kind)
        return forms[kind]()

    def kept_axis(self, kind: str, axes: tuple[str, ...], dim: str, depth: int) -> str | None:
        """Softmax over an axis that stays, in a product summed over it (attention); `last[s]` of a two-axis stream."""
        busy = self.loop.axis if self.loop else None
        grids = [s for s in self.streams if s.dim == dim and len(s.axes) == 2 and s.boundary and s.axes[0] in axes]
        if kind == "last[]":
            grids = [s for s in grids if s.axes[1] not in axes and s.axes[1] != busy]
            if not grids:
                return None
            self.facts.add(kind)
            s = self.pick(grids)
            return f"last[{s.axes[1]}]({s.name}[{','.join(s.axes)}])"
        free = [a for a in ("s", "t") if a not in axes and a != busy and any(a in s.axes for s in self.streams)]
        if not free or len(axes) > 1:
            return None
        a = self.pick(free)
        along = [s for s in self.streams if s.axes == (a,) and s.dim and not s.category]
        if not along:
            return None
        self.facts |= {kind, "sum[]", "dot"}
        both, key = (*axes, a), self.pick(along)
        score = f"{self.param(key.dim)}@{key.name}[{a}] + {self.scalar(both, depth - 1)}"
        return f"sum[{a}]({kind[:-2]}[{a}]({score})*({self.vector(both, dim, depth - 1)}))"

    def category(self, kind: str, axes: tuple[str, ...], dim: str, depth: int) -> str:
        reads = [(s, w) for s in self.streams if s.category and (not s.axes or (w := self.index(s, axes)))]
        if not reads:
            self.facts.discard(kind)
            return self.vector(axes, dim, depth - 1)
        s, where = self.pick(reads)
        one = f"{s.name}[{where}]" if s.axes else s.name
        self.unread = [u for u in self.unread if u.name != s.name]
        if kind == "lookup":
            if self.chance(0.4):
                return f"{self.param(dim, 'K+' + dim)}@concat({one}, {self.vector(axes, dim, depth - 1)})"
            return f"{self.param(dim, 'K')}@{one}"
        form = self.pick(["softmax({b}) - {y}", "{b}*{y}", "({b} + 1)*({y} - 0.2)"])
        return f"{self.param(dim, 'K')}@({form.format(b=self.param('K'), y=one)})"

    # ---------------------------------------------------------------- stages

    def boundary(self, dim: str | None, kinds: tuple[str, ...], before: list[Stream]) -> str:
        """The text after `=` of a state with that dim."""
        kind = self.pick(kinds)
        if kind == "last":
            ends = [s for s in before if s.dim == dim and len(s.axes) == 1 and not s.category]
            ends = [s for s in ends if s.boundary or s.axes[0] not in self.derived]
            if ends:
                self.facts.add("boundary last")
                return f"last({self.pick(ends).name})"
            kind = "constant"
        self.facts.add(f"boundary {kind}")
        if kind == "param":
            return self.param(dim) if dim else self.param()
        if kind == "input":
            name = self.fresh("c")
            self.declarations.append(f"input {name}: {dim or 'scalar'}")
            self.streams.append(Stream(name, (), dim))
            return name
        return self.pick(["0", "0", "0.5", "-1"])

    def scan(self, axes: tuple[str, ...], kinds: tuple[str, ...]) -> None:
        """One to three mutually recurrent streams on the first of `axes`."""
        rng = self.rng
        n = rng.choice([1, 1, 2, 2, 3])
        dims = [self.pick([*self.dims, *self.dims, None]) for _ in range(n)]
        starts = [self.boundary(d, kinds, list(self.streams)) for d in dims]
        wide = len(axes) == 2
        members = [Stream(self.fresh("h"), axes if wide else axes[:1], d, True) for d in dims]
        for m, start in zip(members, starts, strict=True):
            self.declarations.append(f"state {m.name}[{','.join(m.axes)}]: {m.dim or 'scalar'} = {start}")
        potentials = [rng.choice([0, 0, 0, 1, -1, 2]) for _ in range(n)] if not wide else [0] * n
        self.loop = Recurrence(axes[0], rng.choice([-1, -1, 1]), members, potentials)
        self.facts.add("scan forward" if self.loop.sign < 0 else "scan backward")
        if any(potentials):
            self.facts.add("scan skewed")
        lines = []
        for i, m in enumerate(members):
            self.reader = i
            previous = self.loop.reach(i, (i + 1) % n) - rng.choice([0, 0, 1])
            back = members[(i + 1) % n]
            feed = f"{back.name}[{self.shifted(back, previous)}]"
            own = self.vector(m.axes, m.dim, 2) if m.dim else self.scalar(m.axes, 2)
            if m.dim:
                feed = f"{self.param(m.dim, back.dim)}@{feed}" if back.dim else f"({feed})*{self.param(m.dim)}"
            else:
                feed = f"{self.param(back.dim)}@{feed}" if back.dim else f"{self.param()}*{feed}"
            wrap = self.pick(["tanh", "tanh", "sigmoid", "sin"])
            self.facts.add(wrap)
            lines.append(f"{m.name}[{','.join(m.axes)}] = {wrap}({feed} + {own})")
        self.loop = None
        rng.shuffle(lines)  # equations are unordered
        self.body += lines
        self.finish(members)

    def equation(
        self, axes: tuple[str, ...], kinds: tuple[str, ...], state: bool = False, dim: str | None = "any"
    ) -> None:
        """One stream computed from finished ones, with or without a boundary of its own, with or without axes."""
        dim = self.pick([*self.dims, *self.dims, None]) if dim == "any" else dim
        start = self.boundary(dim, kinds, list(self.streams)) if axes and (state or self.chance(0.5)) else None
        new = Stream(self.fresh("z"), axes, dim, start is not None)
        where = f"[{','.join(axes)}]" if axes else ""
        if start is not None:
            self.declarations.append(f"state {new.name}{where}: {dim or 'scalar'} = {start}")
        value = self.vector(axes, dim, 3) if dim else self.scalar(axes, 2)
        if self.wish == "def" or self.chance(0.15):
            self.facts.add("def")
            value = f"squash({value}, {self.pick(['2', self.param()])})"
        if dim and axes and start is None:  # says its shape even when every leaf is a scalar or without an axis
            value = f"{value} + {self.param(dim)}"
        self.body.append(f"{new.name}{where} = {value}")
        self.finish([new])

    def finish(self, members: list[Stream]) -> None:
        self.streams += members
        self.unread += members

    def text(self, header: str) -> str:
        return "\n  ".join([f"cell {self.name}({header}):", *self.declarations, *self.body]) + "\n"


def sub_cell(rng: random.Random, name: str, facts: set[str]) -> str:
    """A recurrent cell from x: D to H, with a state `h` as its output."""
    m = Maker(rng, name, facts)
    m.declarations.append("input x[t]: D" + m.pick(["", " = 0"]))
    m.streams.append(Stream("x", ("t",), "D", m.declarations[0].endswith("= 0")))
    if m.chance(0.5):
        m.scan(("t",), ("constant", "param"))
    start = m.boundary("H", ("constant", "constant", "param"), [])
    m.declarations.append(f"state h[t]: H = {start}")
    sign, m.reader = rng.choice([-1, -1, 1]), 0
    m.loop = Recurrence("t", sign, [Stream("h", ("t",), "H", True)], [0])
    facts.add("lag -" if sign < 0 else "lag +")
    lag = f"t{'-' if sign < 0 else '+'}{rng.choice([1, 1, 2])}"
    m.body.append(f"h[t] = tanh({m.param('H', 'D')}@x[t] + {m.param('H', 'H')}@h[{lag}] + {m.vector(('t',), 'H', 1)})")
    m.body.append("output h")
    return m.text("D, H")


def add_use(m: Maker, subs: dict[str, str]) -> None:
    """A copy of a sub-cell (name -> its text) in one of the forms `use` has."""
    feeds = [s for s in m.streams if len(s.axes) == 1 and s.dim and not s.category]
    if not feeds:
        return
    source, cell = m.pick(feeds), m.pick(list(subs))
    form = m.pick(["plain", "reverse", "stack", "shared", "shared stack", "start", "cell", "param"])
    name, more, front = m.fresh("r"), "", ""
    if form == "reverse":
        front = "reverse "
    elif form in ("stack", "shared stack"):
        front = "stack 2 of "
    elif form == "start":
        more = ", h=" + m.boundary("H", ("param", "input", "last"), list(m.streams))
    elif form == "cell":
        cell = "Cell"
    elif form == "param":
        square = re.search(r"param (W\d+): \(H, H\)", subs[cell])
        more = f", {square[1]}={m.param('H', 'H')}" if square else ""
    m.facts |= {"sub-cell", f"use {form}"}
    m.body.append(f"use {name} = {front}{cell}(x={source.name}, H=H{more})")
    m.finish([Stream(name, source.axes, "H", True)])
    if "shared" in form:
        twin, fed = m.fresh("r"), m.pick([s for s in feeds if s.dim == source.dim])
        m.body.append(f"use {twin} = {name}(x={fed.name})")
        m.finish([Stream(twin, fed.axes, "H", True)])


def add_feedback(m: Maker, subs: dict[str, str]) -> None:
    """A sub-cell whose input reads its own output a step before: legal, since a use is inlined."""
    forward = [c for c, text in subs.items() if "feedback" in text]
    if not forward:
        return
    fed, name = m.fresh("f"), m.fresh("r")
    m.facts |= {"sub-cell", "use feedback", "lag -"}
    m.body.append(f"{fed}[t] = tanh({m.param('D', 'H')}@{name}[t-1] + {m.vector(('t',), 'D', 1)})")
    m.body.append(f"use {name} = {m.pick(forward)}(x={fed}, H=H)")
    m.finish([Stream(name, ("t",), "H", True), Stream(fed, ("t",), "D")])


FEEDBACK = """cell Simple(D, H):  # feedback
  input x[t]: D
  state h[t]: H = 0
  param V, W ~ glorot
  h[t] = tanh(V@x[t] + W@h[t-1])
"""


def losses(m: Maker, drawn: str | None) -> None:
    """One loss that everything unread enters, so that every parameter can matter; a second sometimes."""
    terms = []
    for s in m.unread + [s for s in m.streams if not s.axes and not s.category]:
        one = f"{s.name}[{','.join(s.axes)}]" if s.axes else s.name
        term = f"({m.param(s.dim)}@{one})" if s.dim else f"{m.param()}*{one}"
        for a in reversed(s.axes):
            term = f"{'sum' if a in m.derived else m.pick(['sum', 'mean'])}[{a}]({term})"
        terms.append(term)
    if drawn:
        m.facts.add("logprob")
        terms.append(f"-{m.pick(['mean', 'sum'])}[t](logprob({drawn}[t]))")
    m.body.append(f"loss cost = {' + '.join(terms)}")


def random_cell(seed: int) -> Case:
    """The cell of that seed. Every primitive and boundary kind is wished for in turn, so that coverage is even."""
    rng = random.Random(f"cell {seed}")
    facts: set[str] = set()
    wish = PRIMITIVES[seed % len(PRIMITIVES)]
    turn = seed % len(PRIMITIVES) + seed // len(PRIMITIVES)
    with_subs, ragged = turn % 2 == 1, turn // 2 % 2 == 1
    kinds = (BOUNDARIES[seed // 3 % 4], *BOUNDARIES[:4])
    m = Maker(rng, "Random", facts, wish)
    subs = {name: sub_cell(rng, name, facts) for name in ("SubA", "SubB")} if with_subs else {}
    if subs:
        subs["Simple"] = FEEDBACK
    two = m.chance(0.45) or wish in ("softmax[]", "log_softmax[]", "last[]", "max[]", "min[]", "logsumexp[]", "mean[]")
    shifted = m.chance(0.5)
    m.declarations.append("input x[t]: D" + (" = 0" if shifted else ""))
    m.finish([Stream("x", ("t",), "D", shifted)])
    if two:
        m.declarations.append("input q[s]: H = 0")
        m.finish([Stream("q", ("s",), "H", True)])
    if m.chance(0.3):
        m.declarations.append("input w[t]: scalar = 1")
        m.finish([Stream("w", ("t",), None, True)])
    if wish in RARE or m.chance(0.35):
        m.declarations.append("input k[t]: one_hot K = none")
        m.streams.append(Stream("k", ("t",), None, True, category=True))
        facts.add("boundary none")
    if m.chance(0.3):
        length = m.pick(["len(t)//2", "(len(t)+1)//2"])
        m.derived["u"], m.halves_down = "t", length == "len(t)//2"
        m.declarations.append(f"time u: {length}")
    drawn = "y" if wish == "logprob" or m.chance(0.3) else None
    if drawn:
        m.declarations.append("state y[t]: one_hot K = none")
        m.streams.append(Stream("y", ("t",), None, True, category=True))
        facts.add("boundary none")
    stages = rng.choices(["scan", "vector", "use", "feedback", "value", "derived", "grid", "grid scan", "other"],
                         [6, 3, 8, 2, 1, 2, 2, 1, 2], k=rng.choice([2, 3, 3, 4]))  # fmt: skip
    if "scan" not in stages:
        stages[0] = "scan"
    if subs and not {"use", "feedback"} & {*stages}:
        stages[-1] = "use"
    for stage in stages:
        if stage == "scan":
            m.scan(("t",), kinds)
        elif stage == "other":
            m.scan(("s",) if two else ("t",), kinds)
        elif stage == "vector":
            m.equation((m.pick(["t", "s"]) if two else "t",), kinds)
        elif stage == "value":
            m.equation((), kinds)
        elif stage == "derived" and m.derived:
            m.equation(("u",), kinds)
            m.scan(("u",), kinds)
        elif stage == "grid" and two:
            m.equation(m.pick([("t", "s"), ("t", "s"), ("s", "t")]), kinds)
        elif stage == "grid scan" and two:
            facts.add("scan of a grid")
            m.scan(m.pick([("t", "s"), ("s", "t")]), kinds)
        elif stage == "use" and subs:
            add_use(m, subs)
        elif stage == "feedback" and subs:
            add_feedback(m, subs)
    if wish == "last[]":
        m.equation(("t", "s"), kinds, state=True, dim="H")
    if wish in RARE:  # no other cell is likely to bring these together
        for kind in BOUNDARIES[:4]:
            m.equation(("t",), (kind,), state=True)
    for _ in range(12):
        if wish in facts or wish == "logprob":
            break
        m.wish = wish
        m.equation(("t",), kinds, dim="H")
    if drawn:
        m.body.append(f"y[t] ~ categorical(logits = {m.param('K', 'H')}@({m.vector(('t',), 'H', 1)}))")
    losses(m, drawn)
    sizes = (
        rng.sample([1, 2, 3, 4, 5], rng.choice([2, 3])) if ragged else [rng.choice([1, 2, 3, 4])] * rng.choice([1, 2])
    )
    lengths = {"t": sizes} | ({"s": [rng.choice([1, 2, 3, 4]) if ragged else 3 for _ in sizes]} if two else {})
    facts.add("ragged" if ragged else "even")
    facts |= {"sub-cell" if "sub-cell" in facts else "flat"}
    body = m.text("")
    extra = {"K": "K" in body, "j=2": "integer argument" in facts, "Cell=SubA": " Cell(" in body}
    header = ", ".join(["D", "H", *(name for name, used in extra.items() if used)])
    macro = "def squash(z, w) = w*tanh(z)/(2 + sin(z))\n" if "def" in facts else ""
    text = macro + "".join(subs[s] for s in subs) + m.text(header)
    arguments = {"D": rng.choice([1, 2, 3]), "H": rng.choice([1, 2, 4])} | (
        {"K": rng.choice([2, 3, 5])} if ", K" in header else {}
    )
    return Case(seed, text, arguments, lengths, facts)

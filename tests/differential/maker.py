"""The words of a random cell: well-typed expressions over what may be read (`reads`), and its declarations.

It knows the language and nothing of the engines. Functions are kept where they are smooth enough for finite differences
(`log(1 + v*v)`, never `log(v)`), and steps of functions lie where no data does (`sign(v + 0.137)`).
"""

from __future__ import annotations

from tests.differential.reads import Reads, Recurrence, Stream
from tests.differential.words import COMPLEX, NAMED, PRIMITIVES, SCALAR, TAIL, UNARY, VECTOR


class Maker(Reads):
    """Writes one cell. Expressions are built from the outside in."""

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
        free = [a for a in self.every_axis() if a not in axes and a != busy]
        free = [a for a in free if kind == "sum[]" or a not in self.empty]
        if kind == "last":
            ends = [s for s in self.ends(dim) if s.axes[0] != busy]
            if not ends:
                return None
            self.facts.add(kind)
            return f"last({self.pick(ends).name})"
        if not free or len(axes) > 1 + (self.depth > 0):
            return None
        a = self.pick(free)
        self.facts |= {kind, f"{len(axes) + 1} axes"}
        outer, self.loop = self.loop, self.loop if self.loop and self.loop.axis in axes else None
        inside = self.vector((*axes, a), dim, depth - 1) if dim else self.scalar((*axes, a), depth - 1)
        self.loop = outer
        return f"{kind[:-2]}[{a}]({inside})"

    def every_axis(self) -> list[str]:
        """The axes on which something lives, those of data first."""
        return [a for a in ("t", "s", "r", *self.derived) if any(a in s.axes for s in self.streams)]

    def ends(self, dim: str | None, sort: str = "real") -> list[Stream]:
        """Streams whose last value may be asked for."""
        found = [s for s in self.streams if s.dim == dim and len(s.axes) == 1 and s.sort == sort]
        return [s for s in found if s.boundary or s.axes[0] not in self.empty]

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
        sorts = {s.sort for s in self.streams}
        kinds = [k for k in VECTOR if k not in ("lookup", "one_hot") or "category" in sorts]
        kinds += ["re", "im", "modulus"] * ("complex" in sorts) + ["matrix read", "transposed read"] * (
            "matrix" in sorts
        )
        kind = self.pick([*kinds, *["matvec"] * 6, *["read"] * 6, *["add", "mul"] * 2, *["scale", "tail"] * 2, *NAMED])
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
                "sign": "(sign({} + 0.137) + 0.5)",
            }
            return safe.get(kind, kind + "({})").format(v())
        if kind in ("maximum", "minimum", "logaddexp"):
            return f"{kind}({v()}, {v()})"
        if kind in ("lookup", "one_hot"):
            return self.category(kind, axes, dim, depth)
        if kind == "tail":
            self.facts -= {"tail"}
            name = self.pick(list(TAIL))
            self.facts.add(f"tail {name}")
            return TAIL[name].format(v())
        if kind in ("re", "im", "modulus"):
            return f"{'abs' if kind == 'modulus' else kind}({self.complex(axes, dim, depth - 1)})"
        if kind in ("matrix read", "transposed read"):
            return self.matrix(kind, axes, dim, depth)
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
            "stop_gradient": lambda: f"(stop_gradient({v()}) + {v()})",
            "scale": lambda: f"({self.scalar(axes, depth - 1)})*({v()})",
            "position": lambda: f"({v()})*(1 + {a})/len({a})" if a else v(),
            "length": lambda: f"({v()})/{f'(1 + len({a}))' if a in self.empty else f'len({a})'}" if a else v(),
        }
        if not a and kind in ("position", "length"):
            self.facts.discard(kind)
        return forms[kind]()

    def kept_axis(self, kind: str, axes: tuple[str, ...], dim: str, depth: int) -> str | None:
        """Softmax over an axis that stays, in a product summed over it (attention); `last[s]` of a two-axis stream."""
        busy = self.loop.axis if self.loop else None
        grids = [s for s in self.streams if s.dim == dim and len(s.axes) == 2 and s.boundary and s.sort == "real"]
        grids = [s for s in grids if s.axes[0] in axes]
        if kind == "last[]":
            grids = [s for s in grids if s.axes[1] not in axes and s.axes[1] != busy]
            if not grids:
                return None
            self.facts.add(kind)
            s = self.pick(grids)
            return f"last[{s.axes[1]}]({s.name}[{','.join(s.axes)}])"
        free = [a for a in self.every_axis() if a not in axes and a != busy and a not in self.empty]
        if not free or len(axes) > 1:
            return None
        a = self.pick(free)
        along = [s for s in self.streams if s.axes == (a,) and s.dim in self.dims and s.sort == "real"]
        if not along:
            return None
        self.facts |= {kind, "sum[]", "dot"}
        both, key = (*axes, a), self.pick(along)
        score = f"{self.param(key.dim)}@{key.name}[{a}] + {self.scalar(both, depth - 1)}"
        return f"sum[{a}]({kind[:-2]}[{a}]({score})*({self.vector(both, dim, depth - 1)}))"

    def complex(self, axes: tuple[str, ...], dim: str, depth: int) -> str:
        """A complex vector, as text that may stand as an argument."""
        if depth <= 0:
            return self.read(axes, dim, "complex") or self.param(dim, sort="complex")
        kind = self.pick([*COMPLEX[:8], "complex matvec", "hermitian", "product", "imaginary", "scale", "sum", "read"])
        if self.wish in COMPLEX and self.wish not in ("re", "im", "modulus"):
            kind, self.wish = self.wish, None
        if kind in COMPLEX:
            self.facts.add(kind)
        other = self.pick(self.dims)

        def c(d: str = dim) -> str:
            return self.complex(axes, d, depth - 1)

        forms = {
            "cis": lambda: f"cis({self.vector(axes, dim, depth - 1)})*({c()})",
            "fft": lambda: f"fft({self.pick([c, lambda: self.vector(axes, dim, depth - 1)])()})/{dim}",
            "ifft": lambda: f"ifft({c()})",
            "reflect": lambda: f"reflect({self.param(dim, sort='complex')}, {c()})",
            "permute": lambda: f"permute({self.order(dim)}, {c()})",
            "unpermute": lambda: f"unpermute({self.order(dim)}, {c()})",
            "modrelu": lambda: f"modrelu({c()}, {self.pick([self.param(dim), '0.1'])})",
            "conj": lambda: f"conj({c()})",
            "complex matvec": lambda: f"{self.param(dim, other, sort='complex')}@({c(other)})",
            "hermitian": lambda: f"{self.param(other, dim, sort='complex')}.H@({c(other)})",
            "product": lambda: f"({c()})*({(b := c())})/(1 + abs({b})**2)",
            "imaginary": lambda: f"({self.vector(axes, dim, depth - 1)})*0.5j",
            "scale": lambda: f"({self.scalar(axes, depth - 1)})*({c()})",
            "sum": lambda: f"({c()} - {c()})",
            "read": c,
        }
        return forms[kind]()

    def order(self, dim: str) -> str:
        """A constant permutation of that many."""
        if f"const P_{dim} = permutation({dim})" not in self.declarations:
            self.declarations.append(f"const P_{dim} = permutation({dim})")
        return f"P_{dim}"

    def matrix(self, kind: str, axes: tuple[str, ...], dim: str, depth: int) -> str:
        """A product with a matrix-valued stream (dim by H), or its transpose."""
        row = self.pick(self.dims) if kind == "transposed read" else dim
        found = self.read(axes, row, "matrix") if kind == "matrix read" or dim == "H" else None
        if not found:
            self.facts.discard(kind)
            return self.vector(axes, dim, depth - 1)
        shown = self.pick(
            [found, f"tanh({found})", f"softmax({found})", f"({found} - 0.5)", f"{found}/(1 + sum({found})**2)"]
        )
        if kind == "matrix read":
            return f"({shown})@({self.vector(axes, 'H', depth - 1)})"
        return f"({shown}).T@({self.vector(axes, row, depth - 1)})"

    def category(self, kind: str, axes: tuple[str, ...], dim: str, depth: int) -> str:
        streams = [s for s in self.streams if s.sort == "category"]
        reads = [(s, w) for s in streams if (w := self.index(s, axes) if s.axes else "") is not None]
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

    def boundary(self, dim: str | None, kinds: tuple[str, ...], before: list[Stream], sort: str = "real") -> str:
        """The text after `=` of a state with that dim."""
        kind = self.pick(kinds)
        if kind == "last":
            ends = [s for s in self.ends(dim, sort) if s in before]
            if ends:
                self.facts.add("boundary last")
                return f"last({self.pick(ends).name})"
            kind = "constant"
        self.facts.add(f"boundary {kind}")
        shape = (dim, "H") if sort == "matrix" else (dim,) if dim else ()
        if kind == "param":
            return self.param(*shape, sort="complex" if sort == "complex" else "")
        if kind == "input":
            name = self.fresh("c")
            written = f"({', '.join(shape)})" if len(shape) == 2 else dim or "scalar"
            self.declarations.append(f"input {name}: {'complex ' * (sort == 'complex')}{written}")
            self.streams.append(Stream(name, (), dim, sort=sort))
            return name
        return self.pick(["0", "0", "0.5", "-1"])

    def scan(self, axes: tuple[str, ...], kinds: tuple[str, ...]) -> None:
        """One to three mutually recurrent streams on the first of `axes`."""
        rng = self.rng
        n = rng.choice([1, 1, 2, 2, 3])
        dims = [self.pick([*self.dims, *self.dims, None]) for _ in range(n)]
        starts = [self.boundary(d, kinds, list(self.streams)) for d in dims]
        wide = len(axes) > 1
        members = [Stream(self.fresh("h"), axes, d, True) for d in dims]
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
            depth = 2 + self.depth
            own = self.vector(m.axes, m.dim, depth) if m.dim else self.scalar(m.axes, depth)
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
        value = self.vector(axes, dim, 3 + self.depth) if dim else self.scalar(axes, 2 + self.depth)
        self.facts.add(f"{len(axes)} axes")
        if self.wish == "def" or self.chance(0.15):
            self.facts.add("def")
            call = f"squash({value}, {self.pick(['2', self.param()])})"
            value = f"mix({value}, {self.vector(axes, dim, 1)}, {self.param()})" if dim and self.chance(0.4) else call
        if dim and axes and start is None:  # says its shape even when every leaf is a scalar or without an axis
            value = f"{value} + {self.param(dim)}"
        self.body.append(f"{new.name}{where} = {value}")
        self.finish([new])

    def finish(self, members: list[Stream]) -> None:
        self.streams += members
        self.unread += members

    def text(self, header: str) -> str:
        return "\n  ".join([f"cell {self.name}({header}):", *self.declarations, *self.body]) + "\n"

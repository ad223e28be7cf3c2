"""Shapes with holes: dims that start with `?` are unknown until something fixes them."""

from __future__ import annotations

from dsl.system.dims import Dim

Shape = tuple[Dim, ...]


class Mismatch(Exception):
    """Two shapes or dims that cannot be the same."""

    def __init__(self, left: object, right: object) -> None:
        super().__init__(f"{left} is not {right}")
        self.left, self.right = left, right


class Unifier:
    """Equations between dims, solved as they come."""

    def __init__(self) -> None:
        self.solved: dict[str, Dim] = {}
        self._count = 0
        self.changes = 0

    def fresh(self) -> Dim:
        self._count += 1
        return Dim.of(f"?{self._count}")

    def dim(self, dim: Dim) -> Dim:
        """With everything known put in."""
        if self.solved.keys().isdisjoint(dim.names):
            return dim
        found = dim
        while not self.solved.keys().isdisjoint(found.names):
            found = found.bind(self.solved)
        if (name := dim.name) is not None:
            self.solved[name] = found  # the next time at once: chains of sizes grow with a stack's layers
        return found

    def shape(self, shape: Shape) -> Shape:
        return tuple(map(self.dim, shape))

    def knows(self, shape: Shape) -> bool:
        """Whether no size of it is unknown any more."""
        return not any(n.startswith("?") for d in shape for n in self.dim(d).names)

    def unify_dims(self, left: Dim, right: Dim) -> None:
        left, right = self.dim(left), self.dim(right)
        if left == right:
            return
        difference = left - right
        for monomial, factor in difference.terms.items():
            if len(monomial) == 1 and monomial[0].startswith("?") and abs(factor) == 1:
                name = monomial[0]
                rest = Dim({m: c for m, c in difference.terms.items() if m != monomial})
                if name not in rest.names:
                    value = -rest if factor == 1 else rest
                    if all(c <= 0 for c in value.terms.values()):
                        raise Mismatch(left, right)  # nothing is left for it: every size is at least 1
                    self.solved[name] = value
                    self.changes += 1
                    return
        if any(n.startswith("?") for n in difference.names):
            self._divide(difference)
            return
        raise Mismatch(left, right)

    def _divide(self, difference: Dim) -> None:
        """`2*?1 - 2*H`: solve where the one unknown's factor divides the rest; otherwise wait."""
        for monomial, factor in difference.terms.items():
            if len(monomial) == 1 and monomial[0].startswith("?"):
                rest = {m: c for m, c in difference.terms.items() if m != monomial}
                if all(c % factor == 0 for c in rest.values()) and not any(n.startswith("?") for m in rest for n in m):
                    self.solved[monomial[0]] = Dim({m: -c // factor for m, c in rest.items()})
                    self.changes += 1
                    return

    def unify(self, left: Shape, right: Shape) -> None:
        if len(left) != len(right):
            raise Mismatch(show(self.shape(left)), show(self.shape(right)))
        try:
            for a, b in zip(left, right, strict=True):
                self.unify_dims(a, b)
        except Mismatch:
            raise Mismatch(show(self.shape(left)), show(self.shape(right))) from None


def show(shape: Shape) -> str:
    """As the language writes it: `H`, `(H, D)`, `scalar`; in words where a size is not known yet."""
    if not shape:
        return "scalar"
    known = [not any(n.startswith("?") for n in d.names) for d in shape]
    if all(known):
        return str(shape[0]) if len(shape) == 1 else "(" + ",".join(map(str, shape)) + ")"
    if len(shape) == 1:
        return "a vector of yet unknown size"
    if len(shape) == 2 and any(known):
        return f"a matrix of {shape[1]} columns" if known[1] else f"a matrix of {shape[0]} rows"
    return "a matrix of yet unknown sizes"

"""What all sequences share, into a program's memory and out of it: weights packed, vectors and tables laid out for the
loops, and totals added up from the parts of a batch.

These are programs of their own, run before the loops and after them.
"""

from __future__ import annotations

from dsl.plan.assemble import Piece
from dsl.plan.writer import Writer
from dsl.system.dims import Dim

TILE = 16  # of a transposed copy: a cache line of float32 either way


class Shared(Writer):
    """Text for shared values and totals."""

    # ------------------------------------------------------------ in

    def _preparing(self) -> list[Piece]:
        """The program that fills P; shared values come as flat arrays m_* in the order of `shared`."""
        matrices = (t.weight for p in self.packs for t, _, _ in p.parts)
        self.shared = list(dict.fromkeys([*matrices, *self.vectors, *self.tables]))
        return [*self._packing(), *map(self._vector, self.vectors), *map(self._table, self.tables)]

    def _packing(self) -> list[Piece]:
        """Weights, matrix by matrix."""
        pieces = []
        for p in self.packs:
            total_n = " + ".join([self.padded(c) for c in p.columns[:-1]] + [self.size(p.columns[-1])])
            total_k = " + ".join([self.padded(r) for r in p.rows[:-1]] + [self.size(p.rows[-1])])
            for term, before_n, before_k in p.parts:
                n0 = " + ".join(self.padded(c) for c in before_n) or "0"
                k0 = " + ".join(self.padded(r) for r in before_k) or "0"
                n, k = self.size(p.columns[len(before_n)]), self.size(p.rows[len(before_k)])
                call, first, second = ("pack_transposed", k, n) if term.transposed else ("pack", n, k)
                w = f"m_{self._ident(term.weight)}"
                line = (
                    f"    {call}({w}, 0, {second}, {first}, {second}, P, o_{p.name}, {n0}, {k0}, {total_n}, {total_k})"
                )
                pieces.append(Piece("pack", f"{term.weight} into its place.", (line,)))
        return pieces

    def _vector(self, name: str) -> Piece:
        """A scalar, a vector or the rows of a matrix, each padded."""
        self.lines = []
        shape, source = self.normal.streams[name].shape, f"m_{self._ident(name)}"
        depth, here, dense = self._matrix_rows(1, shape)
        count = self.size(shape[-1]) if shape else "1"
        self.put(depth, f"copy(P, o_P_{self._ident(name)}{here}, {source}, 0{dense}, {count})")
        return Piece("lay", f"{name} into its place.", tuple(self.lines))

    def _table(self, name: str) -> Piece:
        """A looked-up matrix column by column, behind one of zeros."""
        self.lines = []
        ident = f"{self._ident(name)}_columns"
        rows, columns = map(self.size, self.normal.streams[name].shape)
        p, m = self.scope("P"), self.scope(f"m_{name}")
        self._tiles(
            columns,
            rows,
            f"store_{p}(P, o_{ident} + (i + 1) * w_{ident} + j, load_{m}(m_{self._ident(name)}, j * {columns} + i))",
        )
        return Piece("lay", f"{name}, columns after one another, into its place.", tuple(self.lines))

    # ------------------------------------------------------------ out

    def _collecting(self, total: str) -> list[Piece]:
        """A total's contributions in A, each added to the array s_* that holds it."""
        return [self._contribution(total, name, bool(turned)) for name, turned in self.normal.totals[total]]

    def _contribution(self, total: str, name: str, turned: bool) -> Piece:
        self.lines = []
        kind, dims = self.totals[name]
        ident = self.places[name].ident
        if kind == "total" and not turned:
            self._add_rows(total, ident, dims)
        elif kind == "scatter":  # kept column by column, behind one of zeros
            self._add_matrix(
                total, self.size(dims[1]), self.size(dims[0]), f"o_{ident} + (i + 1) * w_{ident}", not turned
            )
        else:
            stride = f"w_{ident}" if kind == "outer" else self.padded(dims[1])
            self._add_matrix(total, self.size(dims[0]), self.size(dims[1]), f"o_{ident} + i * {stride}", turned)
        return Piece("add", f"{total}, this part's share.", tuple(self.lines))

    def _add_rows(self, total: str, ident: str, shape: tuple[Dim, ...]) -> None:
        if not shape:
            self.put(1, self._add(total, "0", f"o_{ident}"))
            return
        depth, here, dense = self._matrix_rows(1, shape)
        self.put(depth, f"for j in range({self.size(shape[-1])}):")
        self.put(depth + 1, self._add(total, f"0{dense} + j", f"o_{ident}{here} + j"))

    def _add_matrix(self, total: str, rows: str, columns: str, row: str, turned: bool) -> None:
        """The rows of a region; `turned`, they are the columns of the total."""
        if turned:
            self._tiles(rows, columns, self._add(total, f"j * {rows} + i", f"{row} + j"))
            return
        self.put(1, f"for i in range({rows}):")
        self.put(2, f"for j in range({columns}):")
        self.put(3, self._add(total, f"i * {columns} + j", f"{row} + j"))

    def _add(self, total: str, place: str, source: str) -> str:
        target, s, a = f"s_{self._ident(total)}", self.scope(f"s_{total}"), self.scope("A")
        return f"store_{s}({target}, {place}, load_{s}({target}, {place}) + load_{a}(A, {source}))"

    def _tiles(self, rows: str, columns: str, line: str) -> None:
        """A transposed copy: i < rows and j < columns, in tiles, so that lines of neither side come twice."""
        self.put(1, f"for start in range(0, {rows}, {TILE}):")
        self.put(2, f"for j in range({columns}):")
        self.put(3, f"for i in range(start, min({rows}, start + {TILE})):")
        self.put(4, line)

    def _at_stage(self, total: str) -> int:
        """The stage of the loops after which a total is complete."""
        return max((self.normal.stages.get(d, 0) for d, _ in self.normal.totals[total]), default=0)


__all__ = ["Shared"]

"""What all sequences share, into a program's memory and out of it: weights packed, vectors and tables laid out for the
loops, and totals added up from the parts of a batch.

These are programs of their own, run before the loops and after them.
"""

from __future__ import annotations

from dsl.plan.assemble import Piece
from dsl.plan.writer import Writer

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
            1,
            columns,
            rows,
            f"store_{p}(P, o_{ident} + (i + 1) * w_{ident} + j, load_{m}(m_{self._ident(name)}, j * {columns} + i))",
        )
        return Piece("lay", f"{name}, columns after one another, into its place.", tuple(self.lines))

    # ------------------------------------------------------------ out

    def _collecting(self, total: str) -> list[Piece]:
        """A total's contributions in A, each added to the array s_* that holds it."""
        shares = self.normal.totals[total]
        return [self._contribution(total, name, bool(turned), k == 0) for k, (name, turned) in enumerate(shares)]

    def _contribution(self, total: str, name: str, turned: bool, first: bool) -> Piece:
        """One of them; the `first` of the first part is not added, and what was in the array does not matter."""
        self.lines = []
        if first:
            self.put(1, "if later:")
            self._collect(2, total, name, turned, add=True)
            self.put(1, "else:")
            self._collect(2, total, name, turned, add=False)
        else:
            self._collect(1, total, name, turned, add=True)
        return Piece("add", f"{total}, this part's share.", tuple(self.lines))

    def _collect(self, depth: int, total: str, name: str, turned: bool, add: bool) -> None:
        kind, dims = self.totals[name]
        ident = self.places[name].ident
        put = self._add if add else self._set
        if kind == "total" and not turned:
            if not dims:
                self.put(depth, put(total, "0", f"o_{ident}"))
                return
            depth, here, dense = self._matrix_rows(depth, dims)
            self.put(depth, f"for j in range({self.size(dims[-1])}):")
            self.put(depth + 1, put(total, f"0{dense} + j", f"o_{ident}{here} + j"))
            return
        rows, columns = map(self.size, dims)
        row = f"o_{ident} + i * {f'w_{ident}' if kind == 'outer' else self.padded(dims[1])}"
        if kind == "scatter":  # kept column by column, behind one of zeros
            rows, columns, row, turned = columns, rows, f"o_{ident} + (i + 1) * w_{ident}", not turned
        if turned:  # the rows of the region are the columns of the total
            self._tiles(depth, rows, columns, put(total, f"j * {rows} + i", f"{row} + j"))
            return
        self.put(depth, f"for i in range({rows}):")
        self.put(depth + 1, f"for j in range({columns}):")
        self.put(depth + 2, put(total, f"i * {columns} + j", f"{row} + j"))

    def _add(self, total: str, place: str, source: str) -> str:
        target, s, a = f"s_{self._ident(total)}", self.scope(f"s_{total}"), self.scope("A")
        return f"store_{s}({target}, {place}, load_{s}({target}, {place}) + load_{a}(A, {source}))"

    def _set(self, total: str, place: str, source: str) -> str:
        target, s, a = f"s_{self._ident(total)}", self.scope(f"s_{total}"), self.scope("A")
        return f"store_{s}({target}, {place}, load_{a}(A, {source}))"

    def _tiles(self, depth: int, rows: str, columns: str, line: str) -> None:
        """A transposed copy: i < rows and j < columns, in tiles, so that lines of neither side come twice."""
        self.put(depth, f"for start in range(0, {rows}, {TILE}):")
        self.put(depth + 1, f"for j in range({columns}):")
        self.put(depth + 2, f"for i in range(start, min({rows}, start + {TILE})):")
        self.put(depth + 3, line)

    def _at_stage(self, total: str) -> int:
        """The stage of the loops after which a total is complete."""
        return max((self.normal.stages.get(d, 0) for d, _ in self.normal.totals[total]), default=0)


__all__ = ["Shared"]

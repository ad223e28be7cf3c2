"""Loop nests: where each definition of the normal form is computed, and in what order.

Each scan of the schedule becomes a `Nest` over its axis, run in chunks of steps. A chunk has three
sections: `before` (what the recurrence needs but does not feed: hoisted products, loads), `step` (run step
by step) and `after` (what needs the recurrence: weight gradients, read-outs). Definitions outside any
recurrence join a neighbouring scan when they read it at aligned steps, so that its values are still in the
cache; what cannot goes to nests of its own. Symbolic still: no sizes, no memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dsl.plan.definitions import Definition, Normal, Term, is_home, reads, shift_of
from dsl.plan.loops import AFTER, BEFORE, STEP, Arrangement, Group, Item, Loop, Nest, Outers, Products, Transfer
from dsl.plan.schedule import Block, Edge, Scan, Vector, order_blocks
from dsl.system.system import Read
from tinygrad_seq.symbol import Symbol

POINTWISE = ("pointwise", "reduce", "total", "scatter", "pieces")


def arrange(normal: Normal) -> Arrangement:
    return _Arranger(normal).run()


class _Arranger:
    def __init__(self, normal: Normal) -> None:
        self.normal = normal
        self.system = normal.system
        self.definitions = normal.definitions
        self.reads = {n: [r for r in reads(d) if r.name in self.definitions] for n, d in self.definitions.items()}
        self.needs: dict[str, list[tuple[str, Read | None]]] = {}  # None: the whole of it, before
        for name, d in self.definitions.items():
            found: list[tuple[str, Read | None]] = [(r.name, r) for r in self.reads[name]]
            if isinstance(d.boundary, str) and d.boundary in self.definitions:
                found.append((d.boundary, None))
            self.needs[name] = [(n, r) for n, r in found if self.definitions[n].kind != "kept"]
        self.spilled: list[str] = []

    def run(self) -> Arrangement:
        order, scans = self._schedule()
        keys = self._keys(order, scans)
        nests: list[Nest] = []
        stages = self.normal.stages
        groups: dict[tuple[int, int], list[str]] = {}
        for n in order:
            groups.setdefault((stages.get(n, 0), keys[n]), []).append(n)
        for (stage, key), names in sorted(groups.items()):
            scan, members = scans[key // 2] if key % 2 else (None, ())
            first = len(nests)
            if scan is not None and members[0] in names:
                nest = Nest(scan.axis, scan.direction, names, frozenset(members), lagging(scan))
                nest.loops = inner_loops(scan)
                nests.append(nest)
            else:
                nests += self._vector_nests(names)
            for nest in nests[first:]:
                nest.stage = stage
        home = {n: i for i, nest in enumerate(nests) for n in nest.members}
        done: set[str] = {n for n, d in self.definitions.items() if d.kind == "kept"}
        for nest in nests:
            self._sections(nest, done)
        self._spill(nests, home)
        return Arrangement(self.normal, nests, home, self.spilled)

    # ------------------------------------------------------------ which nest

    def _schedule(self) -> tuple[list[str], list[tuple[Scan, tuple[str, ...]]]]:
        names = [n for n, d in self.definitions.items() if d.kind != "kept"]
        edges = []
        for name in names:
            over = frozenset(self.definitions[name].over)
            for source, read in self.needs[name]:
                edges.append(Edge(name, source, () if read is None else read.index, over))
        order: list[str] = []
        scans: list[tuple[Scan, tuple[str, ...]]] = []
        for block in order_blocks(self.system.with_(streams=self.normal.streams), names, edges):
            if isinstance(block, Vector):
                order += block.equations
                continue
            members = equations_of(block)
            scans.append((block, members))
            order += members
        return order, scans

    def _aligned(self, reader: str, source: str, read: Read | None, axis: str | None, direction: int) -> bool:
        """Whether `reader` may run in a loop over `axis` that computes `source` in the same or an earlier turn."""
        d = self.definitions[source]
        if read is None or axis not in d.axes or axis not in self.definitions[reader].domain:
            return False
        shift = shift_of(self.system, read, d.axes, axis)
        return shift is not None and direction * shift <= 0

    def _keys(self, order: Sequence[str], scans: Sequence[tuple[Scan, tuple[str, ...]]]) -> dict[str, int]:
        """Odd keys are scans, even keys the gaps around them; each definition as near to its neighbours as is legal."""
        fixed = {n: 2 * i + 1 for i, (_, members) in enumerate(scans) for n in members}
        keys: dict[str, int] = {}
        consumers: dict[str, list[tuple[str, Read | None]]] = {n: [] for n in order}

        def lowest(name: str, without: str = "") -> int:
            low = 0
            for source, read in self.needs[name]:
                if source not in keys or source == without:  # within a recurrence
                    continue
                key = keys[source]
                if key % 2 and not self._joins(name, source, read, scans[key // 2][0]):
                    key += 1
                low = max(low, key)
            return fixed.get(name, low)

        for name in order:
            keys[name] = lowest(name)
            for source, read in self.needs[name]:
                consumers[source].append((name, read))
        for name in reversed(order):
            if name in fixed or keys[name] % 2:
                continue
            high = None
            for reader, read in consumers[name]:
                key = keys[reader]
                if not consumers[reader] and reader not in fixed:  # a total, which goes where its sources are
                    key = lowest(reader, without=name)
                    if key <= keys[name]:
                        continue
                if key % 2 and not self._joins(reader, name, read, scans[key // 2][0]):
                    key -= 1
                high = key if high is None else min(high, key)
            keys[name] = keys[name] if high is None else max(high, keys[name])
        keys.update({n: lowest(n) for n in order if not consumers[n]})
        return keys

    def _joins(self, reader: str, source: str, read: Read | None, scan: Scan) -> bool:
        """Whether what is not part of a recurrence may share its loop; a skewed one keeps to itself."""
        return not any(scan.skew.values()) and self._aligned(reader, source, read, scan.axis, scan.direction)

    def _vector_nests(self, names: Sequence[str]) -> list[Nest]:
        nests: list[Nest] = []
        place: dict[str, int] = {}
        for name in names:
            domain = self.definitions[name].domain
            low = 0
            needs: dict[int, list[tuple[str, Read | None]]] = {}
            for s, r in self.needs[name]:
                if s in place:
                    needs.setdefault(place[s], []).append((s, r))
            if needs:
                last = max(needs)
                low = last if self._hosts(nests[last], name, needs[last]) else last + 1
            joined = next((i for i in range(low, len(nests)) if self._hosts(nests[i], name, ())), None)
            if joined is None:
                nests.append(Nest(domain[0] if domain else None, 1, [], frozenset()))
                joined = len(nests) - 1
            nests[joined].members.append(name)
            place[name] = joined
        return nests

    def _hosts(self, nest: Nest, name: str, needs: Iterable[tuple[str, Read | None]]) -> bool:
        """Whether a loop without recurrence may compute `name` beside what it needs there."""
        domain = self.definitions[name].domain
        if nest.axis is None:
            return not domain and all(read is not None for _, read in needs)
        return nest.axis in domain and all(self._aligned(name, s, r, nest.axis, 1) for s, r in needs)

    # ------------------------------------------------------------ which section

    def _sections(self, nest: Nest, done: set[str]) -> None:
        inside = set(nest.members)
        for name in nest.members:
            nest.section[name] = self._section(nest, name, inside)
        pending: dict[str, list[tuple[str, tuple[Term, ...], bool]]] = {BEFORE: [], STEP: [], AFTER: []}
        for name in nest.members:
            d = self.definitions[name]
            if d.kind != "product":
                pending[nest.section[name]].append((name, (), True))
                continue
            early = [t for t in d.terms if nest.section[name] == STEP and self._early(nest, t)]
            late = [t for t in d.terms if t not in early]
            if early:
                pending[BEFORE].append((name, tuple(early), not late))
            if late:
                pending[nest.section[name]].append((name, tuple(late), True))
        started: set[str] = set()
        for section in (BEFORE, STEP, AFTER):
            self._list(nest, section, pending[section], done, started)

    def _early(self, nest: Nest, term: Term) -> bool:
        section = nest.section.get(term.operand.name)
        return section is None or section == BEFORE

    def _section(self, nest: Nest, name: str, inside: set[str]) -> str:
        if nest.axis is None or not nest.recurrent:
            return AFTER
        if name in nest.recurrent:
            return STEP
        sources = {nest.section[s] if s in nest.section else STEP for s, _ in self.needs[name] if s in inside}
        if not sources & {STEP, AFTER}:
            return BEFORE
        return STEP if AFTER not in sources and self.definitions[name].kind in POINTWISE else AFTER

    def _list(
        self,
        nest: Nest,
        section: str,
        pending: list[tuple[str, tuple[Term, ...], bool]],
        done: set[str],
        started: set[str],
        around: tuple[Loop, ...] = (),
    ) -> None:
        """Order a section's work: loads, then products, then loops, each as soon and as many as are ready."""
        items = nest.sections[section] if not around else around[-1].items
        waiting = {name for name, _, last in pending if last}
        while pending:
            inner = {p[0]: self._inner(nest, section, p[0], len(around)) for p in pending}
            blocked = {p[0] for p in pending if self._blocked(nest, section, p, waiting, inner[p[0]])}
            ready = [p for p in pending if p[0] not in blocked and inner[p[0]] is None]
            loads = [p for p in ready if self.definitions[p[0]].kind == "load"]
            products = [p for p in ready if p[1]]
            lags = nest.lags(products[0][0]) if products else ()
            products = [p for p in products if nest.lags(p[0]) == lags]
            if not ready:
                loop = next(loop for loop in inner.values() if loop is not None and not loop.members & blocked)
                chosen = [p for p in pending if p[0] in loop.members]
                items.append(loop)
                self._list(nest, section, list(chosen), done, started, (*around, loop))
            elif loads:
                chosen = loads
                items += [Transfer("load", p[0]) for p in loads]
            elif products:
                chosen = products
                terms = []
                for name, own, _ in products:
                    for term in own:
                        terms.append((name, term, name not in started))
                        started.add(name)
                items.append(Products(terms, lags if section == STEP else (0,)))
            else:
                chosen = self._loop(nest, ready, items, done)
            for p in chosen:
                pending.remove(p)
                if p[2]:
                    waiting.discard(p[0])
                    if ready:  # else its own loop has seen to the rest
                        done.add(p[0])
                    if (
                        ready
                        and self.definitions[p[0]].wanted
                        and self.definitions[p[0]].kind
                        not in (
                            "total",
                            "outer",
                            "scatter",
                        )
                    ):
                        self._unload(nest, section, p[0])

    def _unload(self, nest: Nest, section: str, name: str) -> None:
        last = AFTER if nest.axis in self.definitions[name].axes or nest.axis is None else "end"
        nest.sections.setdefault(last, []).append(Transfer("unload", name))

    def _loop(
        self, nest: Nest, ready: list[tuple[str, tuple[Term, ...], bool]], items: list[Item], done: set[str]
    ) -> list[tuple[str, tuple[Term, ...], bool]]:
        outers = [p for p in ready if self.definitions[p[0]].kind == "outer"]
        loops = [p for p in ready if self.definitions[p[0]].kind in POINTWISE]
        if not loops:
            items.append(Outers([p[0] for p in outers]))
            return outers
        domain = set(self.definitions[loops[0][0]].domain)
        lags = nest.lags(loops[0][0])
        chosen = [p for p in loops if set(self.definitions[p[0]].domain) == domain and nest.lags(p[0]) == lags]
        held = frozenset(n for n in done if not any(a > b for a, b in zip(nest.lags(n), lags, strict=False)))
        items.append(Group(tuple(a for a in self.system.axes if a in domain), [p[0] for p in chosen], held, lags))
        return chosen

    @staticmethod
    def _inner(nest: Nest, section: str, name: str, depth: int) -> Loop | None:
        """The loop, `depth` loops within a nest, in which a definition of a step is computed."""
        loops = nest.loops.get(name, ()) if section == STEP else ()
        return loops[depth] if len(loops) > depth else None

    def _blocked(
        self,
        nest: Nest,
        section: str,
        entry: tuple[str, tuple[Term, ...], bool],
        waiting: set[str],
        own: Loop | None = None,
    ) -> bool:
        """Whether an entry reads what is still to come, outside its own loop."""
        name, terms, _ = entry
        found: Iterable[Read] = [t.operand for t in terms] if terms else self.reads[name]
        for read in found:
            if read.name not in waiting or (own is not None and read.name in own.members):
                continue
            if section != STEP or self._same_turn(nest, name, read):
                return True
        return False

    def _same_turn(self, nest: Nest, reader: str, read: Read) -> bool:
        """Whether a read is of what the same turn of all common loops computes."""
        axes = self.definitions[read.name].axes
        for mine, yours in zip(nest.around(reader), nest.around(read.name), strict=False):
            if mine is not yours or mine.axis is None or mine.axis not in axes:
                continue
            shift = shift_of(self.system, read, axes, mine.axis)
            behind = mine.skew.get(reader, 0) - mine.skew.get(read.name, 0)
            if shift is not None and shift * mine.direction != behind:
                return False
        return True

    # ------------------------------------------------------------ store or recompute

    def _spill(self, nests: Sequence[Nest], home: dict[str, int]) -> None:
        """Costly values that a later loop would compute a second time are kept by the first."""
        made: dict[Symbol, tuple[int, Group]] = {}
        for k, nest in enumerate(nests):
            for _, item in nest.items:
                if not isinstance(item, Group):
                    continue
                available = set(item.available)
                for node in self._computed(item, available):
                    if node in made and made[node][1] is not item and node.op is not None and node.op.costly:
                        self._keep(node, *made[node], nests, home)
                    else:
                        made.setdefault(node, (k, item))

    def _computed(self, group: Group, available: set[str]) -> list[Symbol]:
        """The nodes a group evaluates: everything below its outputs down to what is in memory."""
        stored = self.normal.stored
        order: list[Symbol] = []
        seen: set[Symbol] = set()
        for name in group.outputs:
            stack = [e for e in self.definitions[name].expressions()]
            while stack:
                node = stack.pop()
                held = stored.get(node)
                if node in seen or (held is not None and held in available and held not in group.outputs):
                    continue
                seen.add(node)
                order.append(node)
                stack += node.args
        return order

    def _keep(self, node: Symbol, k: int, group: Group, nests: Sequence[Nest], home: dict[str, int]) -> None:
        if node in self.normal.stored or nests[k].skew:
            return
        kind = self.normal.kinds.of(node)
        axes = tuple(a for a in self.system.axes if a in kind.axes)
        if set(axes) != set(group.inner):
            return
        name = f"spill_{len(self.spilled) + 1}"
        self.normal.streams[name] = self.normal.streams[group.outputs[0]].__class__(name, "equation", axes, kind.shape)
        self.definitions[name] = Definition(name, "pointwise", axes, kind.shape, value=node)
        self.normal.stored[node] = name
        self.spilled.append(name)
        group.outputs.append(name)
        nest = nests[k]
        nest.members.append(name)
        home[name] = k
        nest.section[name] = next(s for s, i in nest.items if i is group)
        after = False
        for other in nests:
            for _, item in other.items:
                if isinstance(item, Group):
                    if after:
                        item.available |= {name}
                    after = after or item is group


def equations_of(block: Block) -> tuple[str, ...]:
    """What a block computes, in order."""
    return block.equations if isinstance(block, Vector) else tuple(n for b in block.body for n in equations_of(b))


def lagging(scan: Scan) -> dict[str, int]:
    return {n: k for n, k in scan.skew.items() if k}


def inner_loops(scan: Scan, around: tuple[Loop, ...] = ()) -> dict[str, tuple[Loop, ...]]:
    """For what is computed in loops within `scan`, those loops."""
    found: dict[str, tuple[Loop, ...]] = {}
    for block in scan.body:
        if isinstance(block, Scan):
            members = equations_of(block)
            path = (*around, Loop(block.axis, block.direction, frozenset(members), lagging(block)))
            found.update(dict.fromkeys(members, path))
            found.update(inner_loops(block, path))
    return found


def lagged(definition: Mapping[str, Definition], read: Read) -> bool:
    return not is_home(read, definition[read.name].axes)

"""A whole picture from a system: which steps of which lane are shown, and where the lanes stand.

Lanes stand on shelves: a lane above those that it reads (the decoder above its encoder, a derived axis above the one
it is counted from with each step over those it reads), lanes that do not know one another side by side, what has no
time axis beside the lane that it feeds or reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dsl.system.system import System
from viz import svg
from viz.cross import BUS, MARGIN, Crossing, Way, above, length_of, source_steps, ways
from viz.graph import Graph, build
from viz.route import lay_out
from viz.scene import Scene
from viz.shown import room_for, shown_steps
from viz.step import Step
from viz.tiling import Tiles

DEFAULT_STEPS = 4
BETWEEN = 56.0  # between a lane and one that is counted from it
BESIDE = 84.0  # between lanes side by side
WAYS = 64.0  # for what runs down between lanes side by side
FAN = 84.0  # between a lane and one that reads all of it: wires to one step stay apart


@dataclass
class Picture:
    """A scene with what it was made from; `lengths` are the steps of every lane."""

    graph: Graph
    steps: dict[str, Step]
    tiles: dict[str, Tiles]
    scene: Scene
    lengths: dict[str, int]


def longest_lag(graph: Graph, lane: str) -> int:
    return max(
        (abs(w.lag) for w in graph.wires if w.relation == "step" and graph.nodes[w.target].lane == lane), default=1
    )


_recent: list[tuple[System, Graph, dict[str, Step]]] = []


def laid_out(system: System) -> tuple[Graph, dict[str, Step]]:
    """A system's graph and the steps of its lanes as far as they are laid out: the views of one cell share them."""
    for known, graph, steps in _recent:
        if known is system:
            return graph, steps
    made: tuple[System, Graph, dict[str, Step]] = (system, build(system), {})
    _recent[:] = [made, *_recent[:3]]
    return made[1], made[2]


def compose(
    system: System,
    lengths: Mapping[str, int] | None = None,
    keep: Sequence[int] = (),
    near: Sequence[int] = (),
    first: int = 0,
    title: str = "",
    limit: int = 8,
    one: tuple[int, frozenset[str]] | None = None,
) -> Picture:
    """Lay out and tile every lane. `lengths` gives steps for the axes; `keep` steps are shown whatever is elided, as
    happens beyond `limit` and to wide steps, those `near` them where these are not wide; wires from a whole axis to
    step and nodes `one` are drawn one by one."""
    graph, known = laid_out(system)
    scene = Scene(system.name, title or f"{system.name} unrolled in time")
    picture = Picture(graph, {}, {}, scene, _lengths(graph, lengths or {}))
    lanes = [a for a in graph.lanes if not a or picture.lengths[a]]
    for lane in lanes:
        if lane not in known:
            known[lane] = lay_out(graph, lane, stepped=bool(lane))
        picture.steps[lane] = known[lane]
    shelves = _shelves(graph, picture.steps)
    shelf = {lane: n for n, lanes in enumerate(shelves) for lane in lanes}
    crossing = ways(graph, picture.steps, shelf)
    fitting = min(room_for(step) for step in picture.steps.values())
    shown = {a: _shown(picture, a, keep, near, limit, fitting) for a in lanes}
    for lane in (a for lanes in shelves for a in lanes):
        picture.tiles[lane] = _place(picture, lane, shown[lane], first)
    _side_by_side(picture, shelves, shown, first)
    top = 0.0
    for n, lanes in enumerate(shelves):
        tiles = [picture.tiles[a] for a in lanes]
        room = _room(graph, [w for w in crossing if n in (w.out, w.into)], lanes)
        hang = max(t.bottom - t.y - t.panel_height for t in tiles)  # data and long lags below the panels
        foot = top - room - hang if n else max(t.panel_height for t in tiles)
        for t in tiles:
            t.move(0.0, round(foot - t.panel_height, 1))
        top = min(t.y for t in tiles)
    for tile in picture.tiles.values():
        tile.run()
    Crossing(scene, graph, picture.tiles, picture.lengths, shelf, one).run()
    svg.fit(scene)
    return picture


def _shown(
    picture: Picture, lane: str, keep: Sequence[int], near: Sequence[int], limit: int, room: int
) -> list[int | None]:
    """Which steps of a lane are drawn; all lanes have room for as many, so that they stand step over step. Fewer than
    `limit` only where not even four fit on a screen."""
    length = picture.lengths.get(lane, 1)
    named = _named(picture.graph, lane, length, limit)
    if room > 3:
        return shown_steps(length, [*keep, *near, *named], limit)
    return shown_steps(length, [*keep, *named], limit, room)


def _lengths(graph: Graph, given: Mapping[str, int]) -> dict[str, int]:
    system = graph.system
    out: dict[str, int] = {}
    for name, axis in system.axes.items():
        if axis.length is None:
            most = min(8, max(DEFAULT_STEPS, longest_lag(graph, name) + 2))
            out[name] = given.get(name) or enough(system, name, most)
    return _counted(system, out)


def _counted(system: System, lengths: Mapping[str, int]) -> dict[str, int]:
    """`lengths` with those of the axes that are counted from others."""
    out = dict(lengths)
    for name, axis in system.axes.items():
        if axis.length is not None:
            out[name] = length_of(system, name, out)
    return out


def enough(system: System, axis: str, steps: int, most: int = 8) -> int:
    """`steps` of an axis, or as many more (up to `most`) as what is counted from it needs to have one."""
    for n in range(steps, most + 1):
        lengths = _counted(
            system, {a: n if a == axis else most for a, one in system.axes.items() if one.length is None}
        )
        if all(lengths[a] for a in system.axes if system.axes[a].length is not None):
            return n
    return steps


def _named(graph: Graph, lane: str, length: int, limit: int) -> list[int]:
    """Steps of a lane that an equation reads by number (`end[len(v)-2]`): drawn beside the first ones."""
    found = set()
    for w in graph.wires:
        index = w.read.index[0] if w.read and w.read.index else None
        if index is not None and index.axis is None and graph.nodes[w.source].lane == lane:
            found.add(int(index.at(0, {index.length: length} if index.length else {})))
    inside = sorted(k for k in found if 0 <= k < length)
    return [*range(min(3, limit - 1)), *inside] if set(inside) - {0, length - 1} else []


def _shelves(graph: Graph, steps: Mapping[str, Step]) -> list[list[str]]:
    """Lanes by the shelf they stand on, the lowest first."""
    system = graph.system
    bases = [a for a in steps if a and above(system, a, steps) is None]
    root: dict[str, str] = {}
    for lane in steps:
        base = lane
        while (under := above(system, base, steps) if base else None) is not None:
            base = under
        root[lane] = base
    reads = {(root[w.reader], root[w.source]) for w in ways(graph, steps, {}) if root[w.reader] != root[w.source]}
    shelves: list[list[str]] = []
    left = list(bases)
    while left:
        free = [a for a in left if not any((a, b) in reads for b in left if b != a)] or left[:1]
        stacks = [[a, *(d for d in steps if d != a and root[d] == a)] for a in free]
        shelves += [[s[n] for s in stacks if n < len(s)] for n in range(max(map(len, stacks)))]
        left = [a for a in left if a not in free]
    if "" in steps:
        _timeless(graph, steps, shelves)
    return shelves


def _timeless(graph: Graph, steps: Mapping[str, Step], shelves: list[list[str]]) -> None:
    """What has no time axis stands left of what it feeds, or right of what it reads."""
    at = {lane: n for n, lanes in enumerate(shelves) for lane in lanes}
    known = ways(graph, steps, {})
    reads = {w.source for w in known if not w.reader and w.source}
    feeds = {w.reader for w in known if not w.source and w.reader}
    if not shelves:
        shelves.append([""])
    elif feeds - reads:
        shelves[min(at[a] for a in feeds - reads)].insert(0, "")
    else:
        shelves[max((at[a] for a in reads | feeds), default=0)].append("")


def _side_by_side(
    picture: Picture, shelves: list[list[str]], shown: Mapping[str, list[int | None]], first: int
) -> None:
    """Where the lanes of each shelf begin: the first with a time axis at 0, those of one width column by column; a
    derived lane over the steps that it reads."""
    system = picture.graph.system
    timed = [[a for a in lanes if a and above(system, a, picture.tiles) is None] for lanes in shelves]
    _columns(picture, [lanes[0] for lanes in timed if len(lanes) == 1], shown, first)
    for lanes in shelves:
        fixed = []
        for lane in lanes:
            base = above(system, lane, picture.tiles) if lane else None
            if base is not None:
                under = picture.tiles[base]
                x = _over(picture, picture.tiles[lane], under)
                picture.tiles[lane] = _place(picture, lane, shown[lane], first, under.x[0], x)
                fixed.append(picture.tiles[lane])
        _line_up([t for t in (picture.tiles[a] for a in lanes) if t not in fixed], fixed)


def _line_up(lanes: Sequence[Tiles], fixed: Sequence[Tiles]) -> None:
    """One beside the other, the first with a time axis at 0; or right of those that stand already."""
    right, trail = max((t.right for t in fixed), default=None), max((t.trail for t in fixed), default=0.0)
    for tiles in lanes:
        if right is not None:
            tiles.move(right + max(BESIDE, trail + tiles.lead + WAYS) - tiles.x[0], 0.0)
        right, trail = tiles.right, tiles.trail
    origin = 0.0 if fixed else next((t.x[0] for t in lanes if t.lane), 0.0)
    for tiles in lanes:
        tiles.move(-origin, 0.0)


def _columns(picture: Picture, lanes: Sequence[str], shown: Mapping[str, list[int | None]], first: int) -> None:
    """Lanes above one another that show as many steps, with the same left out, stand step over step."""
    by_shape: dict[tuple[bool, ...], list[str]] = {}
    for lane in lanes:
        by_shape.setdefault(tuple(s is None for s in shown[lane]), []).append(lane)
    for shape, group in by_shape.items():
        all_tiles = [picture.tiles[a] for a in group]
        half = [[0.0 if s is None else t.panel_width / 2 for s in t.steps] for t in all_tiles]
        widest = [
            max(t.x[k] + h[k] - t.x[0] - h[0] for t, h in zip(all_tiles, half, strict=True)) for k in range(len(shape))
        ]
        if len(group) > 1:
            lead = max(h[0] for h in half)
            for lane, h in zip(group, half, strict=True):
                x = [round(lead + w - own, 1) for w, own in zip(widest, h, strict=True)]
                picture.tiles[lane] = _place(picture, lane, shown[lane], first, columns=x)


def _place(
    picture: Picture,
    lane: str,
    steps: Sequence[int | None],
    first: int,
    x: float = 0.0,
    columns: Sequence[float] | None = None,
) -> Tiles:
    length = picture.lengths[lane] if lane else 1
    tiles = Tiles(picture.scene, picture.steps[lane], steps, length, (x, 0.0), first, columns)
    tiles.settle()
    return tiles


def _room(graph: Graph, crossing: Sequence[Way], lanes: Sequence[str]) -> float:
    """The height of the channel below a shelf."""
    room = 2 * MARGIN + BUS * (len(crossing) - 1) + 8
    if any(lane and above(graph.system, lane) is not None for lane in lanes):
        room = max(room, BETWEEN)
    return max(room, FAN) if any(w.every for w in crossing) else room


def _over(picture: Picture, tiles: Tiles, base: Tiles) -> list[float] | None:
    """x of each panel so that it stands over the steps it reads; None when they would overlap."""
    centre = {s: base.x[c] + base.panel_width / 2 for c, s in enumerate(base.steps) if s is not None}
    wires = [
        w
        for n in tiles.step.nets.values()
        for w in n.wires
        if picture.graph.nodes[w.source].lane == base.lane and w.relation == "index"
    ]
    out: list[float] = []
    for s in tiles.steps:
        if s is None:
            return None
        reads = [centre[k] for w in wires for k in source_steps(w, s, base, picture.lengths, tiles.lane) if k in centre]
        if not reads:
            return None
        out.append(round(sum(reads) / len(reads) - tiles.panel_width / 2, 1))
    tight = any(b - a < tiles.panel_width + tiles.gap / 2 for a, b in zip(out, out[1:], strict=False))
    return None if tight else out

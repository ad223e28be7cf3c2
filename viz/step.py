"""What a laid-out step is made of: boxes, ports, nets and the pieces of wire between them. Units are px."""

from __future__ import annotations

from dataclasses import dataclass, field

from viz.graph import Graph, Wire
from viz.rows import Rows


@dataclass
class Box:
    """A node's place: centre of its box, size of the box, and how far it reaches with its pills."""

    x: float
    y: float
    width: float
    height: float
    below: float = 0.0  # extra reach of pills under, left and right of the box
    above: float = 0.0
    left: float = 0.0
    right: float = 0.0

    @property
    def top(self) -> float:
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height / 2


@dataclass(frozen=True)
class Port:
    """Where a wire ends: its point, the side it arrives from, and the pill it plugs into (centre, width)."""

    x: float
    y: float
    side: str  # below | above | left | right
    pill: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Path:
    """A piece of a wire: cubic points (3n+1), the wires that share it, whether it ends and begins at a node."""

    net: str
    wires: tuple[Wire, ...]
    points: tuple[tuple[float, float], ...]
    head: bool
    tail: bool = False


@dataclass
class Net:
    """All wires of a step with one source: a node, a rail or a port."""

    key: str
    source: str
    kind: str  # out | rail | port
    wires: list[Wire] = field(default_factory=list)
    trunk: dict[int, float] = field(default_factory=dict)  # row -> x of the riser passing it


@dataclass
class Step:
    """The layout of one step of a lane."""

    lane: str
    graph: Graph
    rows: Rows
    boxes: dict[str, Box] = field(default_factory=dict)
    ports: dict[tuple[str, int], Port] = field(default_factory=dict)
    biases: dict[tuple[str, int], tuple[float, float, float]] = field(default_factory=dict)
    nets: dict[str, Net] = field(default_factory=dict)
    paths: list[Path] = field(default_factory=list)
    rail_y: dict[str, float] = field(default_factory=dict)
    rail_x: dict[str, float] = field(default_factory=dict)  # the far end of a rail inside the step
    lanes: dict[str, int] = field(default_factory=dict)  # nets that leave a state sideways and up: which of those lines
    row_y: list[float] = field(default_factory=list)
    width: float = 0.0
    height: float = 0.0
    dot: str = ""

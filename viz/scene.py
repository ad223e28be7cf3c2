"""A picture before it is written out: placed nodes, placed pieces of wire, panels and text, in px.

This is the one thing that the SVG and the DOT writers read. It knows what each mark stands for (the
equation's node at which step, the read it carries), so that a view can colour and number the same picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from viz.graph import Node, Wire
from viz.theme import Label

Point = tuple[float, float]


@dataclass
class Panel:
    x: float
    y: float
    width: float
    height: float
    label: str
    title: str = ""


@dataclass
class Pill:
    x: float
    y: float
    width: float
    label: Label
    parameter: str | None
    sign: str = "+"
    chosen: bool = False  # the parameter that a picture is about


@dataclass
class Mark:
    """A node in its place: `step` is its index on its lane, None for a value without time axis."""

    id: str
    node: Node
    step: int | None
    x: float
    y: float
    width: float
    height: float
    title: Label
    classes: list[str]
    pills: list[Pill] = field(default_factory=list)
    hint: str = ""

    @property
    def point(self) -> tuple[str, int | None]:
        return (self.node.key, self.step)


@dataclass(frozen=True)
class Read:
    """One read of one step: which node's value at which step enters which node's socket at which step."""

    wire: Wire
    source_step: int | None
    target_step: int | None


@dataclass
class Piece:
    """A stretch of wire; `reads` are all that pass along it, `head` the arrow at its end."""

    id: str
    net: str
    points: list[Point]
    reads: tuple[Read, ...]
    head: bool
    classes: list[str]
    width: float | None = None
    number: str = ""
    number_at: Point | None = None
    anchor: str = "middle"
    order: float = 0.0
    halo: bool = False
    tail: bool = False  # begins at its source's node: where a gradient's arrow ends
    backward: bool = False  # drawn against its direction, as gradients flow


@dataclass
class Text:
    x: float
    y: float
    label: Label
    size: float = 12.0
    classes: str = "muted"
    anchor: str = "start"


@dataclass
class Scene:
    """Everything of one picture; `bounds` are x, y, width, height."""

    name: str
    title: str
    panels: list[Panel] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    gaps: list[tuple[Point, Point]] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)  # ready-made SVG (legends)
    bounds: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    links: dict[str, str] = field(default_factory=dict)  # equation -> the id a click on its marks leads to

    def mark(self, key: str, step: int | None) -> Mark:
        for m in self.marks:
            if m.node.key == key and m.step == step:
                return m
        raise KeyError((key, step))

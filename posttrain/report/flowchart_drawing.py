"""Geometry of the flowchart: boxes in two columns, lines between them, in units of a page 360 pixels wide.

Text is set for 1 unit = 1 pixel, so that it is as large on a phone as on a desk. Knows nothing of HTML or of decisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posttrain.data.rows import shorten
from posttrain.report.content import ReportInput
from posttrain.report.deciding import notes
from posttrain.report.flowchart import BOXES, USUAL, Box, Edge, Way, in_words, way

WIDTH, PITCH, HEIGHT = 360, 58, 40
LEFT, LADDER, EXITS, EXIT_WIDTH = 32, 196, 252, 106
GAP_LANE = 240
"""Where lines between the columns run up or down."""
LANE = 6
LONGEST_NOTE, LONGEST_EXIT_NOTE = 29, 15
"""Characters that fit into a box at 12 pixels, in the widest of the page's fonts."""

Edges = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class DrawnBox:
    """A box: its upper left corner and size, its texts, and whether the run met it, or ended in it."""

    key: str
    kind: str
    title: str
    note: str
    answer: str
    x: float
    y: float
    width: float
    taken: bool
    last: bool


@dataclass(frozen=True)
class DrawnEdge:
    """A line as an SVG path, its arrow head, and its answer with its place; `taken` ones are drawn on top."""

    path: str
    head: str
    says: str
    x: float
    y: float
    taken: bool


@dataclass(frozen=True)
class Flowchart:
    """All that the template draws; `words` says it to those who do not see."""

    width: int
    height: int
    box_height: int
    boxes: tuple[DrawnBox, ...]
    edges: tuple[DrawnEdge, ...]
    words: str


def flowchart(report: ReportInput) -> Flowchart | None:
    """The whole chart with the run's way in it; None for a run that decided nothing."""
    taken = way(report)
    if not taken.keys:
        return None
    said = notes(report)
    return Flowchart(
        width=WIDTH,
        height=max(box.row for box in BOXES) * PITCH + HEIGHT + 8,
        box_height=HEIGHT,
        boxes=tuple(_box(box, taken, said) for box in BOXES),
        edges=_edges(taken),
        words=in_words(taken, said),
    )


def _box(box: Box, taken: Way, said: Mapping[str, str]) -> DrawnBox:
    met = box.key in taken.keys
    on_ladder = box.column == 0
    return DrawnBox(
        key=box.key,
        kind=box.kind,
        title=box.titled(taken.aligner),
        note=shorten(said.get(box.key, ""), LONGEST_NOTE if on_ladder else LONGEST_EXIT_NOTE) if met else "",
        answer=taken.answers.get(box.key, "") if box.kind == "question" else "",
        x=LEFT if on_ladder else EXITS,
        y=_top(box),
        width=LADDER if on_ladder else EXIT_WIDTH,
        taken=met,
        last=box.key == taken.keys[-1],
    )


def _edges(taken: Way) -> tuple[DrawnEdge, ...]:
    """The usual lines, then those of the way, on top."""
    lit = set(taken.edges)
    says = {(edge.start, edge.end): edge.says for edge in USUAL}
    if taken.fallback:
        says["after_align", "release"] = f"refused: the model before {taken.aligner}"
    unlit = [edge for edge in USUAL if (edge.start, edge.end) not in lit]
    on_way = [Edge(start, end, says.get((start, end), "")) for start, end in taken.edges]
    every = [*unlit, *on_way]
    lanes = _lanes([(edge.start, edge.end) for edge in every])
    return tuple(_edge(edge, lanes, (edge.start, edge.end) in lit) for edge in every)


def _lanes(edges: Edges) -> dict[tuple[str, str], int]:
    """For each line that skips boxes of the ladder a lane at its left; short ones are nearest, none overlap."""
    skipping = [edge for edge in edges if _route(*edge) == "left"]
    spans = {edge: (_BY_KEY[edge[0]].row, _BY_KEY[edge[1]].row) for edge in skipping}
    lanes: dict[tuple[str, str], int] = {}
    for edge in sorted(skipping, key=lambda edge: spans[edge][1] - spans[edge][0]):
        top, bottom = spans[edge]
        busy = {lane for other, lane in lanes.items() if spans[other][0] < bottom and top < spans[other][1]}
        lanes[edge] = next(lane for lane in range(len(skipping)) if lane not in busy)
    return lanes


def _route(start: str, end: str) -> str:
    """down to the next box, left around others, across to the same row, else through the lane between the columns."""
    first, second = _BY_KEY[start], _BY_KEY[end]
    if first.column == second.column == 0:
        return "down" if second.row == first.row + 1 else "left"
    return "across" if first.row == second.row else "between"


def _edge(edge: Edge, lanes: Mapping[tuple[str, str], int], taken: bool) -> DrawnEdge:
    first, second = _BY_KEY[edge.start], _BY_KEY[edge.end]
    match _route(edge.start, edge.end):
        case "down":
            x = LEFT + LADDER / 2
            top, bottom = _top(first) + HEIGHT, _top(second)
            return DrawnEdge(f"M{x:g} {top:g}V{bottom - 5:g}", _down(x, bottom), edge.says, x + 7, bottom - 5, taken)
        case "left":
            x = LEFT - 8 - LANE * lanes[edge.start, edge.end]
            top, bottom = _middle(first) + 8, _middle(second) - 8
            path = f"M{LEFT} {top:g}H{x:g}V{bottom:g}H{LEFT - 5}"
            return DrawnEdge(path, _right(LEFT, bottom), "", 0, 0, taken)
        case "across":
            y = _middle(first)
            path = f"M{LEFT + LADDER} {y:g}H{EXITS - 5}"
            return DrawnEdge(path, _right(EXITS, y), "", 0, 0, taken)
        case _:
            return _between(first, second, taken)


def _between(first: Box, second: Box, taken: bool) -> DrawnEdge:
    top, bottom = _middle(first) + 8, _middle(second) - 8
    begins = LEFT + LADDER if first.column == 0 else EXITS
    if second.column == 0:
        path = f"M{begins} {top:g}H{GAP_LANE}V{bottom:g}H{LEFT + LADDER + 5}"
        return DrawnEdge(path, _left(LEFT + LADDER, bottom), "", 0, 0, taken)
    path = f"M{begins} {top:g}H{GAP_LANE}V{bottom:g}H{EXITS - 5}"
    return DrawnEdge(path, _right(EXITS, bottom), "", 0, 0, taken)


def _top(box: Box) -> float:
    return 4 + box.row * PITCH


def _middle(box: Box) -> float:
    return _top(box) + HEIGHT / 2


def _down(x: float, y: float) -> str:
    return f"M{x:g} {y:g}l-4 -6h8z"


def _right(x: float, y: float) -> str:
    return f"M{x:g} {y:g}l-6 -4v8z"


def _left(x: float, y: float) -> str:
    return f"M{x:g} {y:g}l6 -4v8z"


_BY_KEY = {box.key: box for box in BOXES}

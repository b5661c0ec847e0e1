"""The funnel: rows to train on from the files to the training set, what each rule and step took out of them, and why.

One row of stations for validation and curation together; from it come the page's drawing, a picture that stands alone
(for Prefect) and a table (for MLflow). Knows nothing of how rows are judged.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from posttrain.report.content import FunnelRow, RuleRow
from posttrain.report.templates import environment

EXAMPLES = 10
TRAINED_ON = "train"
HELD_BACK = ("split",)
"""Steps whose rows are not lost: they are kept for measuring."""
STREAM = 0.62
"""The widest stream's share of the drawing; the rest is for branches."""
HAIRLINE = 2.5
"""Smallest thickness of a branch, in percent of the drawing, so that a single row in a million is seen."""

Kind = Literal["aside", "review", "held", "added"]
WORDS: dict[Kind, str] = {
    "aside": "set aside",
    "review": "to review",
    "held": "kept for validation",
    "added": "added",
}


@dataclass(frozen=True)
class Station:
    """One rule or step: rows that came and went on, how many of the others wait for review, why, and examples."""

    stage: Literal["Validation", "Curation"]
    step: str
    rows_in: int
    rows_out: int
    review: int
    reason: str
    examples: tuple[str, ...]

    @property
    def flows(self) -> dict[Kind, int]:
        """What left the main stream here, or joined it; only what is not zero."""
        gone = self.rows_in - self.rows_out
        held = gone if self.step in HELD_BACK else 0
        found: dict[Kind, int] = {"aside": gone - held - self.review, "review": self.review, "held": held}
        found = {"added": -gone} if gone < 0 else found
        return {kind: count for kind, count in found.items() if count > 0}

    @property
    def in_words(self) -> str:
        """ "120 set aside, 5 to review"."""
        return ", ".join(f"{count:,} {WORDS[kind]}" for kind, count in self.flows.items())


def stations(rules: Sequence[RuleRow], funnel: Sequence[FunnelRow], valid: int | None = None) -> tuple[Station, ...]:
    """Every rule that quarantined rows to train on, then every step of curation.

    `valid` is how many rows validation let through, for when there is no curation yet; without both, nothing is known.
    """
    if not funnel and valid is None:
        return ()
    ours = [rule for rule in rules if in_funnel(rule)]
    left = (funnel[0].rows_in if funnel else valid or 0) + sum(rule.rows for rule in ours)
    found: list[Station] = []
    for rule in ours:
        examples = rule.examples[:EXAMPLES]
        found.append(Station("Validation", rule.rule, left, left - rule.rows, 0, rule.reason, examples))
        left -= rule.rows
    for step in funnel:
        shown = tuple(step.examples[:EXAMPLES])
        found.append(Station("Curation", step.step, step.rows_in, step.rows_out, step.review, step.reason, shown))
    return tuple(found)


def in_funnel(rule: RuleRow) -> bool:
    """Whether a rule took rows out of those to train on; other splits and mere warnings are told elsewhere."""
    return rule.severity == "quarantine" and rule.split == TRAINED_ON and rule.rows > 0


def table(found: Sequence[Station]) -> list[dict[str, str | int]]:
    """A row per station, for MLflow; examples one a line."""
    return [
        {
            "stage": station.stage,
            "step": station.step,
            "rows_in": station.rows_in,
            "rows_out": station.rows_out,
            **{name: station.flows.get(kind, 0) for kind, name in _COLUMNS.items()},
            "reason": station.reason,
            "examples": "\n".join(station.examples),
        }
        for station in found
    ]


_COLUMNS: dict[Kind, str] = {
    "aside": "set_aside",
    "review": "to_review",
    "held": "kept_for_validation",
    "added": "added",
}


# --- the drawing ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Branch:
    """What leaves or joins the stream at a station, as an SVG path."""

    kind: Kind
    path: str


@dataclass(frozen=True)
class Drawn:
    """A station in a box `width` wide and `height` high: the stream from the top to the bottom, and its branches.

    `trunk` and `below` are the stream's width within the box and underneath it.
    """

    station: Station
    trunk: float
    below: float
    branches: tuple[Branch, ...]


def draw(
    found: Sequence[Station], width: float = 100, height: float = 100, stretch: float = 4.4
) -> tuple[float, tuple[Drawn, ...]]:
    """(width of the stream where it begins, the stations drawn).

    `stretch` is how much wider than high a unit of the box is on the screen, so that a branch is about as thick where
    it leaves the box as where it leaves the stream.
    """
    most = max([1, *(max(station.rows_in, station.rows_out) for station in found)])
    scale = STREAM * width / most
    begins = scale * found[0].rows_in if found else 0.0
    return begins, tuple(_drawn(station, scale, width, height, stretch) for station in found)


def _drawn(station: Station, scale: float, width: float, height: float, stretch: float) -> Drawn:
    before, after = scale * station.rows_in, scale * station.rows_out
    fits = min(1.0, 0.6 * height / (stretch * scale * sum(station.flows.values()) or 1.0))
    right, top, branches = max(before, after), 0.22 * height, []
    for kind, count in station.flows.items():
        thick = max(HAIRLINE / 100 * height, fits * stretch * scale * count)
        wide = max(HAIRLINE / 200 * width, scale * count)
        ends = (right - wide, right, top, top + thick, width)
        branches.append(Branch(kind, _inflow(*ends, height) if kind == "added" else _outflow(*ends)))
        right, top = right - wide, top + thick + 0.1 * height
    return Drawn(station, min(before, after), after, tuple(branches))


def _outflow(left: float, right: float, top: float, bottom: float, width: float) -> str:
    """From the stream's upper edge down and out to the right."""
    return (
        f"M{right:.2f} 0C{right:.2f} {0.8 * top:.2f} {_bend(right, width):.2f} {top:.2f} {width:g} {top:.2f}"
        f"V{bottom:.2f}C{_bend(left, width):.2f} {bottom:.2f} {left:.2f} {0.8 * bottom:.2f} {left:.2f} 0Z"
    )


def _inflow(left: float, right: float, top: float, bottom: float, width: float, height: float) -> str:
    """From the right down into the stream's lower edge."""
    return (
        f"M{width:g} {top:.2f}C{_bend(left, width):.2f} {top:.2f} {left:.2f} {0.8 * top + 0.2 * height:.2f} "
        f"{left:.2f} {height:g}H{right:.2f}C{right:.2f} {0.8 * bottom + 0.2 * height:.2f} "
        f"{_bend(right, width):.2f} {bottom:.2f} {width:g} {bottom:.2f}Z"
    )


def _bend(start: float, end: float) -> float:
    return start + 0.35 * (end - start)


# --- the picture that stands alone ---------------------------------------------------------------------------

PICTURE_WIDTH = 920
FLOW_WIDTH = 300
STATION_HEIGHT = 46
HEAD_HEIGHT = 34


def picture(found: Sequence[Station]) -> str:
    """The funnel as one SVG with its text, which needs nothing beside it; "" when there are no stations."""
    if not found:
        return ""
    begins, drawn = draw(found, FLOW_WIDTH, STATION_HEIGHT, stretch=1)
    height = (len(drawn) + 1) * STATION_HEIGHT + HEAD_HEIGHT
    return (
        environment()
        .get_template("funnel.svg.j2")
        .render(
            begins=begins,
            drawn=drawn,
            read=found[0].rows_in,
            left=found[-1].rows_out,
            width=PICTURE_WIDTH,
            height=height,
            flow=FLOW_WIDTH,
            step_height=STATION_HEIGHT,
            head=HEAD_HEIGHT,
            title=summary(found),
        )
    )


def summary(found: Sequence[Station]) -> str:
    """The picture in one sentence, for those who do not see it."""
    if not found:
        return ""
    moved = "; ".join(f"{station.step} {station.in_words}" for station in found if station.flows)
    return f"{found[0].rows_in:,} rows read, {found[-1].rows_out:,} to train on. {moved}"


def data_uri(svg: str) -> str:
    """An SVG as a link that holds all of it."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()

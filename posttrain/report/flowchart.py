"""The chart of docs/strategy.md from rows to release, and the way that a run took through it.

The way is read off the decisions' paths, the verdicts and the alias; no ending is spelled out here. Boxes are listed in
the order in which a run can meet them. Knows nothing of drawing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from posttrain.outcome import last_decisions
from posttrain.report.content import ReportInput
from posttrain.strategy import Action, Step

Kind = Literal["work", "question", "gate", "end"]


@dataclass(frozen=True)
class Box:
    """A box of the chart. Column 0 is the ladder, column 1 what one leaves it for; `row` counts from the top.

    `title` has room for the name of alignment's method; `titled` fills it.
    """

    key: str
    title: str
    kind: Kind
    row: int
    column: int = 0

    def titled(self, aligner: str) -> str:
        """The title, with alignment's method by its name."""
        return self.title.format(aligner=aligner)


@dataclass(frozen=True)
class Edge:
    """From box to box; `says` is the answer that leads along it, where boxes in line leave it open."""

    start: str
    end: str
    says: str = ""


@dataclass(frozen=True)
class Way:
    """What a run met: keys of boxes in order, and the answer that each question got."""

    keys: tuple[str, ...]
    answers: dict[str, str]
    aligner: str = "DPO"
    """The name of alignment's method."""
    fallback: bool = False
    """Whether the gate after alignment refused, so that the model before it went on."""

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """Each box with the next one."""
        return tuple(zip(self.keys, self.keys[1:], strict=False))


BOXES: tuple[Box, ...] = (
    Box("data", "Validate and curate", "work", 0),
    Box("prompt", "Prompt enough?", "question", 1),
    Box("use_prompt", "Use prompt", "end", 1, 1),
    Box("few_shot", "Few-shot enough?", "question", 2),
    Box("use_few_shot", "Use few-shot", "end", 2, 1),
    Box("pattern", "New pattern?", "question", 3),
    Box("prefer", "Preference to align?", "question", 4),
    Box("fit", "Data fit to learn?", "question", 5),
    Box("mend_data", "Mend data", "end", 5, 1),
    Box("enough", "Enough data?", "question", 6),
    Box("collect_data", "Collect rows", "end", 6, 1),
    Box("limits", "Within the limits?", "question", 7),
    Box("keep_prompt", "Keep prompt", "end", 7, 1),
    Box("sft", "SFT", "work", 8),
    Box("after_sft", "Gate after SFT", "gate", 9),
    Box("met", "Target met?", "question", 10),
    Box("slice", "Does a slice lag?", "question", 11),
    Box("able", "Can it get better?", "question", 12),
    Box("measure_more", "Measure more", "end", 12, 1),
    Box("more", "Would rows help?", "question", 13),
    Box("collect_after", "Collect rows", "end", 13, 1),
    Box("dpo_limits", "{aligner} within limits?", "question", 14),
    Box("keep_sft", "Keep SFT", "end", 14, 1),
    Box("dpo", "{aligner}", "work", 15),
    Box("rethink", "Rethink", "end", 15, 1),
    Box("after_align", "Gate after {aligner}", "gate", 16),
    Box("refused", "Not released", "end", 16, 1),
    Box("release", "Release gate", "gate", 17),
    Box("challenger", "Challenger", "end", 17, 1),
    Box("champion", "Champion", "end", 18),
)

USUAL: tuple[Edge, ...] = (
    Edge("data", "prompt"),
    Edge("prompt", "few_shot", "no"),
    Edge("prompt", "use_prompt", "yes"),
    Edge("few_shot", "pattern", "no"),
    Edge("few_shot", "use_few_shot", "yes"),
    Edge("pattern", "prefer", "no"),
    Edge("pattern", "fit", "yes"),
    Edge("prefer", "fit", "yes"),
    Edge("prefer", "keep_prompt", "no"),
    Edge("fit", "enough", "yes"),
    Edge("fit", "mend_data", "no"),
    Edge("enough", "limits", "yes"),
    Edge("enough", "collect_data", "no"),
    Edge("limits", "sft", "yes"),
    Edge("limits", "keep_prompt", "no"),
    Edge("sft", "after_sft"),
    Edge("after_sft", "met"),
    Edge("met", "slice", "yes"),
    Edge("met", "able", "no"),
    Edge("slice", "dpo_limits", "yes"),
    Edge("slice", "release", "no"),
    Edge("able", "more", "no"),
    Edge("able", "dpo_limits", "yes"),
    Edge("able", "measure_more"),
    Edge("more", "collect_after", "yes"),
    Edge("more", "rethink", "no"),
    Edge("dpo_limits", "dpo", "yes"),
    Edge("dpo_limits", "keep_sft", "no"),
    Edge("dpo", "after_align"),
    Edge("after_align", "release", "passed"),
    Edge("after_align", "refused", "refused"),
    Edge("release", "champion", "passed"),
    Edge("release", "challenger", "else"),
)
"""Drawn always; a way that goes another way between two boxes has its edge drawn too."""

ASKED_AT: dict[str, str] = {
    "Does the prompt meet the need?": "prompt",
    "Do worked examples in it?": "few_shot",
    "Must a new pattern be learned?": "pattern",
    "Can answers be aligned to a preference?": "prefer",
    "Is the data fit to learn from?": "fit",
    "Is there enough data?": "enough",
    "Is it within the limits?": "limits",
    "Does the gate let it pass?": "after_sft",
    "Is the target met after SFT?": "met",
    "Does a slice lag behind?": "slice",
    "Can it be optimised further?": "able",
    "Would more rows meet the target?": "more",
    "Is {aligner} within the limits?": "dpo_limits",
}
"""The question of a `Turn` → its box; with room for the name of alignment's method."""

LEADS_TO: dict[tuple[Step, Action], str] = {
    ("baseline", "use_prompt"): "use_prompt",
    ("baseline", "use_few_shot"): "use_few_shot",
    ("baseline", "keep_prompt"): "keep_prompt",
    ("baseline", "mend_data"): "mend_data",
    ("baseline", "collect_data"): "collect_data",
    ("baseline", "align_base"): "dpo",
    ("baseline", "sft"): "sft",
    ("after_sft", "release"): "met",
    ("after_sft", "keep_sft"): "keep_sft",
    ("after_sft", "measure_more"): "measure_more",
    ("after_sft", "collect_data"): "collect_after",
    ("after_sft", "align"): "dpo",
    ("after_sft", "rethink"): "rethink",
}
"""Where a decision goes on; after `release` comes the release gate, which is met if it was asked."""

STOPS = ("mend_data", "collect_data", "collect_after", "measure_more", "rethink")
ALIASES = {"champion": "champion", "challenger": "challenger"}


def way(report: ReportInput) -> Way:
    """The boxes that a run met, in order."""
    judged = [verdict.name for verdict in report.verdicts]
    met: list[str] = []
    answers: dict[str, str] = {}
    for decision in last_decisions(report.decisions):
        boxes = asked_at(decision.aligner)
        asked = {boxes[turn.question]: turn.answer for turn in decision.path if turn.question in boxes}
        met += ["data"] if decision.step == "baseline" else ["sft", *(name for name in judged if name == "after_sft")]
        met += [*_in_order(asked), LEADS_TO[decision.step, decision.action]]
        answers |= asked
    met += _in_order({*judged, *(["dpo"] if "after_align" in judged else [])} - {*met})
    if report.lineage.alias in ALIASES:
        met.append(ALIASES[report.lineage.alias])
    elif report.ending == "refused" and not {*met} & {*STOPS}:
        met.append("refused")
    refused = any(verdict.name == "after_align" and not verdict.passed for verdict in report.verdicts)
    return Way(tuple(dict.fromkeys(met)), answers, report.aligner, fallback=refused)


def asked_at(aligner: str) -> dict[str, str]:
    """The question of a `Turn` → its box, where alignment's method has this name."""
    return {question.format(aligner=aligner): key for question, key in ASKED_AT.items()}


def _in_order(keys: Iterable[str]) -> list[str]:
    wanted = set(keys)
    return [box.key for box in BOXES if box.key in wanted]


def in_words(taken: Way, notes: dict[str, str]) -> str:
    """The way as one sentence, for those who do not see the drawing."""
    titled = {box.key: box for box in BOXES}
    return "; ".join(_in_words(titled[key], taken, notes) for key in taken.keys) + "."


def _in_words(box: Box, taken: Way, notes: dict[str, str]) -> str:
    said = " ".join(filter(None, [box.titled(taken.aligner), taken.answers.get(box.key, "")]))
    return f"{said} ({notes[box.key]})" if notes.get(box.key) else said

"""Row rules: what makes a row unfit for use. One function a rule; each yields the rows that break it.

To add a rule: write the function, add a line to `RULES`. Rules run in that order, and a row that one rule
quarantines is not shown to the next. Knows nothing of files, stages or Great Expectations.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from posttrain.data import labels
from posttrain.data.load import Problem
from posttrain.data.rows import Dropped, Row, shorten
from posttrain.data.text import distinct_word_share, key, unreadable
from posttrain.spec.sections.validate import ValidateSpec

Severity = Literal["quarantine", "warn", "stop"]
RARE = 0.001
"""A label used in a smaller share of all uses is probably a typing error (this project)."""


@dataclass(frozen=True)
class Context:
    """What a rule may know besides the rows: the task's kind ("text" for general rows), thresholds, load problems."""

    kind: str
    spec: ValidateSpec
    problems: Mapping[str, Problem]

    @property
    def has_labels(self) -> bool:
        """Whether completions are JSON labels, to which S3's rules on prose do not apply."""
        return self.kind in labels.JSON_KINDS


Find = Callable[[Sequence[Row], Context], Iterator[Dropped]]


@dataclass(frozen=True)
class Rule:
    """A rule, and what happens by default to a row that breaks it."""

    name: str
    severity: Severity
    find: Find


def encoding(rows: Sequence[Row], context: Context) -> Iterator[Dropped]:
    """The line did not decode, or its text holds replacement or control characters or mojibake."""
    for row in rows:
        problem = context.problems.get(row["id"])
        found = problem.value if problem and problem.rule == "encoding" else ""
        if found := found or unreadable(row["prompt"]) or unreadable(row["completion"]):
            yield Dropped(row, "encoding", shorten(found), "readable text")


def schema(rows: Sequence[Row], context: Context) -> Iterator[Dropped]:
    """Prompt and completion are texts that are not blank."""
    for row in rows:
        problem = context.problems.get(row["id"])
        blank = [name for name in ("prompt", "completion") if not row[name].strip()]
        if problem and problem.rule == "schema":
            yield Dropped(row, "schema", problem.value, "a row of the file's format")
        elif blank:
            yield Dropped(row, "schema", f"{' and '.join(blank)} empty", "texts that are not blank")


def label_json(rows: Sequence[Row], context: Context) -> Iterator[Dropped]:
    """The completion is a label of the task's kind; slot values of intent_slots stand in the prompt."""
    for row in rows:
        found = labels.problem(row["completion"], context.kind)
        if not found and context.kind == "intent_slots":
            found = _not_in_prompt(row)
        if found:
            yield Dropped(row, "label_json", shorten(found), f"a label of kind {context.kind}")


def _not_in_prompt(row: Row) -> str:
    prompt = " ".join(row["prompt"].casefold().split())
    for name, value in labels.slots(row["completion"]):
        if " ".join(value.casefold().split()) not in prompt:
            return f"slot {name}: {value!r} is not in the prompt"
    return ""


def length(rows: Sequence[Row], context: Context) -> Iterator[Dropped]:
    """A completion in prose has `min_length` to `max_length` characters (S3: 10 to 2,000); JSON is exempt."""
    low, high = context.spec.min_length, context.spec.max_length
    for row in () if context.has_labels else rows:
        size = len(row["completion"])
        if not low <= size <= high and not labels.is_json(row["completion"]):
            yield Dropped(row, "length", f"{size} characters", f"{low} to {high}")


def distinct_words(rows: Sequence[Row], context: Context) -> Iterator[Dropped]:
    """A completion in prose does not repeat itself (S3: 0.70, measured as `text.distinct_word_share` says)."""
    least = context.spec.min_distinct_words
    for row in () if context.has_labels else rows:
        share = distinct_word_share(row["completion"])
        if share < least and not labels.is_json(row["completion"]):
            yield Dropped(row, "distinct_words", f"{share:.2f}", f"at least {least:.2f}")


def duplicate(rows: Sequence[Row], context: Context) -> Iterator[Dropped]:
    """The same prompt with the same completion, but for blanks at the ends, came before."""
    first: dict[tuple[str, str], str] = {}
    for row in rows:
        twin = first.setdefault((row["prompt"].strip(), row["completion"].strip()), row["id"])
        if twin != row["id"]:
            yield Dropped(row, "duplicate", f"same as row {twin}", "once", twin)


def conflict(rows: Sequence[Row], context: Context) -> Iterator[Dropped]:
    """The same prompt with another label: nobody can say which is right, so all of them are set aside.

    Prompts are compared by their words, labels without regard to case. Prose may answer one prompt in many ways.
    """
    together: dict[str, list[Row]] = defaultdict(list)
    for row in rows if context.has_labels else ():
        together[key(row["prompt"])].append(row)
    for same in together.values():
        if len({row["completion"].casefold().strip() for row in same}) > 1:
            for row in same:
                other = next(o for o in same if o["completion"].casefold() != row["completion"].casefold())
                yield Dropped(row, "conflict", shorten(f"other label {other['completion']}"), "one label", other["id"])


def trimmed(rows: Sequence[Row], context: Context) -> Iterator[Dropped]:
    """Slot values have no blanks at their ends; curation trims them."""
    for row in _slotted(rows, context):
        loose = [name for name, value in labels.slots(row["completion"]) if value != value.strip()]
        if loose:
            yield Dropped(row, "trimmed", f"slot {loose[0]} has blanks at its ends", "trimmed values")


def common_label(rows: Sequence[Row], context: Context) -> Iterator[Dropped]:
    """Every slot name and intent is used in at least 0.1 % of cases; a rarer one is probably a typing error."""
    slotted = list(_slotted(rows, context))
    names = [[f"intent {labels.intent(row['completion'])}"] for row in slotted]
    for row, used in zip(slotted, names, strict=True):
        used.extend(f"slot {name}" for name, _ in labels.slots(row["completion"]))
    uses = Counter(name for used in names for name in used)
    totals = Counter(name.split(" ", 1)[0] for used in names for name in used)
    for row, used in zip(slotted, names, strict=True):
        rare = [name for name in used if uses[name] < RARE * totals[name.split(" ", 1)[0]]]
        if rare:
            total = totals[rare[0].split(" ", 1)[0]]
            yield Dropped(row, "common_label", f"{rare[0]}: {uses[rare[0]]} of {total:,} uses", f"at least {RARE:.1%}")


def _slotted(rows: Sequence[Row], context: Context) -> Iterator[Row]:
    if context.kind == "intent_slots":
        yield from (row for row in rows if not labels.problem(row["completion"], context.kind))


RULES = (
    Rule("encoding", "quarantine", encoding),
    Rule("schema", "quarantine", schema),
    Rule("label_json", "quarantine", label_json),
    Rule("length", "quarantine", length),
    Rule("distinct_words", "quarantine", distinct_words),
    Rule("duplicate", "quarantine", duplicate),
    Rule("conflict", "quarantine", conflict),
    Rule("trimmed", "warn", trimmed),
    Rule("common_label", "warn", common_label),
)

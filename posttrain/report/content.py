"""What a report is made of: plain, frozen data, most of it as the stages hand it over. Knows nothing of HTML."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from posttrain.artifacts import Frozen
from posttrain.evaluation.published import Published
from posttrain.evaluation.scores import Score, Scores
from posttrain.gates import Verdict
from posttrain.strategy import Decision

Ending = Literal["promoted", "challenger", "registered", "refused", "advice"]


class Copied(Frozen):
    """May be given any object with the same attributes, so a stage's own results need no conversion."""

    model_config = ConfigDict(extra="ignore", frozen=True, from_attributes=True)


class FunnelRow(Copied):
    """One curation step; `posttrain.data.curate.FunnelStep` fits. `review`: rows of the difference sent to review."""

    step: str
    rows_in: int
    rows_out: int
    reason: str
    examples: tuple[str, ...] = ()
    review: int = 0


class RuleRow(Copied):
    """One validation rule and the rows that broke it; `posttrain.data.validate.RuleCount` fits."""

    rule: str
    severity: str
    rows: int
    split: str
    examples: tuple[str, ...] = ()
    reason: str = ""


class CurvePoint(Copied):
    """Metrics at one optimizer step; `posttrain.training.result.CurvePoint` fits."""

    step: int
    metrics: dict[str, float]


class TrainingCurve(Frozen):
    """A training stage as it went, and every value that it used."""

    label: str
    points: tuple[CurvePoint, ...]
    recipe: dict[str, str | float | int | bool | None] = Field({}, description="Every value that the training used")
    guards: tuple[str, ...] = Field((), description="What guards found, and what was done")


class ScoreLine(Frozen):
    """A measured model under the name that readers know: "Base, few-shot", "SFT", "Release (test)"."""

    label: str
    scores: Scores


class SideBySide(Frozen):
    """A prompt, what was expected, and what each model said; `right` tells which of them is exact."""

    prompt: str
    expected: str
    outputs: dict[str, str]
    right: dict[str, bool]
    change: Literal["", "win", "loss"] = ""
    values: dict[str, float] = Field({}, description="Model → the row's value, where rows are more or less good")


class ListedRow(Frozen):
    """One measured row; `parsed` is what was read in the output, None where nothing is read in outputs."""

    prompt: str
    expected: str
    output: str
    parsed: str | None = None
    values: dict[str, float] = Field({}, description="Metric, or what was counted → the row's value")


class Listing(Frozen):
    """The rows of a measurement, as many as fit on a page, of `all_rows`."""

    title: str
    rows: tuple[ListedRow, ...]
    all_rows: int


class Changes(Frozen):
    """Two models on the rows that both answered: what the second won, what it lost, and rows to look at.

    `metric` is what a row is counted by; where rows are not right or wrong but more or less good, a win is a higher
    value and `both_wrong` counts rows of the same value.
    """

    before: str
    after: str
    split: str
    metric: str
    wins: int
    losses: int
    both_right: int
    both_wrong: int
    differing: int = Field(0, description="Rows whose outputs are not the same text, whatever they are worth")
    p_value: float | None = Field(None, description="McNemar, of wins against losses; None where rows are graded")
    only_before: int = Field(0, description="Rows that only the first model answered, which are not compared")
    only_after: int = 0
    rows: tuple[SideBySide, ...] = ()

    @property
    def ties(self) -> int:
        """Rows that came out alike."""
        return self.both_right + self.both_wrong

    @property
    def compared(self) -> int:
        """Rows that both answered."""
        return self.wins + self.losses + self.ties


class Confusion(Frozen):
    """Which label was taken for which: a line of `counts` for each expected label, a column for each predicted one."""

    label: str = Field(description="The measured model")
    expected: tuple[str, ...]
    predicted: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


class RowsCurve(Frozen):
    """A metric after training on so many rows, in order of rows, and what the decision made of it."""

    metric: str
    target: float | None
    points: tuple[tuple[int, Score], ...]
    words: str = ""


class Reproduction(Frozen):
    """How to get the same again: commands in order, what they rest on, and the data to expect."""

    commands: tuple[str, ...] = ()
    warning: str = ""
    versions: dict[str, str] = Field({}, description="Package → version of this run")
    datasets: dict[str, tuple[str, int]] = Field({}, description="What the data is for → fingerprint and rows")


class StageCost(Frozen):
    """What a stage took (seconds of the run that made it), and whether it was found rather than run."""

    name: str
    seconds: float
    reused: bool


class Lineage(Frozen):
    """Where the model comes from, and where it went."""

    base: str = ""
    model: str = Field("", description="Fingerprint of the model that the report is about")
    model_uri: str | None = Field(None, description="models:/name/version, when it was registered")
    alias: str | None = None
    alias_reasons: tuple[str, ...] = ()
    load_line: str = Field("", description="One line of Python that loads the model and asks it")
    datasets: dict[str, str] = Field({}, description="What the data is for → fingerprint")
    spec_digest: str = ""
    code: str = Field("", description="Version or commit")
    mlflow_uri: str = ""
    mlflow_run_id: str = ""
    data_docs: str = ""
    quarantine: str = Field("", description="Parquet file of the rows set aside")


class ReportInput(Frozen):
    """Everything on the page; what is empty is left out."""

    title: str
    ending: Ending
    headline: str
    facts: dict[str, str] = Field({}, description="Shown under the headline: task, base, spec file, finished")
    decisions: tuple[Decision, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    aligner: str = Field("DPO", description="The name of alignment's method")
    preference: str = Field("", description="What alignment learnt from, and how far it went")
    rules: tuple[RuleRow, ...] = ()
    funnel: tuple[FunnelRow, ...] = ()
    other_funnels: dict[str, tuple[FunnelRow, ...]] = Field({}, description="Part of the data → its own steps")
    curves: tuple[TrainingCurve, ...] = ()
    scores: tuple[ScoreLine, ...] = Field((), description="In order of measuring; the last is the final one")
    targets: dict[str, float] = Field({}, description="Metric → the value that the spec asks for")
    published: Published = Published()
    changes: tuple[Changes, ...] = ()
    outputs: tuple[SideBySide, ...] = ()
    listings: tuple[Listing, ...] = Field((), description="Every row of the last measured model, and of its slices")
    confusion: Confusion | None = None
    rows_curve: RowsCurve | None = None
    stages: tuple[StageCost, ...] = ()
    price_per_hour: float | None = Field(None, description="Of this machine; without it no money is named")
    lineage: Lineage = Lineage()
    reproduction: Reproduction = Reproduction()
    spec_text: str = ""

"""What a measurement is asked for: the parts of the spec that it reads, and the job that a measuring process gets.

Plain data; knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from posttrain.artifacts import DatasetRef, Frozen, ModelRef
from posttrain.evaluation.consistency import Consistency
from posttrain.evaluation.constrained import Constrained
from posttrain.evaluation.engines import Setting
from posttrain.evaluation.few_shot import FewShot, Selection
from posttrain.evaluation.scores import Prompting
from posttrain.evaluation.scoring import Scoring
from posttrain.evaluation.slices import Slice


class TaskLike(Protocol):
    """The part of the spec's `task` section that is read here."""

    @property
    def kind(self) -> str: ...


class EvaluateLike(Protocol):
    """The spec's `evaluate` section."""

    @property
    def few_shot_examples(self) -> int: ...
    @property
    def few_shot_selection(self) -> Selection: ...
    @property
    def few_shot_search(self) -> bool: ...
    @property
    def max_new_tokens(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def resamples(self) -> int: ...
    @property
    def perplexity_rows(self) -> int: ...
    @property
    def reasoning_tokens(self) -> int: ...
    @property
    def self_consistency(self) -> Any: ...
    @property
    def consistency(self) -> Any: ...
    @property
    def constrained(self) -> Constrained: ...
    @property
    def engine(self) -> Setting: ...
    @property
    def slices(self) -> Sequence[Any]: ...
    @property
    def seed(self) -> int: ...


class SelfConsistency(Frozen):
    """How many random answers vote, and how they are drawn (`evaluate.self_consistency` of the spec)."""

    answers: int = 5
    temperature: float = 0.7
    step_by_step: bool = False


class MeasureJob(Frozen):
    """All that a measuring process needs to know, in plain data."""

    model: ModelRef
    rows: DatasetRef
    split: str
    prompting: Prompting
    scoring: Scoring
    limit: int | None
    examples: DatasetRef | None
    few_shot: FewShot | None = None
    few_shot_search: bool = False
    reasoning_tokens: int = 0
    self_consistency: SelfConsistency = SelfConsistency()
    consistency: Consistency | None = None
    schema_held: str = ""
    """The JSON Schema that outputs are held to while they are decoded; empty for none."""
    engine: Setting = "auto"
    general_held_out: DatasetRef | None
    perplexity_rows: int
    max_new_tokens: int
    batch_size: int
    resamples: int
    slices: tuple[Slice, ...] = ()
    seed: int
    kept_outputs: str = ""
    partial: str
    final: str

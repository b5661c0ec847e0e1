"""`curate`: from valid rows to the rows worth training on."""

from __future__ import annotations

from posttrain.artifacts import Frozen
from posttrain.spec.field import section, setting
from posttrain.spec.sections.annotators import AnnotatorsSpec
from posttrain.spec.sections.best_of import BestOfSpec
from posttrain.spec.sections.clean import CleanSpec
from posttrain.spec.sections.diversity import DiversitySpec
from posttrain.spec.sections.facts import FactsSpec
from posttrain.spec.sections.harm import HarmSpec
from posttrain.spec.sections.mixture import MixtureSpec
from posttrain.spec.sections.quality import QualitySpec
from posttrain.spec.sections.scores import ScoresSpec
from posttrain.spec.sections.semantic import SemanticSpec


class CurateSpec(Frozen):
    """From valid rows to the rows worth training on; every row set aside keeps its reason."""

    clean: CleanSpec = section(CleanSpec, "Tidies text without changing what it says.")
    harm: HarmSpec = section(HarmSpec, "Word lists against harmful answers; unsure hits wait for review.")
    annotators: AnnotatorsSpec = section(AnnotatorsSpec, "Rows with ratings: how good people must find them.")
    facts: FactsSpec | None = setting(None, "Answers checked against a reference table of yours.", source="S3")
    quality: QualitySpec | None = setting(
        None, "A classifier of good and bad text, trained from examples of yours.", source="S2"
    )
    scores: ScoresSpec = section(ScoresSpec, "Models that judge rows: perplexity, reward.")
    steps: list[str] = setting([], "Python files with steps of your own: functions under @curation_step.")
    best_of: BestOfSpec | None = setting(
        None, "Files with several completions of one prompt: keep the best by a reward function.", source="S1"
    )
    near_duplicates: float = setting(
        0.85,
        "Rows whose Jaccard similarity (found by MinHash, then counted) reaches this are one row; 1 keeps them.",
        source="S3 (its 0.85 is for embeddings)",
        gt=0,
        le=1,
    )
    semantic: SemanticSpec | None = setting(
        None, "Rows that say the same in other words are one row; `semantic: {}` for every default.", source="S3"
    )
    diversity: DiversitySpec | None = setting(
        None, "Keep the rows whose prompts cover the most, and no more than so many.", source="S1, S3"
    )
    decontaminate_ngram: int = setting(
        8,
        "A training row that shares this many consecutive words with a held-out row is dropped; 0: same prompts only.",
        source="this project",
        ge=0,
    )
    validation_rows: int = setting(700, "Rows cut from training for the gates along the way.", ge=1)
    keep_together: str | None = setting(
        None, "Column whose equal values never straddle training and validation, e.g. a customer or a document."
    )
    general_share: float | None = setting(
        None,
        "Share of general rows in the training mix. Empty: 0.875 for prose (S2's 7 : 1), 0.03 for a narrow "
        "format-bound task, which needs far less. mixture.parts replaces it.",
        source="S2",
        ge=0,
        lt=1,
    )
    mixture: MixtureSpec = section(MixtureSpec, "More parts than domain and general, with weights and limits.")
    max_rows: int | None = setting(None, "Train on at most this many rows, drawn with the seed.", ge=1)
    seed: int = setting(0, "Decides split, mix and order.", ge=0)

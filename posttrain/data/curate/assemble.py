"""Which steps a spec asks for, and in which order: the list that curation is.

| part | row steps | table steps |
| --- | --- | --- |
| train | person, annotators, harm, facts, quality, own, contaminated | best_of, exact, near, and those of the spec |
| general | person, harm, contaminated | exact, near |
| preference | person, harm, contaminated | exact |
| test, general_held_out | none: what is measured stays as it was published | none |

All parts are cleaned. What gives away a held-out row goes before duplicates: otherwise a clean row could be dropped as
the twin of a contaminated one. To add a step: write its file, and a line here. Knows nothing of how steps are run
(`sift.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from posttrain.artifacts import file_digest
from posttrain.data.account.verdicts import Person, Verdicts
from posttrain.data.custom import load_steps
from posttrain.data.sift import Sieve
from posttrain.data.steps import RowStep, TableStep
from posttrain.data.steps.annotators import RATINGS, Annotators
from posttrain.data.steps.clean import Clean
from posttrain.data.steps.decontaminate import Decontaminate
from posttrain.data.steps.diversity import Diverse
from posttrain.data.steps.duplicates import Exact, Near
from posttrain.data.steps.facts import Facts
from posttrain.data.steps.harm import Harm
from posttrain.data.steps.quality import Quality
from posttrain.data.steps.scores import PerplexityScore, RewardScore
from posttrain.data.steps.semantic import SemanticDuplicates
from posttrain.data.synthetic.best_of import BestOf
from posttrain.data.synthetic.reward_file import load_reward
from posttrain.data.synthetic.spot_check import SpotCheck
from posttrain.data.table import Table
from posttrain.data.text import labels
from posttrain.spec.sections.curate import CurateSpec
from posttrain.spec.sections.synthetic import AugmentSpec, SyntheticSpec
from posttrain.spec.sections.task import TaskSpec

GENERAL = "general"
MEASURED = ("test", "general_held_out")


@dataclass(frozen=True)
class Assembly:
    """A sieve for every part, and what curation must know of the task and of augmentation."""

    sieves: Mapping[str, Sieve]
    kind: str
    instruction: str
    augment: AugmentSpec


@dataclass(frozen=True)
class Finish:
    """Gives rows their group and, where they are the task's own, its instruction as system message."""

    kind: str
    instruction: str
    group: str = ""

    def __call__(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with `group`: the intent (intent_slots), or the one given."""
        named = rows.with_columns(group=pl.lit(self.group))
        if self.kind == "intent_slots" and not self.group and "completion" in rows.columns:
            intents = [labels.intent(completion) for completion in rows["completion"]]
            named = rows.with_columns(pl.Series("group", intents, dtype=pl.String))
        if not self.instruction:
            return named
        system = pl.when(pl.col("system") == "").then(pl.lit(self.instruction)).otherwise(pl.col("system"))
        return named.with_columns(system=system)


def assemble(
    tables: Mapping[str, Table],
    task: TaskSpec,
    spec: CurateSpec,
    synthetic: SyntheticSpec,
    root: Path,
    verdicts: Verdicts,
    base: str,
    store: Path,
) -> Assembly:
    """The steps for each part; the folder `store` keeps vectors and scores from run to run.

    Raises `DataError` for a file of the spec that a step cannot use.
    """
    clean = Clean(spec.clean)
    own, general = Finish(task.kind, task.instruction), Finish(task.kind, "", GENERAL)
    person = (Person(verdicts),) if verdicts.words.height else ()
    harm = Harm.make(spec.harm, root)
    held_out = [tables[name] for name in MEASURED if name in tables]

    def contaminated(part: str) -> RowStep:
        return Decontaminate.against(held_out, [tables[part]], spec.decontaminate_ngram)

    sieves = {name: Sieve(clean, finish=own if name == "test" else general) for name in MEASURED}
    near = Near(spec.near_duplicates)
    if "train" in tables:
        rows = (*person, *_own_row_steps(spec, root, harm, tables, store), contaminated("train"))
        compared: tuple[TableStep, ...] = (
            *_best_of(spec, root),
            Exact(),
            near,
            *_own_table_steps(spec, synthetic, verdicts, tables["train"], base, store),
        )
        sieves["train"] = Sieve(clean, rows, compared, own, verdicts)
    if "general" in tables:
        sieves["general"] = Sieve(clean, (*person, harm, contaminated("general")), (Exact(), near), general, verdicts)
    if "preference" in tables:
        sieves["preference"] = Sieve(clean, (*person, harm, contaminated("preference")), (Exact(),), own, verdicts)
    return Assembly(sieves, task.kind, task.instruction, synthetic.augment)


def _own_row_steps(
    spec: CurateSpec, root: Path, harm: Harm, tables: Mapping[str, Table], store: Path
) -> Iterator[RowStep]:
    """Steps that the spec's own rows go through, one row at a time."""
    if RATINGS in tables["train"].columns:
        yield Annotators(spec.annotators)
    yield harm
    if spec.facts:
        yield Facts.make(spec.facts, root)
    if spec.quality:
        yield Quality.make(spec.quality, root, store / "quality")
    for path in spec.steps:
        yield from load_steps(path, root)


def _best_of(spec: CurateSpec, root: Path) -> Iterator[TableStep]:
    """Before duplicates: of two completions much alike, the better one is to stay, not the earlier one."""
    if spec.best_of:
        yield BestOf(load_reward(spec.best_of.reward, root), spec.best_of.at_least, spec.best_of.keep)


def _own_table_steps(
    spec: CurateSpec, synthetic: SyntheticSpec, verdicts: Verdicts, train: Table, base: str, store: Path
) -> Iterator[TableStep]:
    """Steps that compare the spec's own rows with each other, after duplicates are gone."""
    if spec.semantic:
        yield SemanticDuplicates(spec.semantic, str(store / "embeddings"))
    if spec.scores.perplexity:
        yield PerplexityScore(spec.scores.perplexity, base, str(store / "scores"))
    if spec.scores.reward:
        yield RewardScore(spec.scores.reward, str(store / "scores"))
    if spec.diversity:
        yield Diverse(spec.diversity, str(store / "embeddings"))
    if "origin" in train.columns:
        yield _spot_check(synthetic, verdicts, train)


def _spot_check(synthetic: SyntheticSpec, verdicts: Verdicts, train: Table) -> SpotCheck:
    """The look at synthetic rows, with what people have said of them so far."""
    step = SpotCheck(synthetic.spot_check)
    said: dict[str, bool] = {}
    known: list[pl.DataFrame] = []
    for batch in train.batches() if verdicts.words.height else ():
        said |= verdicts.accepted(batch, step.name)
        known.append(batch.filter(pl.col("id").is_in(list(said))))
    return step.with_verdicts(said, pl.concat(known)) if known else step


def files_of(spec: CurateSpec, root: Path) -> dict[str, str]:
    """Path -> digest of the files that steps read, for the stage's fingerprint; a missing one is found out later."""
    paths = [*spec.steps, *spec.harm.word_lists, *([spec.facts.reference] if spec.facts else [])]
    paths += [spec.best_of.reward.rpartition(":")[0]] if spec.best_of else []
    paths += [*spec.quality.good, *spec.quality.bad] if spec.quality else []
    return {path: file_digest(root / path) for path in paths if (root / path).is_file()}

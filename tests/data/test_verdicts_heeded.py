"""A person's word, said through the account of a row, is heeded by the next run of validation and curation."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from posttrain.artifacts import Workspace
from posttrain.data.account import review
from posttrain.data.account.outputs import DataStages, find_stages, set_aside
from posttrain.data.account.row_verdict import RowVerdict, and_looser, content
from posttrain.data.account.story import why
from posttrain.data.account.verdicts import Verdicts
from posttrain.data.curate import CurateResult, curate
from posttrain.data.validate import validate
from posttrain.progress import silent
from posttrain.spec import CurateSpec, DataSpec, TaskSpec, ValidateSpec

TASK = TaskSpec(kind="text", instruction="Answer.")
DATA = DataSpec.model_validate({"train": "train.jsonl", "test": "test.jsonl"})
CURATE = CurateSpec.model_validate({"validation_rows": 1})
LENIENT = ValidateSpec.model_validate({"max_quarantined": 0.9, "severity": {"length": "quarantine"}})

TEXTS = [
    ("What is the capital of France?", "The capital of France is Paris, on the Seine."),
    ("What is the capital of France??", "The capital of France is Paris, on the Seine."),  # repeats line 1
    ("How do bees make honey?", "They gather nectar and let it thicken in the comb."),
    ("Say yes.", "Yes"),  # too short
    ("Why is the sky blue?", "Air scatters blue light more than red light."),
    ("Name a river in Egypt.", "The Nile runs through Egypt from south to north."),
    ("What do cows eat most?", "Grass, hay and silage, all day long."),
    ("Who painted the Mona Lisa?", "Leonardo da Vinci painted it in Florence."),
]


class Project:
    """A folder with a few rows, whose two data stages run as often as a test asks."""

    def __init__(self, root: Path) -> None:
        self.root, self.workspace = root, Workspace(root / "w")
        lines = [json.dumps({"prompt": prompt, "completion": answer}) for prompt, answer in TEXTS]
        (root / "train.jsonl").write_text("\n".join(lines))
        (root / "test.jsonl").write_text(
            json.dumps({"prompt": "What is a lynx?", "completion": "A wild cat of forests."})
        )

    def run(self, *said: RowVerdict) -> CurateResult:
        verdicts = Verdicts.of(said)
        valid = validate(DATA, TASK, LENIENT, self.workspace, silent, self.root, verdicts=verdicts)
        return curate(valid.result, TASK, CURATE, self.workspace, silent, self.root, verdicts=verdicts).result

    @property
    def stages(self) -> DataStages:
        found = find_stages(self.workspace, DATA, LENIENT, CURATE)
        assert found is not None
        return found

    def lines(self, result: CurateResult) -> set[int]:
        """Of the training file, those that are trained on or validate training."""
        tables = [pl.read_parquet(ref.uri) for ref in (result.train, result.validation)]
        return {int(source.rsplit(":", 1)[1]) for table in tables for source in table["source"]}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has run once, with nobody's words."""
    made = Project(tmp_path_factory.mktemp("project"))
    assert made.lines(made.run()) == {1, 3, 5, 6, 7, 8}
    return made


def restored(stages: DataStages, line: int) -> list[RowVerdict]:
    """As `posttrain rows restore` says it."""
    (row,) = set_aside(stages, row_id=why(f"train.jsonl:{line}", stages).id).to_dicts()
    given = {"id": row["id"], "content": content(row), "verdict": "restore", "by": "ann"}
    return [RowVerdict.model_validate({**given, "rule": rule}) for rule in and_looser(row["rule"])]


def test_rows_come_back_go_and_change_as_people_say(project: Project, tmp_path: Path) -> None:
    """Lines 2 (a duplicate) and 4 (too short) come back, 5 is dropped, 7 is edited."""
    stages = project.stages
    (reason,) = why("train.jsonl:2", stages).reasons
    assert reason.twin is not None
    assert reason.twin.source == "train.jsonl:1"
    path = tmp_path / "mine.csv"
    ids = {line: why(f"train.jsonl:{line}", stages).id for line in (5, 7)}
    path.write_text(f"id,verdict,note,edited\n{ids[5]},drop,too vague,\n{ids[7]},edit,,Grass and hay in the main.\n")
    reviewed = review.judged(review.read(path), stages, (), "ann", "2026-01-01T00:00:00Z").words
    words = [*restored(stages, 2), *restored(stages, 4), *reviewed]
    assert project.lines(project.run(*words)) == {1, 2, 3, 4, 6, 7, 8}
    assert project.stages != stages
    story = why("train.jsonl:5", project.stages, words)
    assert [(found.rule, found.value) for found in story.reasons] == [("person", "dropped by ann: too vague")]
    story = why("train.jsonl:7", project.stages, words)
    assert story.tidied == {"completion": "Grass and hay in the main."}
    assert [holds for _, holds in story.words] == [True]


def test_a_whole_rule_lets_its_rows_pass(project: Project) -> None:
    """Line 2 is an exact duplicate, and a near one as well: both rules must be told."""
    rules = [RowVerdict(id="*", rule=rule, verdict="restore") for rule in ("exact_duplicate", "near_duplicate")]
    assert project.lines(project.run(rules[0])) == {1, 3, 5, 6, 7, 8}
    assert project.lines(project.run(*rules)) == {1, 2, 3, 5, 6, 7, 8}

"""`posttrain compare` as people see it: two ended runs in a folder and in a real MLflow store."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from report_runs import measured
from reports import Page
from typer.testing import CliRunner, Result

from flows.cli import app
from posttrain import tracking
from posttrain.artifacts import DatasetRef
from posttrain.evaluation.scores import Scores
from posttrain.outcome import Outcome


def outcome(name: str, run_id: str, scores: Scores) -> Outcome:
    return Outcome(
        name=name,
        ending="promoted",
        headline=f"{name} went well",
        decisions=(),
        verdicts=(),
        scores=(scores,),
        labels=("Test",),
        stage_seconds={},
        reused=(),
        mlflow_uri="",
        mlflow_run_id=run_id,
        report="",
        data_docs="",
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of `assistant`, the second better, and one of `other` whose first row was asked in other words."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for name, right, pipeline in (
            ("worse", 0.2, "assistant"),
            ("better", 0.9, "assistant"),
            ("moved", 0.9, "other"),
        ):
            scores = measured(folder, name, right).model_copy(update={"split": "test"})
            if name == "moved":
                scores = reworded(folder, scores)
            tracking.connect(folder, pipeline)
            with tracking.pipeline_run(pipeline, "spec") as run_id:
                where = folder / "reports" / name
                where.mkdir(parents=True)
                made = outcome(pipeline, run_id, scores)
                (where / "outcome.json").write_text(made.model_dump_json())
                (where / "id").write_text(run_id)
                tags = {"posttrain.ending": "promoted"}
                tracking.log_values(run_id, tags=tags, artifacts=[where / "outcome.json"])
    return folder


def reworded(folder: Path, scores: Scores) -> Scores:
    """The same rows, but row r0 asks something else under its old id, and the last row is gone."""
    import pyarrow as arrow
    from pyarrow import parquet

    rows = parquet.read_table(scores.outputs.uri).to_pylist()[:-1]
    rows[0]["prompt"] = "something else"
    path = folder / "reworded.parquet"
    parquet.write_table(arrow.Table.from_pylist(rows), path)
    ref = DatasetRef(uri=str(path), fingerprint="r", rows=len(rows))
    return scores.model_copy(update={"outputs": ref, "rows": len(rows)})


@pytest.fixture(autouse=True)
def _here(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(store)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("COLUMNS", "80")


def compare(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["compare", *arguments])


def said(*arguments: str) -> str:
    done = compare(*arguments)
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    assert all(
        len(line.rstrip()) <= int(os.environ["COLUMNS"]) or line.startswith("page:")
        for line in done.stdout.splitlines()
    )
    return " ".join(done.stdout.split())


def test_gains_wins_losses_and_changed_outputs_are_shown() -> None:
    """0.2 of 60 rows against 0.9: rows that the first gets right the second gets right, so 42 are won, none lost."""
    text = said("reports/worse", "reports/better")
    assert "A assistant, Test, 60 test rows (promoted)" in text
    assert "exact_match 0.200 0.900 +0.700 [+0." in text
    assert "typos: slot_f1" in text
    assert "60 test rows that both answered" in text
    assert "42 won, 0 lost, 18 alike of 60 rows, counted by exact_match, McNemar p =" in text
    assert "won play something by" in text
    assert "A I am not sure." in text
    assert "not measured on the same" not in text
    assert "0 won, 42 lost" in said("reports/better", "reports/worse")


def test_runs_are_found_by_name_and_by_id(store: Path) -> None:
    text = said("assistant@previous", "assistant@latest")
    assert "42 won, 0 lost" in text
    ids = [(store / "reports" / name / "id").read_text() for name in ("worse", "better")]
    assert "42 won, 0 lost" in said(*ids)


def test_json_says_the_same() -> None:
    found = json.loads(compare("reports/worse", "reports/better", "--json").stdout)
    assert (found["changes"]["wins"], found["changes"]["losses"], found["common"]) == (42, 0, 60)
    exact = next(pair for pair in found["pairs"] if pair["metric"] == "exact_match" and not pair["slice"])
    assert exact["gain"]["value"] == pytest.approx(0.7)
    assert exact["gain"]["test"] == "McNemar"
    assert len(found["changes"]["rows"]) == 20


def test_the_page_stands_alone(tmp_path: Path) -> None:
    said("reports/worse", "reports/better", "--html", str(tmp_path / "new" / "compare.html"))
    page = Page((tmp_path / "new" / "compare.html").read_text())
    assert "42 won 0 lost 18 alike of 60 test rows" in page.text
    assert "Slices typos" in page.text
    assert sum(attrs.get("class") == "sample" for _, attrs in page.tags) == 20
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe"}


def test_other_rows_are_told_and_only_common_ones_compared() -> None:
    """One row asks something else under the same id, one is missing: 58 are common."""
    text = said("reports/better", "reports/moved")
    assert "not measured on the same test rows: 58 are common, and only these are compared; 2 are only in the" in text
    assert "58 test rows that both answered" in text
    assert "0 won, 0 lost, 58 alike of 58 rows" in text


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ("nothing", "nothing: names no run; use a report's folder, an MLflow run id, or NAME@latest"),
        ("reports", "reports: has no outcome.json, expected the folder of a run's report"),
        ("assistant@best", "found 'best' after the @, expected latest or previous"),
        ("nobody@latest", "no pipeline of that name has run in this MLflow store"),
        ("other@previous", "found 1 run that came to an end"),
        ("0" * 32, "no run of this id that came to an end"),
    ],
)
def test_what_is_no_run_is_refused_in_one_line(run: str, reason: str) -> None:
    done = compare(run, "reports/better")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert reason in done.stderr


@pytest.mark.parametrize(
    "content", [b'{"name": "x"}', b'{"name": "x", "en', b"", b"\xff\xfe\x00"], ids=["other", "cut", "empty", "bytes"]
)
def test_an_outcome_of_another_version_or_a_broken_one_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "outcome.json").write_bytes(content)
    assert "is no outcome as this version writes it" in compare(str(tmp_path), "reports/better").stderr

"""`posttrain models` as people see it, on a real MLflow store with versions whose outputs are kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from registered import BETTER, NAME, WORSE, aliases, make_versions, scored, tags, verdict
from typer.testing import CliRunner, Result

from flows.cli import app
from posttrain import registry, tracking
from posttrain.evaluation.scores import Scores
from posttrain.registry import Registered
from posttrain.registry.kept import keep_scores


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose store holds three versions: previous, champion, challenger."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tracking.connect(folder, "models-test")
        with tracking.pipeline_run("models-test", "spec") as run:
            make_versions(3, run)
            for version, right in (("1", 20), ("2", 35), ("3", 36)):
                keep(folder, run, version, right)
    champions = [("1", verdict(passed=True), None), ("2", BETTER, "1"), ("3", WORSE, "2")]
    for version, judged, against in champions:
        made = Registered(name=NAME, version=version, uri="", model_id="", reused=False)
        registry.keep_verdicts(made, [judged])
        registry.promote(NAME, version, judged, against=against)
    return folder


def keep(folder: Path, run: str, version: str, right: int) -> None:
    """Scores of 40 rows, the first ones right; one slice."""
    part = scored(folder, f"typos-{version}", [1] * (right // 4) + [0] * (10 - right // 4))
    scores: Scores = scored(folder, f"v{version}", [1] * right + [0] * (40 - right), {"typos": part})
    keep_scores(NAME, version, run, scores, None)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _here(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(store)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("COLUMNS", "80")


def models(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments])


def said(*arguments: str) -> str:
    """The output of a command that goes well, white space folded; only what is to be copied is wider."""
    done = models(*arguments)
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    lines = done.stdout.splitlines()
    width = int(os.environ["COLUMNS"])
    assert all(len(line.rstrip()) <= width or line.startswith(("posttrain ", "import mlflow")) for line in lines)
    return " ".join(done.stdout.split())


def refused(*arguments: str) -> str:
    done = models(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_list_shows_aliases_verdicts_scores_and_who_decided() -> None:
    text = said("list")
    assert "voice-assistant: 3 versions" in text
    assert "3 challenger refused exact_match 0.900" in text
    assert "2 champion passed exact_match 0.875" in text
    assert "1 previous passed exact_match 0.500" in text
    assert "version 2 is champion: better than version 1" in text
    assert said("list", NAME) == text


def test_list_has_room_for_reasons_on_a_wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert "slot_f1 0.500 against champion" in said("list")


@pytest.mark.parametrize("columns", ["80", "120"])
def test_compare_pairs_the_kept_outputs(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = said("compare", NAME, "previous", "champion")
    assert "voice-assistant: version 2 against version 1" in text
    assert "0.500 0.875 +0.375 [+0." in text if columns == "80" else "0.875 [0." in text
    assert "<0.001" in text
    assert "typos:" in text
    assert "40 test rows that both answered" in text
    assert "-0.375 [-0." in said("compare", "2", "1")


def test_what_does_not_exist_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "has no version or alias '9'; use one of 3, 2, 1, challenger, champion" in refused("compare", "1", "9")
    assert "no such registered model; use one of voice-assistant" in refused("list", "voice")
    assert "found 1 words, expected 2 or 3" in refused("compare", "1")
    assert "has no version or alias 'best'" in refused("promote", "best")
    monkeypatch.chdir(tmp_path)
    assert "no MLflow store there" in refused("list")
    assert list(tmp_path.iterdir()) == []


def test_a_person_promotes_and_rolls_back() -> None:
    text = said("promote", "3", "--by", "ann", "--reason", "[b]new slots[/b]")
    assert "voice-assistant version 3 is champion; version 2 is previous ann promoted it [b]new slots[/b]" in text
    assert 'mlflow.pyfunc.load_model("models:/voice-assistant@champion")' in text
    assert aliases() == {"champion": "3", "previous": "2"}
    assert "it is the champion already" in said("promote", NAME, "3")
    text = said("rollback", "--by", "bob")
    assert "voice-assistant version 2 is champion; version 3 is previous bob rolled version 3 back" in text
    assert aliases() == {"champion": "2", "previous": "3"}
    assert tags("3")["posttrain.rolled_back"].startswith("by bob on ")


def test_a_lock_is_no_model() -> None:
    """The only model needs no name, even while somebody promotes."""
    from posttrain.registry.lock import promoting

    with promoting("other"):
        assert "3 versions" in said("list")

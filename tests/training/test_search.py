"""Hyper-parameter search: the best is found, poor trials end early, and a kill changes nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest

from posttrain.errors import DataError, TrainingDiverged
from posttrain.models.recipe import sft_recipe
from posttrain.progress import silent
from posttrain.spec.sections.search import RangeSpec, SearchSpec
from posttrain.spec.sections.sft import SFTSpec
from posttrain.training.search import Range, SearchResult, Value, nearest, search, space_of

SPACE = {"learning_rate": Range(1e-5, 1e-1, log=True), "num_train_epochs": Range(1, 5, whole=True)}
FIRST: dict[str, Value] = {"learning_rate": 1e-5, "num_train_epochs": 1}


def score(values: Mapping[str, Value], share: float, place: int, tell: Any) -> float:
    """Best at a rate of 1e-3 and three epochs; more rows add the same to every trial."""
    rate, epochs = float(values["learning_rate"]), float(values["num_train_epochs"])
    return share - abs(math.log10(rate) + 3) / 4 - abs(epochs - 3) / 10


def storage(folder: Path) -> Any:
    return optuna.storages.RDBStorage(f"sqlite:///{folder / 'study.db'}")


def tried(result: SearchResult) -> list[tuple[Any, ...]]:
    return [(trial.outcome, tuple(trial.values.items()), tuple(trial.scores.items())) for trial in result.trials]


def test_the_best_values_are_found_and_the_first_trial_is_what_was_given() -> None:
    result = search(SPACE, score, trials=30, first=FIRST)
    assert result.trials[0].values == FIRST
    # By hand: 1 - 2/4 - 2/10 = 0.3 for the first; 1.0 is the best there is.
    assert result.first == pytest.approx(0.3)
    assert result.score > 0.85
    assert result.gain == pytest.approx(result.score - 0.3)
    assert result.score == max(trial.score for trial in result.trials if trial.score is not None)
    assert score(result.values, 1.0, 0, silent) == result.score


def test_a_trial_below_the_median_of_earlier_ones_ends_early() -> None:
    trained: list[float] = []

    def counting(values: Mapping[str, Value], share: float, place: int, tell: Any) -> float:
        trained.append(share)
        return score(values, share, place, tell)

    result = search(SPACE, counting, trials=20)
    pruned = [trial for trial in result.trials if trial.outcome == "pruned"]
    assert pruned
    assert all(trial.score is None and "1" not in trial.scores for trial in pruned)
    assert sum(trained) < 20 * 1.75
    assert not any(trial.outcome == "pruned" for trial in result.trials[:3])
    whole = search(SPACE, score, trials=5, shares=(1.0,))
    assert [trial.outcome for trial in whole.trials] == ["complete"] * 5


@pytest.mark.parametrize("parallel", [1, 3])
def test_a_killed_search_goes_on_to_the_same_result(parallel: int, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    left = [7]

    def dying(values: Mapping[str, Value], share: float, place: int, tell: Any) -> float:
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return score(values, share, place, tell)

    asked: dict[str, Any] = {"trials": 9, "first": FIRST, "parallel": parallel, "seed": 4}
    with pytest.raises(Killed):
        search(SPACE, dying, storage=storage(tmp_path), **asked)
    resumed = search(SPACE, score, storage=storage(tmp_path), **asked)
    assert tried(resumed) == tried(search(SPACE, score, **asked))
    again = search(SPACE, dying, storage=storage(tmp_path), **asked)  # nothing left to do
    assert again == resumed


def test_trials_are_runs_of_the_mlflow_store_and_are_taken_up_from_it(tmp_path: Path) -> None:
    import mlflow

    from posttrain import tracking

    before = mlflow.get_tracking_uri()
    try:
        tracking.connect(tmp_path, "commands")
        asked: dict[str, Any] = {"trials": 4, "first": FIRST, "name": "search one", "shares": (0.5, 1.0)}
        result = search(SPACE, score, storage=tracking.trial_storage("commands"), **asked)
        assert tried(result) == tried(search(SPACE, score, **asked))

        def idle(values: Mapping[str, Value], share: float, place: int, tell: Any) -> float:
            raise AssertionError("every trial is in the store")

        assert search(SPACE, idle, storage=tracking.trial_storage("commands"), **asked) == result
        experiment = mlflow.get_experiment_by_name("commands search")
        runs = mlflow.search_runs([experiment.experiment_id], output_format="list")
        study = next(run for run in runs if run.info.run_name == "search one")
        trials = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == study.info.run_id]
        assert sorted(run.data.metrics["value"] for run in trials if run.info.status == "FINISHED") == sorted(
            trial.score for trial in result.trials if trial.score is not None
        )
    finally:
        mlflow.set_tracking_uri(before)


def test_a_training_that_diverges_is_a_failed_trial_and_all_of_them_an_error() -> None:
    def fragile(values: Mapping[str, Value], share: float, place: int, tell: Any) -> float:
        if float(values["learning_rate"]) > 1e-4:
            raise TrainingDiverged("loss is nan at step 3")
        return score(values, share, place, tell)

    result = search(SPACE, fragile, trials=12)
    failed = [trial for trial in result.trials if trial.outcome == "failed"]
    assert failed
    assert all(trial.reason == "loss is nan at step 3" for trial in failed)
    assert float(result.values["learning_rate"]) <= 1e-4
    with pytest.raises(DataError, match=r"none of 2 trials came to its end \(loss is nan at step 3\)"):
        search({"learning_rate": Range(1e-2, 1e-1)}, fragile, trials=2)


def test_lower_may_be_better() -> None:
    result = search(SPACE, lambda *given: -score(*given), trials=15, higher_is_better=False)
    assert result.score == min(trial.score for trial in result.trials if trial.score is not None)


def test_without_ranges_rate_epochs_and_batch_are_searched_around_the_recipe() -> None:
    spec = SFTSpec(method="full", learning_rate=3e-3, num_train_epochs=2, batch_size=16)
    space = space_of(spec, sft_recipe(spec, 4_000_000, 1000), {})
    assert space == {
        "learning_rate": Range(3e-3 / 3, 3 * 3e-3, log=True),
        "num_train_epochs": Range(1, 4, whole=True),
        "batch_size": [8, 16, 32],
    }
    given = space_of(spec, sft_recipe(spec, 4_000_000, 1000), {"lora_rank": RangeSpec(low=8, high=64, log=True)})
    assert given == {"lora_rank": Range(8, 64, log=True, whole=True)}
    assert nearest(
        {"lora_rank": Range(8, 32, whole=True), "batch_size": [4, 8]}, {"lora_rank": 64, "batch_size": 8}
    ) == {
        "lora_rank": 32,
        "batch_size": 8,
    }


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"learning_rte": [1e-3, 1e-4]}, "found 'learning_rte', expected a setting of sft: optimizer, learning_rate"),
        (
            {"learning_rate": {"low": 1e-3, "high": 2.0}},
            "learning_rate: found 2.0, which sft.learning_rate does not take",
        ),
        ({"learning_rate": {"low": 1e-3, "high": 1e-4}}, "expected low below high"),
        ({"learning_rate": {"low": 0.0, "high": 1e-4, "log": True}}, "expected more than 0"),
        ({"batch_size": [8]}, "expected at least two choices; set sft.batch_size instead"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(values: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SearchSpec.model_validate({"trials": 3, "values": values})

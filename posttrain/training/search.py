"""Hyper-parameter search: which values make SFT best at the task, by trying them (S4).

Optuna proposes (TPE), a trial trains and is measured on the validation split, and what counts is the task's metric. A
trial may be measured on the way, on a quarter and half of the rows; one below the median of the earlier trials ends
there. Trials are proposed in rounds of `parallel`, each round's proposals drawn from a seed of its own and from
finished rounds only: a search that was killed, or whose trials end in another order, comes to the same result. Knows
neither models nor MLflow: `objective` does a trial's work and `storage` keeps what came of it.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field

from posttrain.artifacts import Frozen
from posttrain.errors import DataError, ModelError, TrainingDiverged
from posttrain.progress import Progress, silent

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as Asked

    from posttrain.models.recipe import Recipe
    from posttrain.spec import SFTSpec
    from posttrain.spec.sections.search import RangeSpec

Value = bool | int | float | str
Objective = Callable[[Mapping[str, Value], float, int, Progress], float]
"""(values, share of the training rows, which of the parallel places, progress) → the metric on the validation split."""

SHARES = (0.25, 0.5, 1.0)
FIRST_TRIALS = 3
"""Trials that are never ended early: of fewer a median says nothing."""
RANDOM_TRIALS = 5
"""Trials before TPE models what is good; a search has tens of trials, where Optuna's ten would be half of them."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; `whole` ones only, or by their logarithm."""

    low: float
    high: float
    log: bool = False
    whole: bool = False


Space = Mapping[str, "Range | Sequence[Value]"]


class TrialResult(Frozen):
    """One trial: its values, and the metric at each share of the rows that it was measured at."""

    number: int
    values: dict[str, Value]
    scores: dict[str, float] = Field(description="Share of the training rows ('0.25', '1') → metric.")
    outcome: str = Field(description="complete, pruned or failed.")
    reason: str = Field("", description="Why it failed, in a line.")

    @property
    def score(self) -> float | None:
        """The metric after all rows; None when the trial did not come to that."""
        return self.scores.get("1") if self.outcome == "complete" else None


class SearchResult(Frozen):
    """The best values, and every trial. `first` is the score of the first trial, of the values that were given."""

    values: dict[str, Value]
    score: float
    first: float | None
    trials: tuple[TrialResult, ...]

    @property
    def gain(self) -> float | None:
        """What the search found beyond the first trial, on the rows it was chosen by: an optimistic figure."""
        return None if self.first is None else self.score - self.first


def space_of(spec: SFTSpec, recipe: Recipe, values: Mapping[str, RangeSpec | Sequence[Value]]) -> Space:
    """What is searched: the spec's ranges, or rate, epochs and batch around what the recipe settled (S4)."""
    if not values:
        rate, batch, epochs = (
            float(recipe["learning_rate"]),
            int(recipe["batch_size"]),
            float(recipe["num_train_epochs"]),
        )
        return {
            "learning_rate": Range(rate / 3, min(1.0, 3 * rate), log=True),
            "num_train_epochs": Range(max(1, round(epochs / 2)), max(2, round(2 * epochs)), whole=True),
            "batch_size": sorted({max(1, batch // 2), batch, 2 * batch}),
        }
    whole = {name for name, field in type(spec).model_fields.items() if field.annotation in (int, int | None)}
    return {
        name: list(wanted)
        if isinstance(wanted, Sequence)
        else Range(wanted.low, wanted.high, wanted.log, name in whole)
        for name, wanted in values.items()
    }


def nearest(space: Space, values: Mapping[str, Value]) -> dict[str, Value]:
    """For each setting of the space its value, or the nearest (of choices: the first) that the space has."""
    return {name: _nearest(wanted, values[name]) for name, wanted in space.items() if name in values}


def _nearest(wanted: Range | Sequence[Value], value: Value) -> Value:
    if not isinstance(wanted, Range):
        return value if value in wanted else wanted[0]
    within = min(max(float(value), wanted.low), wanted.high)
    return round(within) if wanted.whole else within


def search(
    space: Space,
    objective: Objective,
    *,
    trials: int,
    first: Mapping[str, Value] | None = None,
    parallel: int = 1,
    shares: Sequence[float] = SHARES,
    higher_is_better: bool = True,
    seed: int = 0,
    storage: Any = None,
    name: str = "search",
    progress: Progress = silent,
) -> SearchResult:
    """Try `trials` proposals, `first` before all, and return the best values with every trial.

    `storage` is an Optuna storage that outlives the process, in which the study `name` is taken up again; None forgets.
    A trial whose training diverges or whose model does not fit fails, and the search goes on. Raises: `DataError` when
    no trial came to its end; whatever else `objective` raises.
    """
    study = _study(name, storage, higher_is_better)
    _fail_what_a_kill_left(study)
    while (ended := len(_ended(study))) < trials:
        study.sampler = _sampler(seed, ended)
        if first and not ended:
            study.enqueue_trial(dict(first))
        asked = [study.ask() for _ in range(min(parallel, trials - ended))]
        proposed = [(trial, _proposed(trial, space)) for trial in asked]
        for trial, end in zip(
            asked, _round(proposed, objective, shares, _telling(progress, ended, trials)), strict=True
        ):
            trial.set_user_attr(END, end.model_dump(mode="json"))
            study.tell(trial, end.value, state=_states()[end.outcome])
    return _result(study, first, higher_is_better)


END = "end"


class _End(Frozen):
    """How a trial ended; `value` is None unless it is complete."""

    outcome: Literal["complete", "pruned", "failed"]
    values: dict[str, Value]
    scores: dict[str, float]
    reason: str = ""

    @property
    def value(self) -> float | None:
        return self.scores["1"] if self.outcome == "complete" else None


def _round(
    proposed: Sequence[tuple[Asked, Mapping[str, Value]]], objective: Objective, shares: Sequence[float], tell: Progress
) -> list[_End]:
    """The trials of a round, each in a thread of its own; one that raises stops the others at their next word."""
    if len(proposed) == 1:
        return [_run(*proposed[0], objective, shares, 0, tell)]
    stopping = threading.Event()

    def told(done: float, total: float, note: str = "") -> None:
        if stopping.is_set():
            raise RuntimeError("another trial of the round stopped the search")
        tell(done, total, note)

    with ThreadPoolExecutor(max_workers=len(proposed)) as places:
        runs = [places.submit(_run, *one, objective, shares, place, told) for place, one in enumerate(proposed)]
        try:
            wait(runs, return_when=FIRST_EXCEPTION)
            return [run.result() for run in runs]
        finally:
            stopping.set()


def _run(
    trial: Asked,
    values: Mapping[str, Value],
    objective: Objective,
    shares: Sequence[float],
    place: int,
    tell: Progress,
) -> _End:
    scores: dict[str, float] = {}
    try:
        for share in shares:
            scores[f"{share:g}"] = score = objective(values, share, place, tell)
            trial.report(score, step=round(100 * share))
            if share < shares[-1] and trial.should_prune():
                return _End(outcome="pruned", values=dict(values), scores=scores)
    except (TrainingDiverged, ModelError) as error:
        return _End(outcome="failed", values=dict(values), scores=scores, reason=str(error))
    return _End(outcome="complete", values=dict(values), scores=scores)


def _telling(progress: Progress, ended: int, trials: int) -> Progress:
    """A training's own progress as a note beside the count of trials."""

    def tell(done: float, total: float, note: str = "") -> None:
        progress(ended + (done / total if total else 0), trials, f"trial {ended + 1}: {note}")

    return tell


# --- Optuna ------------------------------------------------------------------------------------------------


def _study(name: str, storage: Any, higher_is_better: bool) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=FIRST_TRIALS)
    if storage is not None and _has(storage, name):
        return optuna.load_study(study_name=name, storage=storage, pruner=pruner)
    direction = "maximize" if higher_is_better else "minimize"
    return optuna.create_study(study_name=name, storage=storage, direction=direction, pruner=pruner)


def _has(storage: Any, name: str) -> bool:
    """Asked here because MLflow's storage makes a second study of a name where Optuna's own refuse."""
    try:
        storage.get_study_id_from_name(name)
    except Exception:  # Optuna's storages raise KeyError, MLflow's a plain Exception; a store that is down fails next
        return False
    return True


def _sampler(seed: int, ended: int) -> Any:
    """The proposals of a round depend on the seed, the round's number and finished trials, and on nothing else."""
    import optuna

    with warnings.catch_warnings():
        # Optuna may change how proposals of one round are kept apart; a result is pinned to its version anyway.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            n_startup_trials=RANDOM_TRIALS, constant_liar=True, seed=(seed * 1_000_003 + ended) % 2**32
        )


def _states() -> dict[str, Any]:
    from optuna.trial import TrialState

    return {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


def _fail_what_a_kill_left(study: Study) -> None:
    """Trials that were under way are proposed again; what they had trained is found in the workspace."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)):
        study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)


def _ended(study: Study) -> list[tuple[int, _End]]:
    """(number, end) of every trial that came to an end of its own, in their order."""
    trials = sorted(study.get_trials(deepcopy=False), key=lambda trial: trial.number)
    return [(trial.number, _End.model_validate(trial.user_attrs[END])) for trial in trials if _is_over(trial)]


def _is_over(trial: FrozenTrial) -> bool:
    return trial.state.is_finished() and END in trial.user_attrs


def _proposed(trial: Asked, space: Space) -> dict[str, Value]:
    return {name: _drawn(trial, name, wanted) for name, wanted in space.items()}


def _drawn(trial: Asked, name: str, wanted: Range | Sequence[Value]) -> Value:
    if not isinstance(wanted, Range):
        chosen: Any = trial.suggest_categorical(name, list(wanted))
        return cast(Value, chosen)
    if wanted.whole:
        return trial.suggest_int(name, round(wanted.low), round(wanted.high), log=wanted.log)
    # Two figures are what a person would write, and what the registry and the report can show.
    return float(f"{trial.suggest_float(name, wanted.low, wanted.high, log=wanted.log):.2g}")


def _result(study: Study, first: Mapping[str, Value] | None, higher_is_better: bool) -> SearchResult:
    trials = tuple(
        TrialResult(number=place, values=end.values, scores=end.scores, outcome=end.outcome, reason=end.reason)
        for place, (_, end) in enumerate(_ended(study))
    )
    scored = [(trial.score, -trial.number, trial) for trial in trials if trial.score is not None]
    if not scored:
        reasons = "; ".join(dict.fromkeys(trial.reason for trial in trials if trial.reason)) or "no trial was run"
        raise DataError(f"search: none of {len(trials)} trials came to its end ({reasons}); search smaller values")
    sign = 1 if higher_is_better else -1
    score, _, best = max(scored, key=lambda one: (sign * one[0], one[1]))
    return SearchResult(values=best.values, score=score, first=trials[0].score if first else None, trials=trials)

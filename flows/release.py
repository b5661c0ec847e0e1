"""From a measured candidate to the registry: the test split is opened here, once."""

from __future__ import annotations

from posttrain.data.curate import CurateResult
from posttrain.evaluation.scores import Scores
from posttrain.outcome import Outcome
from posttrain.registry import Incumbent, Promotion, Registered
from tasks.approve import ask_approval
from tasks.bad_cases import with_bad_cases
from tasks.baseline import Baseline
from tasks.candidate import Candidate
from tasks.evaluate import evaluate
from tasks.gate import judge
from tasks.merge import merge
from tasks.promote import find_champion, promote
from tasks.register import register
from tasks.report import conclude
from tasks.run import Run

TESTS = 3
"""How often the candidate is tested when the champion changes meanwhile; then it stays challenger."""


def release_model(run: Run, candidate: Candidate, baseline: Baseline, rows: CurateResult) -> Outcome:
    """Judge the candidate on the test split against the champion; register it; promote it if it is better.

    An adapter is merged first: the files that are tested are those that are registered.
    When another run changes the champion between verdict and promotion, the candidate is tested against the new one.
    """
    if not candidate.worth_releasing:
        return conclude(run, rows, baseline, candidate)
    released = merge(run, candidate.model) if candidate.model.adapter else candidate.model
    champion = find_champion(run, released)
    scores, champion = with_bad_cases(run, evaluate(run, released, rows, "test", "test"), champion)
    version, promotion = _contend(run, candidate, baseline, rows, scores, champion)
    for _ in range(TESTS - 1):
        if not promotion.stale:
            break
        scores, champion = with_bad_cases(run, scores, find_champion(run, released))
        version, promotion = _contend(run, candidate, baseline, rows, scores, champion)
    return conclude(run, rows, baseline, candidate, scores, version, promotion, champion)


def _contend(
    run: Run, candidate: Candidate, baseline: Baseline, rows: CurateResult, scores: Scores, champion: Incumbent
) -> tuple[Registered, Promotion]:
    """One test against one champion. The test split's outputs are there; they are only compared again."""
    verdict = judge(run, "release", scores, baseline=baseline.best, champion=champion.scores)
    version = register(run, candidate, scores, baseline, champion, rows)
    approval = ask_approval(run, version, verdict, champion)
    return version, promote(run, version, verdict, champion, approval)


def advise(run: Run, baseline: Baseline, rows: CurateResult) -> Outcome:
    """No training: the prompt is enough, or more data is needed; say so."""
    return conclude(run, rows, baseline)

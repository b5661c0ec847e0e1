"""From a measured candidate to the registry: the test split is opened here, once."""

from __future__ import annotations

from posttrain.data.curate import CurateResult
from posttrain.outcome import Outcome
from tasks.baseline import Baseline
from tasks.candidate import Candidate
from tasks.evaluate import evaluate
from tasks.gate import judge
from tasks.promote import find_champion, promote
from tasks.register import register
from tasks.report import conclude
from tasks.run import Run


def release_model(run: Run, candidate: Candidate, baseline: Baseline, rows: CurateResult) -> Outcome:
    """Judge the candidate on the test split against the champion; register it; promote it if it is better."""
    if not candidate.worth_releasing:
        return conclude(run, rows, baseline, candidate)
    champion = find_champion(run, candidate.model)
    scores = evaluate(run, candidate.model, rows, "test", "test")
    verdict = judge(run, "release", scores, baseline=baseline.best, champion=champion)
    version = register(run, candidate, scores, rows)
    promotion = promote(run, version, verdict)
    return conclude(run, rows, baseline, candidate, scores, version, promotion)


def advise(run: Run, baseline: Baseline, rows: CurateResult) -> Outcome:
    """No training: the prompt is enough, or more data is needed; say so."""
    return conclude(run, rows, baseline)

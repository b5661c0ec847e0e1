"""Which rung of the ladder comes next: prompt, few-shot, SFT, DPO (S0). The flowchart, executed by measurement.

`decide` is pure: evidence in, the next step out, with the path, the reasons in words, and what was not chosen and why.
Nothing else in Posttrain decides. Knows nothing of files, models or flows; docs/strategy.md draws the chart.

| module | idea |
| --- | --- |
| `evidence`, `decision` | what goes in, what comes out |
| `before`, `after` | the two halves of the chart, a leaf for each end |
| `conditions` | the chart's questions, answered from evidence |
| `spending` | costs and limits; `costs` estimates them, `quality` counts bad rows, before `decide` is asked |
"""

from __future__ import annotations

from posttrain.strategy.after import after_training
from posttrain.strategy.before import before_training
from posttrain.strategy.decision import MEANING, TRAINS, Action, Alternative, Decision, Step, Turn, meaning
from posttrain.strategy.evidence import Evidence, Limits, Preferences, Quality, Rung, best_baseline

__all__ = [
    "MEANING",
    "TRAINS",
    "Action",
    "Alternative",
    "Decision",
    "Evidence",
    "Limits",
    "Preferences",
    "Quality",
    "Rung",
    "Step",
    "Turn",
    "best_baseline",
    "decide",
    "meaning",
]


def decide(evidence: Evidence) -> Decision:
    """The next rung of the ladder.

    Raises: ValueError when the step is after_sft and there are no scores of the trained model.
    """
    return before_training(evidence) if evidence.step == "baseline" else after_training(evidence)

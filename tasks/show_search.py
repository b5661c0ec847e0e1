"""What a hyper-parameter search shows: one line, and a table of its trials. Knows nothing of Optuna."""

from __future__ import annotations

from posttrain.training.search import SearchResult
from tasks import show


def in_words(result: SearchResult) -> str:
    """What a search found, on one line."""
    values = ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in result.values.items()
    )
    gain = "" if result.gain is None else f" ({result.gain:+.3f} over the first trial)"
    return f"{len(result.trials)} trials, best {result.score:.3f}{gain}: {values}"


def markdown(result: SearchResult) -> str:
    """What was found, and every trial; the best score is of rows that it was chosen by, so the test split decides."""
    rows = trials(result)
    return f"{in_words(result)}\n\n" + show.table(list(rows[0]), [list(row.values()) for row in rows])


def trials(result: SearchResult) -> list[dict[str, object]]:
    """A row a trial: its values, its score at each share of the rows, and how it ended."""
    return [
        {
            "trial": trial.number,
            **trial.values,
            **{f"at {float(share):.0%} of the rows": trial.scores.get(share) for share in _shares(result)},
            "ended": trial.outcome,
            "reason": trial.reason,
        }
        for trial in result.trials
    ]


def _shares(result: SearchResult) -> list[str]:
    return sorted({share for trial in result.trials for share in trial.scores}, key=float)

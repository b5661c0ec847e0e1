"""The ladder: a guard's first finding warns, findings in a row act. Pure bookkeeping; knows no guard's reasons."""

from __future__ import annotations

from posttrain.training.guards.finding import Finding, Guard


class Ladder:
    """What each guard has found in a row, and all that has been said so far.

    A streak is the findings of one guard without a sound observation between them.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.said: list[Finding] = []
        self._streaks: dict[Guard, list[Finding]] = {}

    def step(self, guard: Guard, finding: Finding | None) -> Finding | None:
        """Take note of what the guard found or did not find; the finding to act on, if it has come to that.

        Its `since` is that of the streak's first finding.
        """
        if finding is None:
            self._streaks.pop(guard, None)
            return None
        streak = self._streaks.setdefault(guard, [])
        streak.append(finding)
        if len(streak) == 1:
            self.said.append(finding)
        acting = [one for one in streak if one.acts]
        if finding.at_once or (finding.acts and len(acting) >= self.patience):
            return finding.model_copy(update={"since": acting[0].since, "severity": "roll_back"})
        return None

    @property
    def doubtful_from(self) -> int | None:
        """The first step that an unfinished streak speaks against."""
        return min((streak[0].since for streak in self._streaks.values()), default=None)

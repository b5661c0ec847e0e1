"""The guards of one training: they are told what happens, remember it, and stop the process when it must be stopped.

On resumption they go through what was observed before the checkpoint again, so that they know, say and do what they
would have known without the interruption. Knows no trainer; see `posttrain.training.callbacks` and `ppo` for who tells.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from posttrain.errors import GuardTripped
from posttrain.training.guards import collapse, hacking, instability, text
from posttrain.training.guards.finding import Finding, Guard, HeldOut, Observation
from posttrain.training.guards.ladder import Ladder
from posttrain.training.guards.record import Log, RollBack, read_state, write_state

if TYPE_CHECKING:
    from posttrain.spec.sections.guards import GuardsSpec


class Guards:
    """Fed `observe` after every logged step or rollout.

    `known` are completions of the task's data, if it has any: what answers are usually like.
    """

    def __init__(self, spec: GuardsSpec, partial: Path, known: Sequence[str] = ()) -> None:
        self.spec = spec
        self.partial = partial
        self.known = text.measure((), known, spec.collapse.opening_words)
        self.usual = hacking.Usual(self.known.get("words", 0.0), text.common_words(known) if known else None)
        self.note = ""
        self.ladder = Ladder(spec.patience)
        self.history: list[Observation] = []
        self._log = Log(partial, writes=os.environ.get("RANK", "0") == "0")
        self._every = 1

    def begin(self, step: int, every: int) -> None:
        """The training starts, or resumes after `step` steps; roll-backs go to multiples of `every`."""
        self._every = max(1, every)
        self.ladder = Ladder(self.spec.patience)
        self.history = []
        for one in self._log.resume(step):
            self._judge(one)

    def observe(
        self,
        step: int,
        metrics: Mapping[str, float],
        prompts: Sequence[str] = (),
        completions: Sequence[str] = (),
        held_out: HeldOut | None = None,
    ) -> None:
        """One logged step or rollout; `held_out` where answers to held-out prompts were judged.

        Raises: `GuardTripped` when a guard acts; what is to be done lies in the stage's folder then.
        """
        measured = text.measure(prompts, completions, self.spec.collapse.opening_words)
        one = Observation(
            step=step,
            metrics={**{name: float(value) for name, value in metrics.items()}, **measured},
            words=text.common_words(completions) if completions else {},
            proxy=tuple(held_out.proxy) if held_out else (),
            independent=tuple(held_out.independent) if held_out else (),
        )
        self._log.append(one)
        if acting := self._judge(one):
            self.trip(acting)

    def with_note(self, note: str) -> str:
        """A line of progress with what a guard finds at the moment."""
        return f"{note}; {self.note}" if self.note else note

    def trip(self, finding: Finding) -> None:
        """Leave word of what is to be done and end the training. Raises: `GuardTripped`."""
        state = read_state(self.partial)
        word = RollBack(finding=finding, to_step=self._anchor(finding.since - 1))
        write_state(self.partial, state.model_copy(update={"tripped": word}))
        raise GuardTripped(str(finding))

    def not_finite(self, step: int, diagnosis: str) -> None:
        """A number is not finite; ends the training by the ladder if the guard may act. Raises: `GuardTripped`."""
        if self.spec.instability.action == "act":
            self.trip(
                Finding(
                    guard="instability",
                    step=step,
                    since=self.ladder.doubtful_from or step,
                    severity="roll_back",
                    diagnosis=diagnosis,
                    at_once=True,
                )
            )

    def before_checkpoint(self) -> int:
        """Have the observations on the disk; the step that a roll-back would go to, should one come of what is seen."""
        self._log.sync()
        window = self.history[-self.spec.window :]
        streak = self.ladder.doubtful_from
        steps = [step for step in (streak, window[0].step if window else None) if step is not None]
        return self._anchor(min(steps, default=1) - 1)

    def _anchor(self, step: int) -> int:
        return max(0, step) // self._every * self._every

    def _judge(self, one: Observation) -> Finding | None:
        """What each guard makes of the history with this observation at its end; the finding to act on, if any."""
        self.history.append(one)
        acting = None
        self.note = ""
        for guard, action in self._actions.items():
            if action == "ignore" or not self._fresh(guard):
                continue
            finding = self._find(guard)
            act = self.ladder.step(guard, finding)
            if finding:
                self.note = f"{guard}: {finding.diagnosis}"
            if act and action == "act":
                acting = acting or act
        return acting

    @property
    def _actions(self) -> dict[Guard, str]:
        spec = self.spec
        return {
            "instability": spec.instability.action,
            "hacking": spec.hacking.action,
            "collapse": spec.collapse.action,
        }

    def _fresh(self, guard: Guard) -> bool:
        speaks = {"instability": instability.fresh, "hacking": hacking.fresh, "collapse": collapse.fresh}
        return speaks[guard](self.history)

    def _find(self, guard: Guard) -> Finding | None:
        if guard == "instability":
            return instability.find(self.history, self.spec)
        if guard == "collapse":
            return collapse.find(self.history, self.spec, self.known)
        return hacking.find(self.history, self.spec, self.usual)

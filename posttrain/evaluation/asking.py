"""Asking a loaded model: rows become conversations, conversations become outputs, and none is generated twice.

Knows how a prompt is made and where outputs are kept; knows nothing of totals, slices or stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posttrain.evaluation.few_shot import FewShot, search
from posttrain.evaluation.generate import answer, context_length, token_ids
from posttrain.evaluation.job import MeasureJob
from posttrain.evaluation.kept_outputs import KeptOutputs
from posttrain.evaluation.metrics import MAIN, METRICS
from posttrain.evaluation.rows import Row, read
from posttrain.progress import Progress
from posttrain.prompts import Message, asked


@dataclass
class Asker:
    """A model, and how the job says it is asked."""

    job: MeasureJob
    model: Any
    tokenizer: Any
    progress: Progress
    few_shot: FewShot | None = None

    def __post_init__(self) -> None:
        self.few_shot = self._searched() if self.job.few_shot_search else self.job.few_shot

    def answered(self, rows: Sequence[Row]) -> tuple[list[dict[str, Any]], int]:
        """(each row with its output and counts, how many prompts were cut to fit)."""
        outputs, cut = self.outputs(self.conversations(rows))
        return self.job.scoring.scored(rows, outputs), cut

    def conversations(self, rows: Sequence[Row]) -> list[list[Message]]:
        """The prompt of each row."""
        if self.few_shot is None or self.job.examples is None:
            return [asked(row) for row in rows]
        return self._shown(self.few_shot, read(self.job.examples), rows)

    def outputs(self, conversations: Sequence[Sequence[Message]]) -> tuple[list[str], int]:
        """(the output of each conversation, how many were cut to fit)."""
        job = self.job
        # A few-shot prompt may teach a base model the form of an answer without teaching it to stop.
        ends = job.prompting == "few-shot" and job.scoring.kind != "text"
        decoding = {"model": job.model.fingerprint, "max_new_tokens": job.max_new_tokens, "end_at_blank_line": ends}
        with KeptOutputs(Path(job.kept_outputs or job.partial), decoding) as kept:
            return answer(
                self.model,
                self.tokenizer,
                conversations,
                max_new_tokens=job.max_new_tokens,
                batch_size=job.batch_size,
                end_at_blank_line=ends,
                kept=kept,
                progress=self.progress,
            )

    def _shown(self, choice: FewShot, pool: Sequence[Row], rows: Sequence[Row]) -> list[list[Message]]:
        """Prompts with worked examples, as many as fit."""
        room = context_length(self.model) - self.job.max_new_tokens
        length = self._length
        return choice.conversations(pool, rows, length, room, self.job.seed)

    def _length(self, turns: list[Message]) -> int:
        return len(token_ids(self.tokenizer, turns))

    def _searched(self) -> FewShot:
        """Which worked examples do best, on training rows that are shown to nobody."""
        job = self.job
        main = METRICS[MAIN[job.scoring.kind]]

        def attempt(choice: FewShot, pool: Sequence[Row], rows: Sequence[Row]) -> float:
            table = job.scoring.scored(rows, self.outputs(self._shown(choice, pool, rows))[0])
            return main.value([tuple(row[name] for name in main.columns) for row in table])

        assert job.examples is not None
        return search(read(job.examples), attempt, job.seed)

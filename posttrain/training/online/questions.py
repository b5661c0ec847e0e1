"""The prompts that are asked, as tokens, with the columns that rewards read, and how answers to them are drawn.

Knows not who answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.training.online.job import OnlineJob
from posttrain.training.rewards import REWARDS

if TYPE_CHECKING:
    from posttrain.training.ppo.rollout import Sampling
    from posttrain.training.ppo.trainer import Question


def ask(job: OnlineJob, tokenizer: Any, excluded_to: str | None = "excluded.jsonl") -> tuple[list[Question], int]:
    """The prompts that are asked, with the columns that rewards read; how many rows were too long.

    Where the task's verifier rewards, rows that it cannot judge are left out, as for pairs: general text in the mixture
    is among them.
    """
    from posttrain.prompts import asked
    from posttrain.training import rows as to_tokens
    from posttrain.training.pairs import choose_rows, verifiable_rows
    from posttrain.training.ppo.trainer import Question

    rows = to_tokens.read(job.train)
    if not job.rewards or "verifier" in {term.name for term in job.rewards}:
        rows = verifiable_rows(rows, REWARDS[job.kind], job.train.uri)
    rows = choose_rows(rows, job.slices, job.prompts, job.seed)
    ids = to_tokens.prompt_ids(rows, tokenizer)
    lengths = [len(one) + job.max_new_tokens for one in ids]
    kept, excluded = to_tokens.fits(rows, lengths, job.max_length, job.train.uri)
    if excluded_to is not None:
        to_tokens.write_excluded(excluded, Path(job.partial) / excluded_to)
    questions = [
        Question(
            ids[place],
            rows[place]["prompt"],
            {
                "expected": rows[place]["completion"],
                "question": rows[place]["prompt"],
                "system": rows[place].get("system") or "",
            },
            asked(rows[place]),
        )
        for place in kept
    ]
    return questions, len(excluded)


def sampling_of(job: OnlineJob) -> Sampling:
    """How PPO draws an answer, in training and where guards measure."""
    from posttrain.training.ppo.rollout import Sampling

    online = job.online
    return Sampling(job.max_new_tokens, online.temperature, online.top_p, online.repetition_penalty, job.seed)

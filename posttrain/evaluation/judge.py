"""A judge says which of two answers to a prompt is better: a reward model loaded here, or a model at an endpoint.

Knows what is compared and what comes of it; how each sort of judge decides has a module of its own (`judge_reward`,
`judge_endpoint`). Knows nothing of totals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posttrain.artifacts import Frozen
from posttrain.errors import DataError
from posttrain.evaluation.metrics.win_rate import AGREED, LONGER, PREFERENCE
from posttrain.progress import Progress, silent
from posttrain.spec.sections.judge import JudgeSpec

TIE = 0.5


@dataclass(frozen=True)
class Comparison:
    """Two answers to one prompt, ours and the other."""

    system: str
    prompt: str
    ours: str
    other: str


@dataclass(frozen=True)
class Preference:
    """1 when ours is preferred, 0 when the other is, 0.5 for a tie; `agreed`: both orders gave the same verdict."""

    value: float
    agreed: bool = True


SAME = Preference(TIE)


class Judge(Frozen):
    """A judge in plain data, part of the measuring stage's fingerprint: `folder` and `digest` are of a reward model's
    files; `others` are other answers (by id, or by prompt) with which outputs are compared; None: rows' completions."""

    spec: JudgeSpec
    folder: str = ""
    digest: str = ""
    others: dict[str, str] | None = None

    def judged(
        self,
        rows: Sequence[Mapping[str, Any]],
        outputs: Sequence[str],
        cache: Path,
        progress: Progress = silent,
    ) -> list[dict[str, float]]:
        """The columns of the metrics of win rates for each row and its output.

        Verdicts of an endpoint are kept in `cache`. Raises: `DataError` when a row has no other answer, or calls were
        stopped (cost, quota); `ModelError`, `TransientError`.
        """
        others = [self._other(row) for row in rows]
        compared = [
            Comparison(row.get("system") or "", row["prompt"], output, other)
            for row, output, other in zip(rows, outputs, others, strict=True)
        ]
        return [
            {
                PREFERENCE: preference.value,
                LONGER: float(len(pair.ours) - len(pair.other)),
                AGREED: float(preference.agreed),
            }
            for pair, preference in zip(compared, self.prefers(compared, cache, progress), strict=True)
        ]

    def prefers(self, compared: Sequence[Comparison], cache: Path, progress: Progress = silent) -> list[Preference]:
        """The preference of each comparison; two answers of the same words are a tie that nobody is asked about."""
        asked = [pair for pair in dict.fromkeys(compared) if pair.ours.strip() != pair.other.strip()]
        if self.spec.sort == "reward":
            from posttrain.evaluation import judge_reward

            found = judge_reward.prefers(Path(self.folder), asked, self.spec.max_tokens)
        else:
            from posttrain.evaluation import judge_endpoint

            found = judge_endpoint.prefers(self.spec, asked, cache, progress)
        known = dict(zip(asked, found, strict=True))
        return [known.get(pair, SAME) for pair in compared]

    def _other(self, row: Mapping[str, Any]) -> str:
        if self.others is None:
            return str(row["completion"])
        found = self.others.get(str(row["id"]), self.others.get(str(row["prompt"])))
        if found is None:
            raise DataError(
                f"evaluate.judge.against: {', '.join(self.spec.against)} has no answer for row {row['id']}, expected "
                "one for every row that is measured, by id or by prompt; add it, or leave against out"
            )
        return found


def judge_of(spec: JudgeSpec, root: Path) -> Judge:
    """The judge that a spec asks for; its files start at `root`.

    Raises: `ModelError` when the reward model cannot be used, `DataError` when the files of other answers cannot.
    """
    others = {name: answer for path in spec.against for name, answer in _answers(root / path, path).items()}
    folder = digest = ""
    if spec.sort == "reward":
        from posttrain.data.embedding.pretrained import folder_of, model_digest
        from posttrain.data.steps.scoring import check_scores

        own = root / Path(spec.model).expanduser()
        found = folder_of(str(own) if own.is_dir() else spec.model, "evaluate.judge.model")
        check_scores(found, "evaluate.judge.model")
        folder, digest = str(found), model_digest(found)
    return Judge(spec=spec, folder=folder, digest=digest, others=others if spec.against else None)


def _answers(path: Path, shown: str) -> dict[str, str]:
    """Answers by id and by prompt, as far as the file has these columns."""
    from posttrain.evaluation.answer_file import read_columns

    table = read_columns(path, shown, "evaluate.judge.against")
    names = [name for name in ("prompt", "id") if name in table]
    if "output" not in table or not names:
        raise DataError(
            f"{shown}: found columns {', '.join(table)}, expected output and id or prompt; rename them or correct "
            "evaluate.judge.against"
        )
    return {str(key): str(answer) for name in names for key, answer in zip(table[name], table["output"], strict=True)}

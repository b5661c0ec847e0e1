"""The signal `safety`: a small bonus for a harmless completion, a large penalty for a harmful one (S3).

Harm is what curation's word lists call so (`curate.harm`): a completion that curation would drop is harmful, one that a
person would have to look at earns neither. Words inside a refusal count too, or "I am sorry, but" would buy them
free. JSON is a label and left alone. Harm in decent words is for a reward model. Knows nothing of weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.spec.sections.harm import HarmSpec
from posttrain.training.rewards.penalties import Reward
from posttrain.training.rewards.text import Told, plain

if TYPE_CHECKING:
    import polars as pl

BONUS = 0.1
PENALTY = 1.0


def safety_of(
    bonus: float = BONUS, penalty: float = PENALTY, lists: HarmSpec | None = None, root: Path = Path()
) -> Reward:
    """The signal with these amounts; range -penalty to bonus. `lists` are the spec's, files of words lie below `root`.

    Raises: `DataError` for a list that cannot be read.
    """
    from posttrain.data.steps.harm import Harm

    given = lists or HarmSpec()
    step = Harm.make(given.model_copy(update={"keep_refusals": False, "prompts": False}), root)

    def safety(prompts: Sequence[Any], completions: Sequence[Told], **columns: Any) -> list[float]:
        found = step.find(_rows([plain(completion) for completion in completions]))
        values = [bonus] * len(completions)
        for row, verdict in zip(found["row"].to_list(), found["verdict"].to_list(), strict=True):
            values[row] = -penalty if verdict == "drop" else 0.0
        return values

    return safety


def _rows(texts: list[str]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(
        {"prompt": [""] * len(texts), "completion": texts}, schema=dict.fromkeys(("prompt", "completion"), pl.String)
    )

"""`search`: looking for SFT's values by trying them."""

from __future__ import annotations

from pydantic import FiniteFloat, ValidationError, field_validator, model_validator

from posttrain.artifacts import Frozen
from posttrain.spec.field import required, setting
from posttrain.spec.metrics import MetricName
from posttrain.spec.sections.sft import SFTSpec

Choice = bool | int | float | str

NOT_SEARCHED = frozenset({"method", "micro_batch_size", "save_steps", "bf16", "seed", "max_length"})
"""Settings of `sft` that say how fast to train or on what, not how well; a seed is no hyper-parameter."""


class RangeSpec(Frozen):
    """A range of numbers; whole ones where the setting is a whole number."""

    low: FiniteFloat = required("Smallest value.", examples=[1e-4])
    high: FiniteFloat = required("Largest value.", examples=[3e-3])
    log: bool = setting(False, "Draw by the logarithm: each factor of ten gets as many trials.", source="Optuna")

    @model_validator(mode="after")
    def _is_a_range(self) -> RangeSpec:
        if self.low >= self.high:
            raise ValueError(f"found low {self.low:g} and high {self.high:g}, expected low below high; swap them")
        if self.log and self.low <= 0:
            raise ValueError(f"found low {self.low:g} with log: true, expected more than 0; raise low or leave log out")
        return self


class SearchSpec(Frozen):
    """Hyper-parameter search for SFT: Optuna proposes values, each trial is trained and measured on the validation
    split by the task's own metric, never by the loss. The first trial is the spec's own values and the recipe's."""

    trials: int = setting(0, "How many trials; 0: no search.", source="S4", ge=0, le=10_000)
    values: dict[str, RangeSpec | list[Choice]] = setting(
        {},
        "Setting of `sft` → a range {low, high, log} or a list of choices. Empty: the learning rate within a third and "
        "three times, epochs and batch within half and twice of what would be used without a search.",
        source="S4",
    )
    metric: MetricName | None = setting(None, "What is to be best on the validation split; empty: the main metric.")
    rows: int | None = setting(None, "Validation rows that a trial is measured on; empty: all.", ge=1)
    pruning: bool = setting(
        True,
        "Train on a quarter and half of the rows first; a trial below the median of the earlier ones ends there.",
        source="Optuna",
    )
    parallel: int = setting(
        1, "Trials at once, one to a GPU; they are proposed together, so the result does not depend on timing.", ge=1
    )
    seed: int = setting(0, "Of the proposals.", ge=0)

    @field_validator("values")
    @classmethod
    def _of_sft(cls, values: dict[str, RangeSpec | list[Choice]]) -> dict[str, RangeSpec | list[Choice]]:
        for name, wanted in values.items():
            known = [field for field in SFTSpec.model_fields if field not in NOT_SEARCHED]
            if name not in known:
                raise ValueError(f"found {name!r}, expected a setting of sft: {', '.join(known)}")
            if isinstance(wanted, list) and len(wanted) < 2:
                raise ValueError(f"{name}: found {wanted}, expected at least two choices; set sft.{name} instead")
            for value in wanted if isinstance(wanted, list) else (wanted.low, wanted.high):
                _check(name, value)
        return values


def _check(name: str, value: Choice) -> None:
    """Refuse what `sft` itself would refuse, in its words."""
    try:
        SFTSpec.model_validate({name: value})
    except ValidationError as error:
        raise ValueError(
            f"{name}: found {value!r}, which sft.{name} does not take: {error.errors()[0]['msg']}"
        ) from None

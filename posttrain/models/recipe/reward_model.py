"""Recipe of a reward model: SFT's rate, and one pass."""

from __future__ import annotations

from posttrain.models.recipe.batch import batch_of_pairs, micro_batch
from posttrain.models.recipe.rates import rate_of, rate_warning, warmup_of
from posttrain.models.recipe.setting import Recipe, Setting, choose
from posttrain.spec.methods import Method
from posttrain.spec.sections.reward_model import RewardModelSpec


def reward_model_recipe(
    spec: RewardModelSpec, method: Method, parameters: int, pairs: int, largest_micro_batch: int | None = None
) -> Recipe:
    """The values of a reward model's training by `method` on `pairs`; a pair is two rows to the memory."""
    suggested, source, why = rate_of(method, parameters)
    why = f"SFT's: {why}; InstructGPT's reward model took 9e-6 at 6B"
    rate = choose("learning_rate", spec.learning_rate, suggested, f"InstructGPT, {source}", why, warn=rate_warning)
    batch = batch_of_pairs(spec.batch_size, pairs)
    warmup = choose("warmup_ratio", None, *warmup_of(float(rate.value)))
    epochs = Setting(
        name="num_train_epochs",
        value=spec.num_train_epochs,
        source="InstructGPT",
        reason="a reward model overfits with more than one pass",
    )
    return Recipe(settings=(rate, epochs, warmup, batch, *micro_batch(None, int(batch.value), largest_micro_batch)))

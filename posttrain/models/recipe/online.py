"""Recipe of PPO, GRPO and RLOO: how far an update goes, and how closely the policy is held to its reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from posttrain.models.recipe.arithmetic import rounded
from posttrain.models.recipe.batch import micro_batch
from posttrain.models.recipe.rates import rate_of
from posttrain.models.recipe.setting import Recipe, Setting, choose
from posttrain.spec.methods import Method
from posttrain.spec.sections.align import AlignSpec

ONLINE_FACTOR = 1 / 10
"""The rate of reinforcement over SFT's, the upper end of S3's 10 to 20 times below: 1e-6 at 7B, as S3 has it."""


def online_recipe(
    spec: AlignSpec, method: Method, parameters: int, prompts: int, sft_rate: float | None, largest: int | None
) -> Recipe:
    """The values of learning from rewards: S3's, with a rate that follows SFT's."""
    online, ppo = spec.online, spec.method == "ppo"
    base = sft_rate if sft_rate is not None else rate_of(method, parameters)[0]
    why = f"a tenth of SFT's {base:g}; 1e-6 at 7B with every weight"
    rate = choose(
        "learning_rate", spec.learning_rate, rounded(base * ONLINE_FACTOR), "S3", why, warn=_online_rate_warning
    )
    name, usual = ("mini_batch_size", 16) if ppo else ("rollout_batch_size", 64)
    size: int = getattr(online, name)
    reason = "completions to an optimizer step" if ppo else "a rollout is one step, so that it is on-policy"
    given = size if name in online.model_fields_set else None
    batch = choose("batch_size", given, usual, "S3" if ppo else "this project", reason)
    why = "Adam's first steps are as large as any, before it knows its moments"
    warmup = Setting(name="warmup_ratio", value=0.05, source="this project", reason=why)
    updates = max(1, online.total_episodes // online.rollout_batch_size)
    passes = Setting(
        name="num_train_epochs",
        value=round(online.total_episodes / max(prompts, 1), 2),
        source="arithmetic",
        reason=f"{online.total_episodes:,} completions of {prompts:,} prompts, {updates:,} updates",
    )
    return Recipe(settings=(rate, passes, warmup, batch, *micro_batch(None, size, largest), *_of_online(spec)))


def _of_online(spec: AlignSpec) -> Iterator[Setting]:
    """What decides how far an update goes and how closely the policy is held."""
    online, given = spec.online, spec.online.model_fields_set
    schedule = ", ".join(f"{share:.0%}: {value:g}" for share, value in online.kl_schedule)
    coefficients = (
        [value for _, value in online.kl_schedule] if online.kl_controller == "schedule" else [online.kl_coef]
    )
    if spec.method == "ppo":
        yield _as_given("ppo_epochs", online.ppo_epochs, 4, "passes over a rollout", given)
        yield _as_given("value_clip_range", online.value_clip_range, 0.2, "the critic's step", given)
    else:
        coefficients = [online.kl_coef]
        yield Setting(
            name="samples", value=spec.samples, source="S1", reason="answers to a prompt, judged by each other"
        )
    yield _as_given("clip_range", online.clip_range, 0.2, "the policy's step", given)
    if spec.method == "ppo" and online.kl_controller == "schedule":
        kl = Setting(name="kl_schedule", value=schedule, source="S3", reason="share of the updates: KL coefficient")
    else:
        kl = Setting(
            name="kl_coef", value=online.kl_coef, source="S3", reason=f"KL coefficient, {online.kl_controller}"
        )
    yield kl.model_copy(update={"warning": _kl_warning(coefficients), "overridden": kl.name in given})
    for name, usual, reason in (
        ("max_grad_norm", 0.5, "gradients are clipped to it"),
        ("temperature", 0.7, "of sampling"),
        ("top_p", 0.9, "of sampling"),
        ("repetition_penalty", 1.2, "of sampling; 1 where an answer repeats itself by nature, as JSON does"),
        ("length_penalty", 0.1, "off the score, for the share of the tokens that may be used"),
    ):
        yield _as_given(name, getattr(online, name), usual, reason, given)


def _as_given(name: str, value: float, usual: float, reason: str, given: set[str]) -> Setting:
    return choose(name, value if name in given else None, usual, "S3", reason)


def _online_rate_warning(given: float, suggested: float) -> str:
    if given > 5 * suggested:
        return (
            f"align.learning_rate {given:g} is {given / suggested:.0f} × the recommended {suggested:g}: S3 keeps "
            "reinforcement 10 to 20 times below SFT"
        )
    return ""


def _kl_warning(coefficients: Sequence[float]) -> str:
    low, high = min(coefficients), max(coefficients)
    if low <= 0.01:
        return f"a KL coefficient of {low:g} lets the policy run away from SFT's model; 0.05 to 0.08 is good (S3)"
    if high >= 0.2:
        return f"with a KL coefficient of {high:g} the policy learns nothing; 0.05 to 0.08 is good (S3)"
    return ""

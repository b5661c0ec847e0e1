"""The values that a spec leaves open, chosen by model size, method and rows; each says where it comes from and why.

Pure: numbers in, numbers out. Knows no hardware but the largest micro-batch it is told, and no trainer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from posttrain.artifacts import Frozen
from posttrain.spec.methods import LOW_RANK, PROMPT_LEARNING, Method
from posttrain.spec.sections.align import AlignSpec
from posttrain.spec.sections.reward_model import RewardModelSpec
from posttrain.spec.sections.sft import SFTSpec

Value = float | int | str | bool
_Judge = Callable[[float, float], str]

TINY_PARAMETERS = 4_300_000

FULL_RATES: tuple[tuple[float, float], ...] = ((TINY_PARAMETERS, 1e-3), (7e9, 1e-5), (13e9, 5.4e-6), (70e9, 1e-6))
"""(parameters, peak rate) of full-parameter SFT: 7B and above from S3, the embedded model measured in this project."""

LARGEST_FULL_RATE = 1e-3
LORA_FACTOR = 20.0
"""LoRA's rate over the full one: gives 2e-4 at 7B with rank 64 and alpha 16, as QLoRA (arXiv 2305.14314) has it."""

LARGEST_LORA_RATE = 2e-3
"""A cap of caution, not measured: below a billion parameters twenty times the full rate would be reckless."""

IA3_RATE = 3e-3
"""T-Few's (arXiv 2205.05638), whatever the model's size."""

VIRTUAL_TOKEN_RATES: tuple[tuple[float, float], ...] = ((560e6, 3e-2), (3e9, 1e-3))
"""(parameters, peak rate) of virtual tokens: PEFT's examples for Bloomz, and its comparison of methods on Llama 3.2."""

ALIGN_FACTOR = 1 / 20
"""DPO's rate over SFT's. S3: reinforcement runs 10 to 20 times below SFT; 5e-7 at 7B is also Zephyr's (2310.16944)."""

ONLINE_FACTOR = 1 / 10
"""The rate of reinforcement over SFT's, the upper end of S3's 10 to 20 times below: 1e-6 at 7B, as S3 has it."""
ORPO_FACTOR = 0.8
"""ORPO's rate over SFT's: it is an SFT too, and its authors took 8e-6 at 7B, where S3's SFT has 1e-5."""

ALIGN_RATES: dict[str, tuple[float, str, str]] = {
    "dpo": (ALIGN_FACTOR, "S3, Zephyr", "preference training drifts at SFT's rate"),
    "ipo": (ALIGN_FACTOR, "S3, Zephyr", "as DPO, whose log-ratios it regresses on"),
    "kto": (ALIGN_FACTOR, "S3, KTO (arXiv 2402.01306)", "its authors advise 5e-7 to 5e-6 at 7B; the lower end"),
    "orpo": (ORPO_FACTOR, "ORPO (arXiv 2403.07691)", "it learns the chosen answers as SFT does, and nothing holds it"),
}
"""Method → its rate over SFT's, the source and the reason."""

BETAS = {
    "dpo": ("TRL", "how closely to stay to the model before DPO"),
    "ipo": ("TRL", "IPO's temperature: the margin aimed at is 1 / (2 beta)"),
    "kto": ("KTO (arXiv 2402.01306)", "how closely to stay to the model before KTO"),
    "orpo": ("ORPO (arXiv 2403.07691)", "weight of the odds ratio beside the likelihood"),
}

EPOCHS: tuple[tuple[float, float], ...] = ((500, 10), (20_000, 5), (50_000, 4), (100_000, 3), (200_000, 2))
"""(rows, epochs): S2 gives 4–5 at 20k to 50k, 2–3 at 100k and "more" at a few hundred, read as ten."""

SFT_BATCHES: tuple[tuple[int, int], ...] = ((1_000, 8), (5_000, 16), (50_000, 32), (200_000, 64))
"""(fewer rows than, rows an update): some hundred updates even on little data."""


class Setting(Frozen):
    """One value of a recipe. `overridden`: the spec gave it; `recommended` is then what the recipe would say."""

    name: str
    value: Value
    source: str
    reason: str
    overridden: bool = False
    recommended: Value | None = None
    warning: str = ""


class Recipe(Frozen):
    """All values of one training, in the order in which a plan shows them."""

    settings: tuple[Setting, ...]

    def __getitem__(self, name: str) -> Value:
        """The value of a setting; `KeyError` when the recipe has none of that name."""
        return self.values[name]

    @property
    def values(self) -> dict[str, Value]:
        """Name → value."""
        return {setting.name: setting.value for setting in self.settings}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the sources call dangerous among the spec's own values."""
        return tuple(setting.warning for setting in self.settings if setting.warning)


def sft_recipe(
    spec: SFTSpec,
    parameters: int,
    rows: int,
    largest_micro_batch: int | None = None,
    processes: int = 1,
    tokens_a_row: float | None = None,
) -> Recipe:
    """The values of an SFT of a model with `parameters` on `rows`; what the spec fills in wins, and is judged.

    `largest_micro_batch` is how many rows a device holds (`posttrain.models.memory`); None: all of its part of a
    batch. `processes` share every batch in equal parts, so a batch that is the recipe's becomes a multiple of them.
    `tokens_a_row`, where it is known, says how many tokens an update reads.
    """
    rate = _choose("learning_rate", spec.learning_rate, *_rate(spec.method, parameters), warn=_rate_warning)
    epochs = _choose("num_train_epochs", spec.num_train_epochs, *_epochs(rows), warn=_epochs_warning)
    warmup = _choose("warmup_ratio", spec.warmup_ratio, *_warmup(float(rate.value)), warn=_warmup_warning)
    batch = _choose("batch_size", spec.batch_size, *_batch(rows, processes, tokens_a_row))
    micro = _micro_batch(spec.micro_batch_size, int(batch.value), largest_micro_batch, processes)
    adapters = _adapters(spec) if spec.method in LOW_RANK else ()
    return Recipe(settings=(rate, epochs, warmup, batch, *micro, *adapters))


def align_recipe(
    spec: AlignSpec,
    method: Method,
    parameters: int,
    pairs: int,
    sft_rate: float | None = None,
    largest_micro_batch: int | None = None,
) -> Recipe:
    """The values of a DPO (IPO, KTO, ORPO: `spec.method`) on `pairs`, trained by SFT's `method`.

    Those of PPO, GRPO or RLOO on as many prompts where the spec names one of them. `sft_rate` is the rate that SFT
    really used, if it ran.
    """
    if spec.is_online:
        return _online_recipe(spec, method, parameters, pairs, sft_rate, largest_micro_batch)
    base = sft_rate if sft_rate is not None else _rate(method, parameters)[0]
    factor, source, reason = ALIGN_RATES[spec.method]
    why = f"{factor:g} × SFT's {base:g}: {reason}"
    warn = _align_rate_warning if factor == ALIGN_FACTOR else _rate_warning
    rate = _choose("learning_rate", spec.learning_rate, _rounded(base * factor), source, why, warn=warn)
    size = 16 if pairs < 1_000 else 32
    batch = _choose("batch_size", spec.batch_size, size, "this project", f"{pairs:,} pairs leave enough updates")
    warmup = Setting(name="warmup_ratio", value=0.1, source="Zephyr", reason="DPO's first updates are its largest")
    micro = _micro_batch(None, int(batch.value), largest_micro_batch)
    return Recipe(settings=(rate, _align_epochs(spec), warmup, batch, *micro, _beta(spec)))


def _online_recipe(
    spec: AlignSpec, method: Method, parameters: int, prompts: int, sft_rate: float | None, largest: int | None
) -> Recipe:
    """The values of learning from rewards: S3's, with a rate that follows SFT's."""
    online, ppo = spec.online, spec.method == "ppo"
    base = sft_rate if sft_rate is not None else _rate(method, parameters)[0]
    why = f"a tenth of SFT's {base:g}; 1e-6 at 7B with every weight"
    rate = _choose(
        "learning_rate", spec.learning_rate, _rounded(base * ONLINE_FACTOR), "S3", why, warn=_online_rate_warning
    )
    name, usual = ("mini_batch_size", 16) if ppo else ("rollout_batch_size", 64)
    size: int = getattr(online, name)
    reason = "completions to an optimizer step" if ppo else "a rollout is one step, so that it is on-policy"
    given = size if name in online.model_fields_set else None
    batch = _choose("batch_size", given, usual, "S3" if ppo else "this project", reason)
    why = "Adam's first steps are as large as any, before it knows its moments"
    warmup = Setting(name="warmup_ratio", value=0.05, source="this project", reason=why)
    updates = max(1, online.total_episodes // online.rollout_batch_size)
    passes = Setting(
        name="num_train_epochs",
        value=round(online.total_episodes / max(prompts, 1), 2),
        source="arithmetic",
        reason=f"{online.total_episodes:,} completions of {prompts:,} prompts, {updates:,} updates",
    )
    return Recipe(settings=(rate, passes, warmup, batch, *_micro_batch(None, size, largest), *_of_online(spec)))


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
    return _choose(name, value if name in given else None, usual, "S3", reason)


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


def reward_model_recipe(
    spec: RewardModelSpec, method: Method, parameters: int, pairs: int, largest_micro_batch: int | None = None
) -> Recipe:
    """The values of a reward model's training by `method` on `pairs`; a pair is two rows to the memory."""
    suggested, source, why = _rate(method, parameters)
    why = f"SFT's: {why}; InstructGPT's reward model took 9e-6 at 6B"
    rate = _choose("learning_rate", spec.learning_rate, suggested, f"InstructGPT, {source}", why, warn=_rate_warning)
    size = 16 if pairs < 1_000 else 32
    batch = _choose("batch_size", spec.batch_size, size, "this project", f"{pairs:,} pairs leave enough updates")
    warmup = _choose("warmup_ratio", None, *_warmup(float(rate.value)))
    epochs = Setting(
        name="num_train_epochs",
        value=spec.num_train_epochs,
        source="InstructGPT",
        reason="a reward model overfits with more than one pass",
    )
    return Recipe(settings=(rate, epochs, warmup, batch, *_micro_batch(None, int(batch.value), largest_micro_batch)))


def updates(rows: int, epochs: float, batch_size: int) -> int:
    """Optimiser updates of a training, counted as transformers does: a last, smaller batch is one too."""
    return max(1, math.ceil(epochs * math.ceil(rows / batch_size)))


# --- what the sources say ----------------------------------------------------------------------------------


def full_rate(parameters: float) -> float:
    """Peak rate of full-parameter SFT, log-log between the known sizes, on along the last line above them."""
    rate = math.exp(_interpolated([(math.log(n), math.log(r)) for n, r in FULL_RATES], math.log(max(parameters, 1))))
    return _rounded(min(rate, LARGEST_FULL_RATE))


def lora_rate(parameters: float) -> float:
    """Peak rate of LoRA SFT: `LORA_FACTOR` times the full one, capped."""
    return _rounded(min(full_rate(parameters) * LORA_FACTOR, LARGEST_LORA_RATE))


def virtual_token_rate(parameters: float) -> float:
    """Peak rate of prefix, prompt and P-tuning: log-log between PEFT's two sizes, the same as theirs beyond them."""
    (small, fast), (large, slow) = VIRTUAL_TOKEN_RATES
    size = math.log(min(max(parameters, small), large))
    points = [(math.log(n), math.log(r)) for n, r in ((small, fast), (large, slow))]
    return _rounded(math.exp(_interpolated(points, size)))


def _rate(method: Method, parameters: int) -> tuple[float, str, str]:
    size = human(parameters)
    between = "S3" if parameters >= 7e9 else "this project" if parameters <= TINY_PARAMETERS else "S3 and this project"
    if method == "full":
        return full_rate(parameters), between, f"full-parameter rate for {size} parameters; it falls with size"
    if method == "ia3":
        return IA3_RATE, "T-Few", "IA3's rate, whatever the size: it trains a few thousand scales"
    if method in PROMPT_LEARNING:
        return virtual_token_rate(parameters), "PEFT's examples", f"rate of virtual tokens before {size} parameters"
    reason = f"LoRA rate for {size} parameters: {LORA_FACTOR:g} × the full-parameter {full_rate(parameters):g}"
    capped = full_rate(parameters) * LORA_FACTOR > LARGEST_LORA_RATE
    return lora_rate(parameters), f"QLoRA × {between}", f"{reason}, capped with caution" if capped else reason


def _epochs(rows: int) -> tuple[float, str, str]:
    value = _interpolated([(math.log(n), e) for n, e in EPOCHS], math.log(max(rows, 1)))
    few, many = EPOCHS[0][1], EPOCHS[-1][1]
    return float(round(min(few, max(many, value)))), "S2", f"{rows:,} rows; fewer rows need more passes"


def _warmup(rate: float) -> tuple[float, str, str]:
    share = 0.003 + 0.006 * (math.log10(rate) + 6) / 3
    return (
        round(min(0.009, max(0.003, share)), 4),
        "S2",
        f"less than pre-training's 0.01, growing with the rate {rate:g}",
    )


def _batch(rows: int, processes: int = 1, tokens_a_row: float | None = None) -> tuple[int, str, str]:
    size = next((size for below, size in SFT_BATCHES if rows < below), 128)
    shared = math.ceil(size / processes) * processes
    more = f" of about {human(shared * tokens_a_row)} tokens" if tokens_a_row else ""
    more += f", {size} made a multiple of {processes} processes" if shared != size else ""
    return shared, "this project", f"{rows:,} rows give {math.ceil(rows / shared):,} updates an epoch{more}"


def _micro_batch(given: int | None, batch: int, largest: int | None, processes: int = 1) -> tuple[Setting, Setting]:
    part = max(1, batch // processes)
    limit = given or largest or part
    size = max(divisor for divisor in range(1, part + 1) if part % divisor == 0 and divisor <= limit)
    reason = "what the memory holds, as a divisor of the batch" if largest else "the whole batch at once"
    shared = f" / {processes} processes" if processes > 1 else ""
    if given:
        reason = (
            "the spec says so"
            if size == given
            else f"the largest divisor of batch_size {batch} up to the spec's {given}"
        )
    return (
        Setting(
            name="micro_batch_size", value=size, source="this project", reason=reason, overridden=given is not None
        ),
        Setting(
            name="accumulation",
            value=max(1, batch // (size * processes)),
            source="arithmetic",
            reason=f"{batch} rows an update{shared} / {size} at once",
        ),
    )


def _adapters(spec: SFTSpec) -> tuple[Setting, ...]:
    reasons = {
        "lora_rank": "about 0.5 % of the weights, about 95 % of full quality",
        "lora_alpha": "adapters are scaled by alpha / rank",
        "lora_targets": "attention alone is the cheap choice; all-linear learns more",
    }
    return tuple(
        _choose(name, getattr(spec, name) if name in spec.model_fields_set else None, default, "S3", reasons[name])
        for name, default in (("lora_rank", 64), ("lora_alpha", 16), ("lora_targets", "attention"))
    )


def _align_epochs(spec: AlignSpec) -> Setting:
    given = spec.num_train_epochs if "num_train_epochs" in spec.model_fields_set else None
    reason = "pairs are overfitted quickly"
    return _choose("num_train_epochs", given, 1.0, "this project", reason, warn=_epochs_warning)


def _beta(spec: AlignSpec) -> Setting:
    given = spec.beta if "beta" in spec.model_fields_set else None
    name: str = spec.method
    # Without a reference nothing runs away: a small beta is plain SFT.
    return _choose("beta", given, 0.1, *BETAS[name], warn=None if name == "orpo" else _beta_warning)


# --- the spec's own values, judged -------------------------------------------------------------------------


def _rate_warning(given: float, suggested: float) -> str:
    if given > 5 * suggested:
        return (
            f"learning_rate {given:g} is {given / suggested:.0f} × the recommended {suggested:g}: "
            "training may diverge and general ability be lost; too low beats too high (S3)"
        )
    if given < suggested / 20:
        return f"learning_rate {given:g} is far below the recommended {suggested:g}: expect little to be learnt"
    return ""


def _align_rate_warning(given: float, suggested: float) -> str:
    if given > 4 * suggested:
        return (
            f"align.learning_rate {given:g} is {given / suggested:.0f} × the recommended {suggested:g}: S3 keeps "
            "preference training 10 to 20 times below SFT"
        )
    return ""


def _epochs_warning(given: float, suggested: float) -> str:
    if given > 2 * suggested:
        return f"num_train_epochs {given:g} is over twice the recommended {suggested:g}: too many epochs forget (S2)"
    return ""


def _warmup_warning(given: float, suggested: float) -> str:
    return f"warmup_ratio {given:g}: SFT warms up for less than pre-training's 0.015 (S2)" if given > 0.1 else ""


def _beta_warning(given: float, suggested: float) -> str:
    if given < 0.02:
        return f"beta {given:g} hardly holds the model to where it was: as with a KL of 0.01, it may run away (S3)"
    return f"beta {given:g} holds the model so closely that DPO learns little" if given > 1 else ""


# --- small arithmetic --------------------------------------------------------------------------------------


def _choose(
    name: str, given: Value | None, suggested: Value, source: str, reason: str, warn: _Judge | None = None
) -> Setting:
    if given is None:
        return Setting(name=name, value=suggested, source=source, reason=reason)
    warning = warn(float(given), float(suggested)) if warn else ""
    return Setting(
        name=name,
        value=given,
        source="the spec",
        reason=f"the spec says so; the recipe would say {suggested} ({source})",
        overridden=True,
        recommended=suggested,
        warning=warning,
    )


def _interpolated(points: list[tuple[float, float]], at: float) -> float:
    """Piecewise linear through `points` (sorted by x), continued along the first and the last piece."""
    index = next((i for i in range(1, len(points)) if at <= points[i][0]), len(points) - 1)
    (left, low), (right, high) = points[index - 1], points[index]
    return low + (high - low) * (at - left) / (right - left)


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


def human(count: float) -> str:
    """A count as people write it: 4.3M, 7B."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"

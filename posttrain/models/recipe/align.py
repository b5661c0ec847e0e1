"""Recipe of preference training (DPO, IPO, KTO, ORPO): rates below SFT's, few passes, and how closely to stay."""

from __future__ import annotations

from posttrain.models.recipe.arithmetic import rounded
from posttrain.models.recipe.batch import batch_of_pairs, micro_batch
from posttrain.models.recipe.online import online_recipe
from posttrain.models.recipe.rates import rate_of, rate_warning
from posttrain.models.recipe.setting import Recipe, Setting, choose
from posttrain.models.recipe.sft import epochs_warning
from posttrain.spec.methods import Method
from posttrain.spec.sections.align import AlignSpec

ALIGN_FACTOR = 1 / 20
"""DPO's rate over SFT's. S3: reinforcement runs 10 to 20 times below SFT; 5e-7 at 7B is also Zephyr's (2310.16944)."""

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
        return online_recipe(spec, method, parameters, pairs, sft_rate, largest_micro_batch)
    base = sft_rate if sft_rate is not None else rate_of(method, parameters)[0]
    factor, source, reason = ALIGN_RATES[spec.method]
    why = f"{factor:g} × SFT's {base:g}: {reason}"
    warn = _align_rate_warning if factor == ALIGN_FACTOR else rate_warning
    rate = choose("learning_rate", spec.learning_rate, rounded(base * factor), source, why, warn=warn)
    batch = batch_of_pairs(spec.batch_size, pairs)
    warmup = Setting(name="warmup_ratio", value=0.1, source="Zephyr", reason="DPO's first updates are its largest")
    micro = micro_batch(None, int(batch.value), largest_micro_batch)
    return Recipe(settings=(rate, _align_epochs(spec), warmup, batch, *micro, _beta(spec)))


def _align_epochs(spec: AlignSpec) -> Setting:
    given = spec.num_train_epochs if "num_train_epochs" in spec.model_fields_set else None
    reason = "pairs are overfitted quickly"
    return choose("num_train_epochs", given, 1.0, "this project", reason, warn=epochs_warning)


def _beta(spec: AlignSpec) -> Setting:
    given = spec.beta if "beta" in spec.model_fields_set else None
    name: str = spec.method
    # Without a reference nothing runs away: a small beta is plain SFT.
    return choose("beta", given, 0.1, *BETAS[name], warn=None if name == "orpo" else _beta_warning)


def _align_rate_warning(given: float, suggested: float) -> str:
    if given > 4 * suggested:
        return (
            f"align.learning_rate {given:g} is {given / suggested:.0f} × the recommended {suggested:g}: S3 keeps "
            "preference training 10 to 20 times below SFT"
        )
    return ""


def _beta_warning(given: float, suggested: float) -> str:
    if given < 0.02:
        return f"beta {given:g} hardly holds the model to where it was: as with a KL of 0.01, it may run away (S3)"
    return f"beta {given:g} holds the model so closely that DPO learns little" if given > 1 else ""

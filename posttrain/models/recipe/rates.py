"""Learning rates of SFT by method and model size, the warm-up that goes with them, and rates that are dangerous.

Alignment and reward models take theirs from these.
"""

from __future__ import annotations

import math

from posttrain.models.recipe.arithmetic import human, interpolated, rounded
from posttrain.spec.methods import PROMPT_LEARNING, Method

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


def full_rate(parameters: float) -> float:
    """Peak rate of full-parameter SFT, log-log between the known sizes, on along the last line above them."""
    rate = math.exp(interpolated([(math.log(n), math.log(r)) for n, r in FULL_RATES], math.log(max(parameters, 1))))
    return rounded(min(rate, LARGEST_FULL_RATE))


def lora_rate(parameters: float) -> float:
    """Peak rate of LoRA SFT: `LORA_FACTOR` times the full one, capped."""
    return rounded(min(full_rate(parameters) * LORA_FACTOR, LARGEST_LORA_RATE))


def virtual_token_rate(parameters: float) -> float:
    """Peak rate of prefix, prompt and P-tuning: log-log between PEFT's two sizes, the same as theirs beyond them."""
    (small, fast), (large, slow) = VIRTUAL_TOKEN_RATES
    size = math.log(min(max(parameters, small), large))
    points = [(math.log(n), math.log(r)) for n, r in ((small, fast), (large, slow))]
    return rounded(math.exp(interpolated(points, size)))


def rate_of(method: Method, parameters: int) -> tuple[float, str, str]:
    """Peak rate of SFT by `method`, its source and its reason."""
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


def warmup_of(rate: float) -> tuple[float, str, str]:
    """Share of the updates that warm up to `rate`, its source and its reason."""
    share = 0.003 + 0.006 * (math.log10(rate) + 6) / 3
    return (
        round(min(0.009, max(0.003, share)), 4),
        "S2",
        f"less than pre-training's 0.01, growing with the rate {rate:g}",
    )


def rate_warning(given: float, suggested: float) -> str:
    """What the sources say of a rate far from the one suggested."""
    if given > 5 * suggested:
        return (
            f"learning_rate {given:g} is {given / suggested:.0f} × the recommended {suggested:g}: "
            "training may diverge and general ability be lost; too low beats too high (S3)"
        )
    if given < suggested / 20:
        return f"learning_rate {given:g} is far below the recommended {suggested:g}: expect little to be learnt"
    return ""

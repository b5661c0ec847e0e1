"""`guards`: what is watched while a model trains, from when on it counts as going wrong, and what is done then."""

from __future__ import annotations

from typing import Literal

from posttrain.artifacts import Frozen
from posttrain.spec.field import section, setting

ACTION = "ignore: not looked for; warn: told and logged; act: warn, then roll back, then stop."
Action = Literal["ignore", "warn", "act"]


class InstabilitySpec(Frozen):
    """Numbers that are not finite, loss that comes back, gradients that grow, a policy that runs from its reference."""

    action: Action = setting("act", ACTION, source="S3")
    lost_share: float = setting(
        0.5, "Loss is blown up when it has lost this share of what training had won since its start.", gt=0, le=1
    )
    loss_rise: float = setting(0.2, "And when it has risen at least by this share of its best value.", gt=0)
    noise: float = setting(6.0, "And by this many standard errors of a window's median.", gt=0)
    spike: float = setting(2.0, "A single loss is a spike above this multiple of all before; that warns.", gt=1)
    gradient_growth: float = setting(10.0, "Gradient norms before clipping, as a multiple of those at the start.", gt=1)
    chosen_growth: float = setting(
        3.0, "DPO: minus the chosen answers' log-probability, as a multiple of the reference's.", gt=1
    )
    max_kl: float = setting(
        1.0,
        "Nats a token between policy and reference: what is said is then e times likelier, token by token.",
        gt=0,
    )


class CollapseSpec(Frozen):
    """Completions that become one another: a few openings whatever the question, ever the same words."""

    action: Action = setting("act", ACTION, source="S3")
    opening_words: int = setting(4, "Words (Chinese: characters) that are a completion's opening.", ge=1)
    opening_rise: float = setting(
        0.3,
        "Rise of the share of pairs of completions, to different prompts, that open alike.",
        gt=0,
        le=1,
    )
    distinct_left: float = setting(
        0.5, "distinct-2 (distinct pairs of words of all pairs) below this share of the start's.", gt=0, lt=1
    )
    entropy_left: float = setting(0.3, "Entropy below this share of the start's.", gt=0, lt=1)


class HackingSpec(Frozen):
    """A reward that climbs while an independent measure does not; length and favourite words drift."""

    action: Action = setting("act", ACTION, source="S3")
    every: int = setting(5, "Rollouts between two measurements of the independent measure.", ge=1)
    prompts: int = setting(48, "Validation prompts that the independent measure is taken on.", ge=4)
    reward_model: str | None = setting(
        None,
        "A second reward model (folder or Hugging Face id) as the independent measure; empty: the task's verifier, "
        "where it can tell right from wrong.",
        min_length=1,
    )
    small: float = setting(
        0.2,
        "A change below this many standard deviations of the measure at the start is none.",
        source="Cohen 1988: a small effect",
        gt=0,
    )
    length_drift: float = setting(1.5, "Completions longer than this multiple of the start's drift.", gt=1)
    word_drift: float = setting(
        0.3, "A word drifts when the share of completions that hold it rises by this much.", gt=0, le=1
    )


class GuardsSpec(Frozen):
    """Guards compare now with the start of the same training, and with the data's own completions if there are any."""

    window: int = setting(5, "Observations (logged steps, rollouts) that now and the start are each taken over.", ge=3)
    patience: int = setting(3, "Findings in a row before a guard acts.", ge=1)
    roll_backs: int = setting(2, "How often a training is taken back before it is stopped.", ge=0)
    rate_factor: float = setting(
        0.5,
        "The learning rate from the last good checkpoint on, as a multiple of what it was.",
        source="OPT (arXiv 2205.01068, section 2.5)",
        gt=0,
        le=1,
    )
    pull_factor: float = setting(
        2.0, "The KL coefficient (DPO: beta) from there on, as a multiple; for KL, collapse and hacking.", ge=1
    )
    instability: InstabilitySpec = section(InstabilitySpec, "Loss, gradients and KL.")
    collapse: CollapseSpec = section(CollapseSpec, "Where the policy samples: PPO, GRPO, RLOO.")
    hacking: HackingSpec = section(HackingSpec, "Where the policy samples: PPO, GRPO, RLOO.")

"""The model registry: register with lineage, find the champion, promote what is better, roll back what is not."""

from posttrain.registry.card import CardFacts, keep_card, model_card
from posttrain.registry.find import by_alias
from posttrain.registry.promotion import Approval, Promotion, promote, promote_by_hand, roll_back, rolled_back, weigh
from posttrain.registry.prompt_versions import keep_prompt
from posttrain.registry.versions import (
    Asking,
    Champion,
    Incumbent,
    Registered,
    champion,
    incumbent,
    keep_verdicts,
    load_line,
    register,
)

__all__ = [
    "Approval",
    "Asking",
    "CardFacts",
    "Champion",
    "Incumbent",
    "Promotion",
    "Registered",
    "by_alias",
    "champion",
    "incumbent",
    "keep_card",
    "keep_prompt",
    "keep_verdicts",
    "load_line",
    "model_card",
    "promote",
    "promote_by_hand",
    "register",
    "roll_back",
    "rolled_back",
    "weigh",
]

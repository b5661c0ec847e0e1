"""The values that a spec leaves open, chosen by model size, method and rows; each says where it comes from and why.

Pure: numbers in, numbers out. Knows no hardware but the largest micro-batch it is told, and no trainer.

| module | idea |
| --- | --- |
| `setting` | a value with its source and reason; the spec's wins, and is judged |
| `rates` | learning rates of SFT by method and size |
| `batch` | rows an update, and rows at once |
| `sft`, `align`, `online`, `reward_model` | the recipe of each training |
"""

from posttrain.models.recipe.align import align_recipe
from posttrain.models.recipe.arithmetic import human, updates
from posttrain.models.recipe.rates import full_rate, lora_rate, virtual_token_rate
from posttrain.models.recipe.reward_model import reward_model_recipe
from posttrain.models.recipe.setting import Recipe, Setting, Value
from posttrain.models.recipe.sft import sft_recipe

__all__ = [
    "Recipe",
    "Setting",
    "Value",
    "align_recipe",
    "full_rate",
    "human",
    "lora_rate",
    "reward_model_recipe",
    "sft_recipe",
    "updates",
    "virtual_token_rate",
]

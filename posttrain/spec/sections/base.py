"""`base`: the model that training starts from."""

from __future__ import annotations

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting


class BaseSpec(Frozen):
    """The model that training starts from."""

    model: str = setting(
        "tiny",
        "A Hugging Face id, a folder, or tiny: the embedded 4-million-parameter model, which needs no download.",
        min_length=1,
    )
    revision: str | None = setting(
        None, "Branch, tag or commit of a Hugging Face id; pin a commit to make runs repeatable.", source="transformers"
    )
    trust_remote_code: bool = setting(
        False,
        "Run Python code that comes with the model. Dangerous: only for code that you have read.",
        source="transformers",
    )

"""How a model is asked is kept as a prompt version that MLflow shows with the model, its version and the run."""

from __future__ import annotations

import pytest
from registered import NAME, make_versions

from posttrain import tracking
from posttrain.registry import Asking, Registered, find, keep_prompt
from posttrain.registry.prompt_versions import prompt_name

SYSTEM = "Give JSON like {a: {{b}}}, nothing else. 只给 JSON。"


@pytest.fixture
def version(run_id: str) -> Registered:
    """Version 1, with a logged model."""
    make_versions(1, run_id)
    talker = tracking.client()
    model = talker.create_logged_model(talker.get_run(run_id).info.experiment_id, name="model", source_run_id=run_id)
    return Registered(name=NAME, version="1", uri=f"models:/{NAME}/1", model_id=model.model_id, reused=False)


def test_the_same_words_are_one_version_and_other_words_the_next(version: Registered, run_id: str) -> None:
    first = keep_prompt(version, Asking(system=SYSTEM), run_id)
    again = keep_prompt(version, Asking(system=SYSTEM, max_new_tokens=7), run_id)
    other = keep_prompt(version, Asking(system=SYSTEM, examples=({"prompt": "play jazz", "completion": "{}"},)), run_id)

    assert (first, again, other) == (f"prompts:/{NAME}.prompt/1", first, f"prompts:/{NAME}.prompt/2")
    template = tracking.client().load_prompt(other).template
    assert [turn["role"] for turn in template] == ["system", "user", "assistant", "user"]
    assert template[0]["content"] == SYSTEM
    assert tracking.client().get_model_version(NAME, "1").tags["posttrain.prompt"] == other


def test_prompts_are_no_models(version: Registered, run_id: str) -> None:
    keep_prompt(version, Asking(system=SYSTEM), run_id)

    assert find.names() == [NAME]


def test_a_name_that_a_prompt_may_not_have_is_replaced_without_clashes() -> None:
    assert prompt_name("voice-assistant") == "voice-assistant.prompt"
    assert prompt_name("客服") != prompt_name("助手")
    assert prompt_name("客服").isascii()

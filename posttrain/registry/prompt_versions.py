"""The instruction as a version in MLflow's prompt registry, so that what changed between two models can be read there.

The same wording gives the version that exists. MLflow is imported on first use.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from posttrain import tracking
from posttrain.artifacts import digest

if TYPE_CHECKING:
    from posttrain.registry.versions import Asking, Registered

DIGEST = "posttrain.digest"
QUESTION = "{{ prompt }}"
"""Where MLflow's `format(prompt=…)` puts the question."""


def prompt_name(model: str) -> str:
    """The name of a model's prompt; models and prompts share one space of names in MLflow.

    What MLflow allows in no prompt's name is replaced.
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", model)
    return f"{plain}.prompt" if plain == model else f"{plain}-{digest(model)[:8]}.prompt"


def keep_prompt(version: Registered, asking: Asking, run_id: str) -> str:
    """Make a version of how the model is asked, unless there is one of these very words; returns its URI.

    It is shown with the model, with its version (tag `posttrain.prompt`) and with the run.
    """
    name = prompt_name(version.name)
    uri = f"prompts:/{name}/{_version(name, version.name, _turns(asking))}"
    talker = tracking.client()
    talker.link_prompt_version_to_run(run_id, uri)
    talker.link_prompt_version_to_model(name, uri.rsplit("/", 1)[1], version.model_id)
    talker.set_model_version_tag(version.name, version.version, "posttrain.prompt", uri)
    return uri


def _version(name: str, model: str, turns: list[dict[str, str]]) -> int:
    """The number of the version with these words, made if need be."""
    talker, words = tracking.client(), digest(turns)
    if talker.get_prompt(name) is not None:
        for known in talker.search_prompt_versions(name):
            if known.tags.get(DIGEST) == words:
                return int(known.version)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = talker.register_prompt(name, turns, commit_message=f"how {model} is asked", tags={DIGEST: words})
    return int(made.version)


def _turns(asking: Asking) -> list[dict[str, str]]:
    """System message, worked examples, then the question. Braces of the user's own stay as they are."""
    turns = [{"role": "system", "content": asking.system}] if asking.system else []
    for row in asking.examples:
        turns += [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]
    return [*turns, {"role": "user", "content": QUESTION}]

"""Constrained decoding with a real untrained model: whatever it would say, it says it in JSON of the schema."""

from __future__ import annotations

import json
from typing import Any

import pytest

from posttrain.data.rules.label import validator
from posttrain.errors import SpecError
from posttrain.evaluation import constrained
from posttrain.evaluation.constrained import INTENT_SLOTS, grammar, settled
from posttrain.evaluation.decoding import Decoding
from posttrain.evaluation.generate import Prompt, encode, written
from posttrain.evaluation.metrics.structured import has_shape
from posttrain.evaluation.step_by_step import ENGLISH, final
from posttrain.prompts import messages

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "size": {"enum": ["small", "large"]},
            "count": {"type": "integer", "minimum": 0, "maximum": 99},
            "hot": {"type": "boolean"},
        },
        "required": ["size", "count"],
        "additionalProperties": False,
    }
)
TOLD = [messages("To JSON.", f"play {'the last song ' * place}by Sade") for place in range(3)]


def generated(loaded: tuple[Any, Any], text: str, tokens: int = 60, draws: int = 2) -> list[str]:
    model, tokenizer = loaded
    prompts = [
        Prompt(each.place, each.ids, each.cut, draw)
        for each in encode(512, tokenizer, TOLD, tokens)
        for draw in range(draws)
    ]
    decoding = Decoding(max_new_tokens=tokens, temperature=1.0, grammar=text)
    return [output.text for _, outputs in written(model, tokenizer, prompts, decoding, 4) for output in outputs]


def test_an_untrained_model_keeps_to_the_schema(loaded: tuple[Any, Any]) -> None:
    assert not any(output.startswith("{") for output in generated(loaded, "", tokens=8)), "it knows no JSON by itself"
    outputs = generated(loaded, grammar(SCHEMA))
    check = validator(SCHEMA)
    assert [check(json.loads(output)) for output in outputs] == [""] * 6
    assert len(set(outputs)) > 1, "what the schema leaves open is the model's"
    assert not any("\n\n" in output for output in outputs), "a base model is read up to its first blank line"


def test_reasoning_is_free_up_to_the_marker(loaded: tuple[Any, Any]) -> None:
    """Random weights never write the marker, so one is put in their mouths: after it, JSON is all that is allowed."""
    from llguidance import LLMatcher
    from llguidance.hf import from_tokenizer

    model, tokenizer = loaded
    told = from_tokenizer(tokenizer, n_vocab=model.get_output_embeddings().weight.shape[0])
    for end, allowed in (('{"size": "small", "count": 3}', True), ("small, 3", False)):
        output = f"Hm.\n\nIt is small.\n{ENGLISH.marker} {end}"
        matcher = LLMatcher(told, grammar(SCHEMA, ENGLISH.marker))
        tokens = told.tokenize_str(output)
        assert (matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()) is allowed
    assert final(f"Hm.\n{ENGLISH.marker} {{}}") == "{}"


def test_intents_and_slots_have_a_schema_of_their_own() -> None:
    schema = settled("always", "intent_slots", "")
    assert json.loads(schema) == INTENT_SLOTS
    for value in ({"intent": "a", "slots": {"b": ["c", "d"], "e": "f"}}, {"intent": "a", "slots": {"b": 1}}):
        assert (not validator(schema)(value)) == has_shape("intent_slots", value)


def test_never_and_auto_ask_for_nothing_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settled("never", "extraction", SCHEMA) == ""
    assert settled("auto", "extraction", SCHEMA) == SCHEMA
    assert settled("auto", "verifiable", "") == ""
    assert settled("auto", "extraction", '{"type": "array", "uniqueItems": true}') == ""
    monkeypatch.setattr(constrained, "installed", lambda: False)
    assert settled("auto", "extraction", SCHEMA) == ""


def test_always_says_in_one_line_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match=r"kind verifiable to, expected task\.json_schema; add it"):
        settled("always", "verifiable", "")
    with pytest.raises(SpecError, match=r'\(Unimplemented keys: \["uniqueItems"\]\); leave that out'):
        settled("always", "extraction", '{"type": "array", "uniqueItems": true}')
    monkeypatch.setattr(constrained, "installed", lambda: False)
    with pytest.raises(SpecError, match=r"install it \(pip install 'posttrain\[structured\]'\)") as caught:
        settled("always", "extraction", SCHEMA)
    assert "\n" not in str(caught.value)

"""In a conversation all of the assistant's answers are learnt, and nothing else is."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from posttrain.artifacts import ModelRef
from posttrain.errors import SpecError
from posttrain.models.load import load_tokenizer
from posttrain.prompts import PLAIN_TEMPLATE
from posttrain.training import sft, turns
from tests.training.conftest import write

CHATML = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ '\n' + message['content'] | trim + '<|end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{{ '\n' }}{% endif %}"
)
FORGETFUL = (  # writes every answer but the last without what was thought
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] if loop.last else "
    "message['content'].split('so: ')[-1] }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SAID = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "play blur"},
    {"role": "assistant", "content": "which track?"},
    {"role": "user", "content": "the first"},
    {"role": "assistant", "content": "it is late, so: no"},
    {"role": "user", "content": "please"},
    {"role": "assistant", "content": "now playing"},
]


def learnt(tokenizer: Any, folder: Path, said: list[dict[str, str]] = SAID, which: Any = "all") -> list[str]:
    """What the mask of the one row covers, as texts of neighbouring tokens."""
    row = {"id": "a", "source": "f:1", "system": "", "prompt": "-", "completion": said[-1]["content"]}
    ref = write([{**row, "messages": json.dumps(said)}], folder / "rows.parquet")
    (made,), _, _ = sft.dataset(ref, tokenizer, 256, folder / "excluded.jsonl", which)
    pairs = list(zip(made["completion_mask"], made["input_ids"], strict=True))
    return [tokenizer.decode([token for _, token in run]) for read, run in groupby(pairs, lambda pair: pair[0]) if read]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("", ["which track?<|end|>", "it is late, so: no<|end|>", "now playing<|end|>"]),
        (CHATML, ["which track?<|end|>", "it is late, so: no<|end|>", "now playing<|end|>"]),
        # In the middle of a plain conversation an answer ends with a blank line, as the next paragraph would begin.
        (PLAIN_TEMPLATE, ["which track?", "it is late, so: no", "now playing<|end|>"]),
    ],
)
def test_every_answer_with_its_end_is_learnt(base: ModelRef, tmp_path: Path, template: str, expected: Any) -> None:
    tokenizer = load_tokenizer(base)
    tokenizer.chat_template = template or tokenizer.chat_template

    assert learnt(tokenizer, tmp_path) == expected
    assert learnt(tokenizer, tmp_path, which="last") == expected[-1:]
    assert not (tmp_path / "excluded.jsonl").exists()


def test_the_mask_token_by_token(base: ModelRef, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(base)
    said = [{"role": role, "content": text} for role, text in zip(["user", "assistant"] * 2, "abcd", strict=True)]
    row = {"id": "a", "source": "f:1", "system": "", "prompt": "-", "completion": "d", "messages": json.dumps(said)}

    (made,), lengths, _ = sft.dataset(write([row], tmp_path / "rows.parquet"), tokenizer, 256, None)

    # <|user|> a <|assistant|> b <|end|> <|user|> c <|assistant|> d <|end|>
    assert made["completion_mask"] == [0, 0, 0, 1, 1, 0, 0, 0, 1, 1]
    assert lengths == [10]
    assert tokenizer.decode(made["input_ids"]) == "<|user|>a<|assistant|>b<|end|><|user|>c<|assistant|>d<|end|>"


def test_an_answer_that_the_template_rewrites_is_left_out_and_told(base: ModelRef, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(base)
    tokenizer.chat_template = FORGETFUL

    assert learnt(tokenizer, tmp_path) == ["which track?<|end|>", "now playing<|end|>"]
    (note,) = (tmp_path / "excluded.jsonl").read_text().splitlines()
    assert "turn 5 is not learnt: the chat template writes it otherwise" in json.loads(note)["reason"]


def test_a_tool_speaks_between_two_answers(base: ModelRef, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(base)
    tokenizer.chat_template = tokenizer.chat_template.replace("'<|' + message['role'] + '|>'", "'<|user|>'").replace(
        "{{ '<|user|>' + message", "{{ ('<|assistant|>' if message['role'] == 'assistant' else '<|user|>') + message"
    )
    said = [SAID[1], SAID[2], {"role": "tool", "content": "track 3"}, SAID[6]]

    assert learnt(tokenizer, tmp_path, said) == ["which track?<|end|>", "now playing<|end|>"]


def test_a_tokenizer_without_offsets_is_refused(base: ModelRef) -> None:
    class Slow:
        is_fast = False

        def apply_chat_template(self, said: Any, add_generation_prompt: bool, tokenize: bool) -> str:
            return (
                "".join(f"[{turn['role']}]{turn['content']}" for turn in said) + "[assistant]" * add_generation_prompt
            )

    with pytest.raises(SpecError, match=r"set sft\.assistant_turns: last"):
        turns.marks([{"messages": json.dumps(SAID)}], [[0]], Slow())

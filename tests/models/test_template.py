"""Template, tokenizer and generation configuration end an answer alike, or are mended, or are refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from posttrain.artifacts import ModelRef
from posttrain.errors import ModelError
from posttrain.models.load import load_model, load_tokenizer
from posttrain.models.template import agree, ending_of, rendered, settle
from posttrain.prompts import PLAIN_TEMPLATE, messages

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_3 = (
    "{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim"
    " + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
LLAMA_2 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% elif m['role'] == 'system' %}{{ raise_exception('no system role') }}"
    "{% else %}{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)
NAMES_NO_END = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n\n' }}{% endfor %}"
ALWAYS_OPENS = "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] }}{% endfor %}{{ '<|assistant|>' }}"
DEAF = "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}{% endif %}{% endfor %}"
TEXTS = ["What is 4 and 3? It is seven.", "Add the numbers.", "play a song", "will it rain"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from posttrain.models.tiny.pretrain import train_tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS).save_pretrained(folder)
    return folder


def make(plain: Path, template: str, *added: str, **settings: str | None) -> Any:
    """A tokenizer with `<|end|>` as its end and `<|pad|>` as its padding unless `settings` say otherwise."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(plain)
    tokenizer.add_special_tokens({"additional_special_tokens": list(added)}, replace_extra_special_tokens=False)
    tokenizer.chat_template = template
    for name, value in settings.items():
        setattr(tokenizer, name, value)
    return tokenizer


def test_the_embedded_base_needs_no_mending() -> None:
    from posttrain.models.load import TINY

    ending = ending_of(load_tokenizer(ModelRef(base=str(TINY), fingerprint="tiny")))
    assert ending is not None
    assert (ending.token, ending.ids, ending.notes) == ("<|end|>", (1,), ())


@pytest.mark.parametrize(
    ("template", "added", "end"),
    [
        (CHATML, ("<|im_start|>", "<|im_end|>"), "<|im_end|>"),
        (LLAMA_3, ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), "<|eot_id|>"),
    ],
)
def test_a_template_that_ends_turns_otherwise_is_followed(plain: Path, template: str, added: Any, end: str) -> None:
    tokenizer = make(plain, template, *added)
    ending = settle(tokenizer, "m")
    assert (tokenizer.eos_token, ending.token) == (end, end)
    assert ending.others == (1,), "what ended the tokenizer's texts before still ends them"
    (note,) = ending.notes
    assert end in note
    assert "<|end|>" in note
    assert tokenizer.decode(tokenizer("rain" + end)["input_ids"], skip_special_tokens=True) == "rain"
    assert settle(tokenizer, "m").notes == (), "mended once"


def test_the_end_is_saved_with_tokenizer_and_model(plain: Path, tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make(plain, CHATML, "<|im_start|>", "<|im_end|>")
    tokenizer.save_pretrained(tmp_path / "base")
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), eos_token_id=1, bos_token_id=None, **shape)
    ).save_pretrained(tmp_path / "base")
    ref = ModelRef(base=str(tmp_path / "base"), fingerprint="x")
    model, tokenizer = load_model(ref, device="cpu"), load_tokenizer(ref)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert end > 1

    agree(model, tokenizer)
    model.save_pretrained(tmp_path / "trained")
    tokenizer.save_pretrained(tmp_path / "trained")

    generation = json.loads((tmp_path / "trained/generation_config.json").read_text())
    assert generation["eos_token_id"] == [end, 1]
    assert json.loads((tmp_path / "trained/config.json").read_text())["eos_token_id"] == end
    again = load_tokenizer(ModelRef(base=str(tmp_path / "trained"), fingerprint="y"))
    assert again.eos_token == "<|im_end|>"
    assert again.ending.notes == ()


def test_a_generation_configuration_with_another_end_is_told(plain: Path) -> None:
    tokenizer = make(plain, PLAIN_TEMPLATE)
    ending = settle(tokenizer, "m", configured=[3])
    assert ending.ids == (1, 3)
    assert "generation_config.json ends texts with <|user|> alone: <|end|> is added" in ending.notes[0]


@pytest.mark.parametrize("template", [NAMES_NO_END, ALWAYS_OPENS])
def test_a_template_without_an_end_gets_the_tokenizers(plain: Path, template: str) -> None:
    ending = settle(make(plain, template), "m")
    assert ending.token == "<|end|>"
    assert "answers are taught to end with <|end|>" in ending.notes[0]


def test_plain_paragraphs_agree(plain: Path) -> None:
    assert settle(make(plain, PLAIN_TEMPLATE), "m").notes == ()


def test_an_end_after_a_blank_is_the_end_and_an_instruction_finds_a_place(plain: Path) -> None:
    tokenizer = make(plain, LLAMA_2)
    ending = settle(tokenizer, "m")
    assert (ending.token, ending.written, ending.folds_system) == ("<|end|>", " <|end|>", True)
    assert "no system message" in ending.notes[0]
    assert rendered(tokenizer, messages("Add.", "4?")) == "[INST] Add.\n\n4? [/INST]"


def refusal(tokenizer: Any, **more: Any) -> str:
    with pytest.raises(ModelError) as caught:
        settle(tokenizer, "folder/m", **more)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_what_cannot_be_mended_is_refused_in_one_line(plain: Path) -> None:
    assert "no token ends an answer" in refusal(make(plain, NAMES_NO_END, eos_token=None))
    assert "leaves out what the assistant says" in refusal(make(plain, DEAF))
    assert "chat template refuses" in refusal(make(plain, "{{ raise_exception('never') }}"))
    beyond = make(plain, CHATML, "<|im_start|>", "<|im_end|>")
    text = refusal(beyond, vocabulary=len(beyond) - 1)
    assert f"token {len(beyond) - 1}, but the model has {len(beyond) - 1} tokens" in text


def test_turns_that_the_template_refuses_are_a_line_too(plain: Path) -> None:
    strict = "{% if messages[0]['role'] != 'user' %}{{ raise_exception('user first') }}{% endif %}" + NAMES_NO_END
    tokenizer = make(plain, strict)
    settle(tokenizer, "m")
    with pytest.raises(ModelError, match=r"refuses a conversation of assistant \(user first\)"):
        rendered(tokenizer, [{"role": "assistant", "content": "hello"}])


def test_padding_is_another_token_than_the_end_where_there_is_any(plain: Path) -> None:
    found = make(plain, PLAIN_TEMPLATE, pad_token="<|end|>")
    assert "<|pad|> pads instead" in settle(found, "m").notes[0]
    assert found.pad_token_id == 0
    mended = make(plain, CHATML, "<|im_start|>", "<|im_end|>", pad_token="<|end|>")
    settle(mended, "m")
    assert mended.pad_token == "<|end|>", "which ends nothing any more"
    outside = make(plain, PLAIN_TEMPLATE, "[PAD]", pad_token="[PAD]")
    notes = settle(outside, "m", vocabulary=len(outside) - 1).notes
    assert outside.pad_token == "<|pad|>"
    assert "not among the model's tokens" in notes[0]

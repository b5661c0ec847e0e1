"""Which engine is taken, what vLLM would be given, and that continuous batching says what static batches say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from posttrain.artifacts import ModelRef
from posttrain.errors import SpecError
from posttrain.evaluation.decoding import Decoding
from posttrain.evaluation.engines import TransformersEngine, chosen
from posttrain.evaluation.generate import Prompt, encode
from posttrain.evaluation.output import Output
from posttrain.evaluation.vllm_engine import VllmEngine
from posttrain.progress import silent
from posttrain.prompts import messages


@pytest.mark.parametrize(
    ("setting", "has_gpu", "has_vllm", "engine"),
    [
        ("auto", False, True, "transformers"),
        ("auto", True, False, "continuous"),
        ("auto", True, True, "vllm"),
        ("transformers", True, True, "continuous"),
        ("transformers", False, False, "transformers"),
        ("vllm", True, True, "vllm"),
    ],
)
def test_the_engine_follows_setting_and_machine(setting: Any, has_gpu: bool, has_vllm: bool, engine: str) -> None:
    assert chosen(setting, has_gpu, has_vllm) == engine


def test_vllm_that_cannot_be_had_is_refused_in_one_line() -> None:
    with pytest.raises(SpecError, match=r"found vllm, but this machine has no CUDA GPU; set evaluate\.engine: auto"):
        chosen("vllm", False, True)
    with pytest.raises(SpecError, match="vllm is not installed"):
        chosen("vllm", True, False)


def said(engine: Any, prompts: Sequence[Prompt], decoding: Decoding) -> dict[int, Output]:
    return {
        prompt.place: output
        for batch, outputs in engine.written(prompts, decoding, silent)
        for prompt, output in zip(batch, outputs, strict=True)
    }


def test_continuous_batches_say_what_static_ones_say(tiny: ModelRef, loaded: tuple[Any, Any]) -> None:
    """On a CPU, where no run takes them; the GPU's kernels are not tried here."""
    model, tokenizer = loaded
    told = [messages("", "play " + "the last song " * place) for place in range(3)]
    prompts = encode(512, tokenizer, told, 5)
    paging = {"num_blocks": 4, "page_size": 64, "max_batch_tokens": 64}  # by itself it takes most of the memory
    static = TransformersEngine(tiny, tokenizer, 4)
    continuous = TransformersEngine(tiny, tokenizer, 4, "continuous", paging)
    static.model = continuous.model = model
    decoding = Decoding(max_new_tokens=5)
    assert said(continuous, prompts, decoding) == said(static, prompts, decoding)
    assert continuous.name == "continuous", "it did not fall back"


class NotVllm:
    """NOT vLLM: a stand-in that notes which arguments it is given and answers with its prompt's first token."""

    finish_reason = "stop"

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []
        self.asked: list[tuple[Any, Any]] = []
        self.sampling_params = SimpleNamespace(StructuredOutputsParams=lambda **given: ("held", given))

    def LLM(self, **given: Any) -> NotVllm:
        self.made.append({**given, "files": sorted(file.name for file in Path(given["model"]).iterdir())})
        return self

    TokensPrompt = SamplingParams = staticmethod(lambda **given: given)

    def generate(self, prompts: list[Any], settings: list[Any], use_tqdm: bool) -> list[Any]:
        assert use_tqdm is False
        self.asked += zip(prompts, settings, strict=True)
        return [
            SimpleNamespace(
                outputs=[SimpleNamespace(token_ids=each["prompt_token_ids"][:1], finish_reason=self.finish_reason)]
            )
            for each in prompts
        ]


def test_vllm_gets_tokens_and_settings(tiny: ModelRef, loaded: tuple[Any, Any]) -> None:
    stand_in, tokenizer = NotVllm(), loaded[1]
    engine = VllmEngine(tiny, tokenizer, stand_in)
    assert engine.context == 512
    prompts = [Prompt(0, [5, 6], False), Prompt(0, [5, 6], False, draw=1)]
    decoding = Decoding(max_new_tokens=7, temperature=0.5, seed=3, grammar="start: x")
    assert said(engine, prompts, decoding) == {0: Output(tokenizer.decode([5]), stopped=True)}
    ((first, greedy), (_, second)) = stand_in.asked
    assert first == {"prompt_token_ids": [5, 6]}
    common = {"temperature": 0.5, "max_tokens": 7, "stop_token_ids": [tokenizer.eos_token_id], "detokenize": False}
    held = {"structured_outputs": ("held", {"grammar": "start: x"})}
    assert (greedy, second) == ({**common, **held, "seed": 3}, {**common, **held, "seed": 4})
    (made,) = stand_in.made
    assert (made["model"], made["tokenizer"]) == (tiny.base, tiny.base)
    assert (made["generation_config"], made["structured_outputs_config"]) == ("vllm", {"backend": "guidance"})


def test_vllm_tells_what_stopped_from_what_was_cut(tiny: ModelRef, loaded: tuple[Any, Any]) -> None:
    stand_in = NotVllm()
    stand_in.finish_reason = "length"
    (found,) = said(VllmEngine(tiny, loaded[1], stand_in), [Prompt(0, [5], False)], Decoding(max_new_tokens=1)).values()
    assert not found.stopped


def test_vllm_gets_an_adapter_merged(tiny: ModelRef, loaded: tuple[Any, Any], tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    from posttrain.models.load import load_model, quiet

    with quiet():
        adapted: Any = get_peft_model(load_model(tiny, device="cpu"), LoraConfig(r=2, target_modules=["q_proj"]))
        adapted.save_pretrained(tmp_path / "adapter")
    stand_in = NotVllm()
    engine = VllmEngine(
        ModelRef(base=tiny.base, adapter=str(tmp_path / "adapter"), fingerprint="a"), loaded[1], stand_in
    )
    said(engine, [Prompt(0, [5], False)], Decoding(max_new_tokens=1))
    (made,) = stand_in.made
    assert made["model"] != tiny.base
    assert {"config.json", "model.safetensors"} <= set(made["files"])
    assert not any("adapter" in name for name in made["files"])

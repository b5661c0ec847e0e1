"""What a spec may not ask of training."""

from __future__ import annotations

from pathlib import Path

import pytest

from posttrain.errors import SpecError
from posttrain.spec import load

SPEC = """\
name: small
task: {kind: text}
data: {train: train.jsonl, test: test.jsonl}
"""


def said(tmp_path: Path, sections: str) -> list[str]:
    """The mistakes of a spec with these sections; none when it is sound."""
    (tmp_path / "spec.yaml").write_text(f"{SPEC}{sections}\n")
    try:
        load(tmp_path / "spec.yaml", tmp_path)
    except SpecError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize(
    ("sections", "refused"),
    [
        ("sft: {method: full, lora_rank: 8}", "sft.lora_rank: is of method lora, dora or qlora, found method"),
        (
            "sft: {num_virtual_tokens: 8}",
            "sft.num_virtual_tokens: is of method prefix, prompt or p-tuning, found",
        ),
        (
            "sft: {method: ia3, prefix_projection: true}",
            "sft.prefix_projection: is of method prefix, found method",
        ),
        ("sft: {method: dora, optimizer: muon}", "sft.optimizer: muon is for method: full, found method: dora"),
        (
            "sft: {method: prompt}",
            "sft.method: found method: prompt, whose virtual tokens cannot be merged into the",
        ),
        (
            "sft: {method: prefix, gradient_checkpointing: true}\nstrategy: {align: never}",
            "sft.gradient_checkpointing: a prefix is a cache",
        ),
        (
            "sft: {method: prefix, encoder_hidden_size: 8}\nstrategy: {align: never}",
            "sft.encoder_hidden_size: is of prefix_projection, which is off",
        ),
        (
            "sft: {method: p-tuning}\nstrategy: {align: never}\nevaluate: {engine: vllm}",
            "evaluate.engine: found method: p-tuning, whose virtual tokens cannot be merged into weights for vllm",
        ),
        (
            "sft: {method: prompt, packing: true}\nstrategy: {align: never}",
            "sft.packing: found method: prompt, whose virtual tokens go before each row",
        ),
        ("sft: {method: lisa}", "sft.method: found 'lisa'"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, sections: str, refused: str) -> None:
    (line,) = said(tmp_path, sections)
    assert refused in line


def test_what_goes_together_is_taken(tmp_path: Path) -> None:
    for sft in ("{method: ia3}", "{method: dora, lora_rank: 8}", "{method: full, optimizer: muon}", "{method: qlora}"):
        assert said(tmp_path, f"sft: {sft}") == []
    for sft in ("{method: prefix, prefix_projection: true, encoder_hidden_size: 8}", "{method: prompt}"):
        assert said(tmp_path, f"sft: {sft}\nstrategy: {{align: never}}") == []

"""S3's three plans come out by rule; devices share a batch, and say so when they cannot."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_configs import LLAMA2_7B, QWEN3_600M, TINY

from posttrain.errors import SpecError
from posttrain.models.hardware import Devices, HardwarePlan, Work, dpo_bytes, plan, ppo_bytes, share
from posttrain.models.machine import check_devices
from posttrain.models.memory import Way
from posttrain.models.shape import shape_of
from posttrain.spec.methods import Method

SEVEN = {**LLAMA2_7B, "max_position_embeddings": 4096}
MISTRAL = {**SEVEN, "intermediate_size": 14336, "num_key_value_heads": 8}
LLAMA2_70B = {
    **SEVEN,
    "hidden_size": 8192,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "intermediate_size": 28672,
}


def planned(
    config: dict[str, Any], devices: str, method: Method = "lora", length: int = 512, batch: int = 32, **more: Any
) -> HardwarePlan:
    work = Work(way=Way(method), batch_size=batch, max_length=length, bf16=True, **more)
    return plan(shape_of(config), Devices.parse(devices), work)


@pytest.mark.parametrize("config", [SEVEN, MISTRAL])
@pytest.mark.parametrize("length", [512, 1024, 2048])
@pytest.mark.parametrize(
    ("devices", "method", "quantisation", "alignment"),
    [
        ("4x80", "lora", "int8", "DPO in place of PPO"),
        ("2x80", "qlora", "int4", "DPO, or SFT repeated"),
        ("1x24", "qlora", "int4", "none: better SFT data instead"),
    ],
)
def test_the_plans_of_s3_for_seven_billion_parameters(
    config: dict[str, Any], length: int, devices: str, method: str, quantisation: str, alignment: str
) -> None:
    made = planned(config, devices, length=length)
    assert (made["method"], made["quantisation"], made["alignment"]) == (method, quantisation, alignment)
    if devices == "1x24":
        assert made["micro_batch_size"] == 1


def test_the_account_behind_them_by_hand() -> None:
    # 2 × 80 GB, DPO: (16 + 2) bytes × 6.738e9 / 2 devices = 60.65e9, and two rows whose layers are recomputed: each
    # token keeps 32 inputs of 4096 in 16 bits, one layer in whole (24 + 8 bytes × 4096 - 4 × 4096, 8 × 11008) and 16
    # bytes of each of 32,000 logits.
    shape, devices = shape_of(SEVEN), Devices.parse("2x80")
    work = Work(way=Way("lora"), batch_size=32, max_length=512, bf16=True)
    token = 32 * 2 * 4096 + (20 + 8) * 4096 + 8 * 11008 + 16 * 32_000
    assert dpo_bytes(shape, devices, work) == pytest.approx(9 * shape.parameters + 2 * 512 * token)
    # PPO trains two and freezes two: 36 bytes, shared by two; and a whole policy on each.
    assert ppo_bytes(shape, devices, work) > (18 + 2) * shape.parameters
    assert devices.usable == 0.85 * 80 * 2**30


def test_a_small_model_may_do_everything() -> None:
    made = planned(QWEN3_600M, "1x80")
    assert (made["method"], made["quantisation"], made["alignment"]) == ("lora", "none", "PPO or DPO")


def test_a_cpu_is_planned_without_fewer_bits() -> None:
    cpu = Devices(kind="cpu", count=1, memory_bytes=8 * 2**30, name="2 CPU threads", threads=2)
    made = plan(shape_of(TINY), cpu, Work(way=Way("lora"), batch_size=16, max_length=512, bf16=False))
    assert (made["quantisation"], made.distribution, made.processes) == ("none", "none", 1)
    assert made["micro_batch_size"] == 16
    two = plan(shape_of(TINY), cpu, Work(way=Way("lora"), batch_size=16, max_length=512, bf16=False, processes=2))
    assert (two.distribution, two["micro_batch_size"], two["accumulation"]) == ("ddp", 8, 1)
    assert two.devices.memory_bytes == 4 * 2**30  # one memory between them


@pytest.mark.parametrize(
    ("config", "devices", "method", "distribution"),
    [
        (SEVEN, "1x24", "qlora", "none"),
        (SEVEN, "4x80", "lora", "ddp"),
        (SEVEN, "4x80", "full", "fsdp2"),
        (LLAMA2_70B, "4x80", "lora", "fsdp2"),
        (LLAMA2_70B, "2x80", "full", "deepspeed"),
        (SEVEN, "1x24", "full", "deepspeed"),
    ],
)
def test_how_devices_share_follows_from_memory(
    config: dict[str, Any], devices: str, method: Method, distribution: str
) -> None:
    made = planned(config, devices, method)
    assert made.distribution == distribution
    assert made.warning == ""
    assert made.memory_bytes <= made.devices.usable


def test_what_fits_nowhere_says_what_to_do() -> None:
    made = planned(LLAMA2_70B, "1x24", "qlora")
    assert made.largest_micro_batch == 0
    assert "takes an estimated" in made.warning
    assert "lower sft.max_length" in made.warning


def test_devices_as_people_write_them() -> None:
    assert Devices.parse("4x80") == Devices(kind="gpu", count=4, memory_bytes=80 * 2**30, name="A100")
    assert Devices.parse("1 × 24GB NVIDIA RTX 4090").name == "NVIDIA RTX 4090"
    for wrong in ("80", "0x80", "x80", "4*80"):
        with pytest.raises(SpecError, match="expected COUNTxGB such as 4x80"):
            Devices.parse(wrong)


def test_devices_that_are_only_planned_with_are_not_trained_on() -> None:
    check_devices(None, 2)  # two processes on a CPU are fine
    check_devices("cpu", None)
    with pytest.raises(SpecError, match=r"resources.devices: found '64x999'.*--devices '64x999'"):
        check_devices("64x999", None)


def test_a_batch_without_equal_parts_is_refused_with_a_cure() -> None:
    with pytest.raises(SpecError, match=r"found 6, which 4 processes cannot share.*use 8, or resources.processes: 3"):
        planned(TINY, "4x80", batch=6)


@given(st.integers(1, 8), st.integers(1, 64), st.integers(1, 100))
def test_parts_make_up_the_batch(processes: int, part: int, largest: int) -> None:
    micro = share(part * processes, processes, largest)
    assert part % micro == 0
    assert micro <= largest

"""Rows one behind the other instead of padded: what that takes, and the proof that no row sees its neighbours.

TRL packs (best fit, largest first) and tells the model where each row begins by its positions; whether attention heeds
that is up to the model, so it is tried before training. Knows tokens and models; nothing of losses.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from posttrain.errors import SpecError
from posttrain.training.job import micro_batch
from posttrain.training.order import padding_waste

if TYPE_CHECKING:
    from posttrain.training.sft import SFTJob

LEAK = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 3e-2}
"""Share of the logits' size by which they may differ, by rounding, when a row is packed."""


class Layout(NamedTuple):
    """What the trainer is given: the job with its batch counted in `rows` (which may be packs) of so many tokens each,
    the validation rows, TRL's settings, and the share of tokens that is padding."""

    job: SFTJob
    rows: Any
    lengths: list[int]
    held_out: Any
    settings: dict[str, Any]
    waste: float


def lay_out(job: SFTJob, rows: Any, lengths: list[int], held_out: Any, longest: int) -> Layout:
    """Rows as the job wants them: each padded, one behind the other, or packed up to `longest` tokens."""
    if job.packing:
        packs, tokens = packed(rows, longest)
        settings = {"packing": True, "dataset_kwargs": {"skip_prepare_dataset": True}}
        told = held_out and labelled(held_out)
        return Layout(in_packs(job, len(rows), len(packs)), packs, tokens, told, settings, 0.0)
    waste = padding_waste(lengths, job.batch_size, job.micro_batch_size, job.seed, job.num_train_epochs)
    flat = {"padding_free": job.padding_free}
    return Layout(job, rows, lengths, held_out, flat, 0.0 if job.padding_free else waste)


def packed(rows: Any, longest: int) -> tuple[Any, list[int]]:
    """Packs of at most `longest` tokens: a data set of input_ids, labels and seq_lengths, and the tokens of each."""
    from trl.data_utils import pack_dataset

    packs = pack_dataset(labelled(rows), longest, "bfd")
    return packs, [len(ids) for ids in packs["input_ids"]]


def labelled(rows: Any) -> Any:
    """The rows with labels (-100 where the mask is 0) in place of the mask, as TRL would make them."""
    from datasets import Dataset

    both = list(zip(rows["input_ids"], rows["completion_mask"], strict=True))
    labels = [[token if read else -100 for token, read in zip(ids, mask, strict=True)] for ids, mask in both]
    return Dataset.from_dict({"input_ids": [ids for ids, _ in both], "labels": labels})


def in_packs(job: SFTJob, rows: int, packs: int) -> SFTJob:
    """The job with its batch counted in packs, so that an update still sees about as many rows.

    On a CPU one pack at a time: attention over several, one behind the other, would only compute what it then hides.
    """
    batch = max(1, round(job.batch_size * packs / rows))
    at_once = micro_batch(batch, job.micro_batch_size) if torch.cuda.is_available() else 1
    return job.model_copy(update={"batch_size": batch, "micro_batch_size": at_once})


def prepare(job: SFTJob, model: Any) -> None:
    """Flash attention where it can be had; raise `SpecError` where padding cannot be left out or rows would mix."""
    if not (job.packing or job.padding_free):
        return
    flash = torch.cuda.is_available() and job.bf16 and importlib.util.find_spec("flash_attn") is not None
    if job.padding_free and not flash:
        raise SpecError(
            "sft.padding_free: needs a CUDA GPU, bf16 and flash attention (pip install flash-attn), found not all of "
            "them; remove it, or use sft.packing"
        )
    if flash:
        model.set_attn_implementation("flash_attention_2")
    with torch.autocast("cuda", torch.bfloat16, enabled=flash):
        if not keeps_apart(model):
            raise SpecError(
                f"sft.packing: a model of type {model.config.model_type} does not keep packed rows apart (a row would "
                "read the one before it); remove it"
            )


def keeps_apart(model: Any) -> bool:
    """Whether a row's logits are the same alone and behind another row."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    size = model.config.get_text_config().vocab_size
    first, second = ([(7 * place + start) % size for place in range(9)] for start in (3, 5))
    flat = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)
    device = model.get_input_embeddings().weight.device
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            alone, behind = (
                model(**_on(device, flat([{"input_ids": ids} for ids in rows])), use_cache=False).logits[0, -9:].float()
                for rows in ((second,), (first, second))
            )
    except (TypeError, ValueError):
        return False
    finally:
        model.train(training)
    wrong = (behind - alone).norm() / alone.norm()
    return bool(wrong < max(LEAK[model.dtype], LEAK[torch.bfloat16] if torch.is_autocast_enabled("cuda") else 0))


def _on(device: torch.device, inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs but their labels, on the device."""
    return {
        name: value.to(device) if isinstance(value, torch.Tensor) else value
        for name, value in inputs.items()
        if name != "labels"
    }

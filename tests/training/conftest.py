"""A random tiny Llama, made once a session, and rows for it to learn."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from posttrain.artifacts import DatasetRef, ModelRef, file_digest
from posttrain.training.job import Recipe

ARTISTS = ["queen", "björk", "the wailers", "nina simone", "blur"]
PLACES = ["paris", "são paulo", "st. john's", "oslo"]


def rows(count: int) -> list[dict[str, Any]]:
    """Voice commands of two intents, with the JSON that they mean."""
    made = []
    for number in range(count):
        if number % 2:
            artist = ARTISTS[number % len(ARTISTS)]
            prompt, meaning = f"play track {number} by {artist}", {"intent": "PlayMusic", "slots": {"artist": artist}}
        else:
            place = PLACES[number % len(PLACES)]
            prompt, meaning = f"weather in {place} on day {number}", {"intent": "GetWeather", "slots": {"city": place}}
        completion = json.dumps(meaning, ensure_ascii=False)
        row = {"id": f"r{number}", "source": f"made:{number}", "system": "", "prompt": prompt}
        made.append({**row, "completion": completion})
    return made


def write(rows: list[dict[str, Any]], path: Path) -> DatasetRef:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path)
    return DatasetRef(uri=str(path), fingerprint=file_digest(path), rows=len(rows))


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """Two layers of width 64, random weights, with the tiny model's tokenizer trained on the rows."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from posttrain.models.tiny import pretrain

    folder = tmp_path_factory.mktemp("base")
    texts = [row[column] for row in rows(200) for column in ("prompt", "completion")]
    tokenizer = pretrain.train_tokenizer(texts)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return ModelRef(base=str(folder), fingerprint=file_digest(folder / "model.safetensors"))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], DatasetRef]:
    """`data(n)`: a Parquet file of n rows."""
    folder = tmp_path_factory.mktemp("rows")
    made: dict[int, DatasetRef] = {}

    def of(count: int) -> DatasetRef:
        if count not in made:
            made[count] = write(rows(count), folder / f"{count}.parquet")
        return made[count]

    return of


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(learning_rate=3e-3, num_train_epochs=2, batch_size=8, micro_batch_size=8, threads=1)

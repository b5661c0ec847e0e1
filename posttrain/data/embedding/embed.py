"""Texts as unit vectors: the closer in meaning two texts are, the closer to 1 is the product of their vectors.

Two embedders need no network. `minilm` reads English for its meaning. `lexical` counts words and pairs of words of any
language: it sees texts that share their words, not those that share their meaning. `auto` takes whichever can read the
text: minilm maps most Chinese characters to one unknown token, and of 845 Chinese Alpaca prompts holds 1,601 pairs to
be alike ("explain carbon offsets" and "describe how to open an account"), where 7 are, all of them exact repetitions.

Knows nothing of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from posttrain.artifacts import digest
from posttrain.data.embedding.pretrained import MINILM, folder_of, loaded, model_digest, read_json
from posttrain.data.text.words import words
from posttrain.errors import ModelError

AUTO = "auto"
LEXICAL = "lexical"
WIDTH = 384
"""Numbers a vector: MiniLM's, so that one file holds both kinds. Hashing words to 384 errs by 0.05 (one standard
deviation) for texts that share nothing, and the less the more they share."""

READING = 1
"""To be raised when texts are read in another way, so that vectors kept on disk are not taken for today's."""
STEP = 8
BATCH = 256
"""Tokens that a sentence model reads at a time, padding included: more is no faster on two cores, and a few texts would
wait for as many rows of padding."""


@dataclass(frozen=True)
class Embedder:
    """Which model reads texts, and how much of them. Travels to worker processes; the model is loaded there.

    Args:
        model: "auto", "minilm", "lexical", a folder, or a Hugging Face id with safetensors.
        max_tokens: a longer text is read at its beginning and its end, half of this each.
        key: the setting that names the model, for messages.
    """

    model: str = AUTO
    max_tokens: int = 128
    key: str = "model"

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of the texts, float16, shape (texts, width).

        A text's vector is the same, bit for bit, whatever texts are beside it. Raises: `ModelError`.
        """
        vectors = np.zeros((len(texts), self.width), np.float16)
        lexical = self.lexical(texts)
        for chosen, function in ((lexical, lexical_vectors), (~lexical, self._model_vectors)):
            at = np.flatnonzero(chosen)
            if len(at):
                vectors[at] = function([texts[index] for index in at.tolist()])
        return vectors

    def lexical(self, texts: Sequence[str]) -> np.ndarray:
        """Which texts are read by their words (bool): vectors of one kind say nothing of those of the other."""
        if self.model == AUTO:
            return ~mostly_latin(texts)
        return np.full(len(texts), self.model == LEXICAL)

    @property
    def width(self) -> int:
        """Numbers a vector."""
        if self.model in (AUTO, MINILM, LEXICAL):
            return WIDTH
        config = read_json(self.folder / "config.json")
        return int(config.get("hidden_size") or config["dim"])

    @property
    def folder(self) -> Path:
        """Where the model lies. Raises: `ModelError`."""
        return folder_of(MINILM if self.model == AUTO else self.model, self.key)

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that change when a text's vector may."""
        weights = "" if self.model == LEXICAL else model_digest(self.folder)
        return digest([READING, self.model, self.max_tokens, weights])

    def _model_vectors(self, texts: Sequence[str]) -> np.ndarray:
        return _pooled(self.folder, texts, self.max_tokens)


def mostly_latin(texts: Sequence[str]) -> np.ndarray:
    """Which texts have at least as many Latin letters as others, and one at all (bool)."""
    column = pl.Series("text", texts, dtype=pl.String)
    latin = column.str.count_matches(r"\p{Latin}").to_numpy()
    letters = column.str.count_matches(r"\p{L}").to_numpy()
    return np.asarray((latin > 0) & (2 * latin >= letters))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Each row scaled to length 1; a row of zeros becomes (1, 0, 0, …), so that empty texts are alike."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled = np.zeros_like(vectors)
    np.divide(vectors, lengths, out=scaled, where=lengths > 0)
    scaled[lengths[:, 0] == 0, 0] = 1
    return scaled


def lexical_vectors(texts: Sequence[str]) -> np.ndarray:
    """Unit vectors of texts by their words and pairs of words, in any language; needs no fitting, no model.

    Each Chinese or Japanese character is a word. Words are hashed to a place and a sign; counts enter by their square
    root, so that frequent words do not rule. With one word in twenty replaced, half of the Alpaca answers stay above
    0.93 in English and Chinese; of 10,000 pairs of different ones, the most similar reaches 0.45. (Runs of characters
    would not do: long English texts share most runs of two, and reach 0.90.)
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(
        tokenizer=words, token_pattern=None, lowercase=False, ngram_range=(1, 2), n_features=WIDTH, norm=None
    )
    vectors = np.zeros((len(texts), WIDTH), np.float32)
    for start in range(0, len(texts), 4096):
        found = hashing.transform(texts[start : start + 4096]).toarray().astype(np.float32)
        vectors[start : start + 4096] = np.sign(found) * np.sqrt(np.abs(found))
    return unit(vectors)


# --- sentence models ---------------------------------------------------------------------------------------------


def _pooled(folder: Path, texts: Sequence[str], max_tokens: int) -> np.ndarray:
    """Unit vectors of a sentence model, float32.

    Texts of like length go together, padded to a multiple of `STEP` tokens and always as many at a time: the same
    shapes give the same bits, in whatever company a text comes.
    """
    import torch

    tokenizer, model = loaded(folder, "AutoModel")
    first_only = _pools_first(folder)
    limit = min(max_tokens, _context(tokenizer, model))
    ids = tokens(tokenizer, texts, limit)
    widths = np.array([min(-(-len(row) // STEP) * STEP, limit) for row in ids])
    vectors = np.zeros((len(texts), model.config.hidden_size), np.float32)
    with torch.inference_mode():
        for width in np.unique(widths):
            rows, count = np.flatnonzero(widths == width), max(1, BATCH // int(width))
            for start in range(0, len(rows), count):
                part = rows[start : start + count]
                batch, mask = _padded([ids[row] for row in part], count, int(width), tokenizer.pad_token_id or 0)
                state = model(input_ids=batch.to(model.device), attention_mask=mask.to(model.device)).last_hidden_state
                found = state[:, 0] if first_only else _mean(state, mask.to(model.device))
                vectors[part] = found[: len(part)].float().cpu().numpy()
    return unit(vectors)


def tokens(tokenizer: Any, texts: Sequence[str], limit: int) -> list[list[int]]:
    """Token ids with the model's special tokens; of a text with more than `limit`, the first and the last half."""
    room = 8 * limit  # characters at either end: more than any `limit` tokens of prose take
    shown = [text if len(text) <= 2 * room else text[:room] + " " + text[-room:] for text in texts]
    found = tokenizer(shown, return_attention_mask=False, return_token_type_ids=False, verbose=False)["input_ids"]
    head = limit // 2
    return [row if len(row) <= limit else row[:head] + row[head - limit :] for row in found]


def _padded(rows: Sequence[list[int]], count: int, width: int, padding: int) -> tuple[Any, Any]:
    """(token ids, attention mask), both (count, width); rows that are missing have one token."""
    import torch

    ids = torch.full((count, width), padding, dtype=torch.long)
    mask = torch.zeros((count, width), dtype=torch.long)
    mask[len(rows) :, 0] = 1
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1
    return ids, mask


def _mean(state: Any, mask: Any) -> Any:
    """Mean over the tokens that are there; state (rows, tokens, width), mask (rows, tokens)."""
    weights = mask[..., None].to(state.dtype)
    return (state * weights).sum(dim=1) / weights.sum(dim=1)


def _context(tokenizer: Any, model: Any) -> int:
    # RoBERTa and its kin count positions from two, so their context is two tokens short of what the configuration says.
    places = int(getattr(model.config, "max_position_embeddings", 512)) - 2
    return min(places, int(tokenizer.model_max_length))


@lru_cache(maxsize=16)
def _pools_first(folder: Path) -> bool:
    """Whether a text's vector is that of its first token; else the mean over tokens. Raises: `ModelError`."""
    for module in _modules(folder):
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise ModelError(f"{folder}: has a layer {kind} on top of the transformer; choose a model without one")
    pooling = read_json(folder / "1_Pooling" / "config.json")
    modes = [name for name, on in pooling.items() if name.startswith("pooling_mode_") and on is True]
    if set(modes) <= {"pooling_mode_mean_tokens"}:
        return False
    if modes == ["pooling_mode_cls_token"]:
        return True
    raise ModelError(f"{folder}: pools tokens by {', '.join(modes)}; choose a model that takes their mean or the first")


def _modules(folder: Path) -> list[dict[str, Any]]:
    import json

    path = folder / "modules.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return found if isinstance(found, list) else []

"""The unit vector of each token of a text, in its context: for metrics that align two texts token by token.

The same sentence model as `embed`, its last layer before pooling. Knows nothing of rows or metrics.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from posttrain.data.embedding.embed import BATCH, STEP, tokens, unit
from posttrain.data.embedding.pretrained import MINILM, folder_of, loaded


def token_vectors(texts: Sequence[str], max_tokens: int = 128, model: str = MINILM) -> list[np.ndarray]:
    """For each text an array float32 (tokens, width) of unit vectors, without the model's own marks ([CLS], [SEP]).

    A longer text is read at its beginning and its end, half of `max_tokens` each. Raises: `ModelError`.
    """
    import torch

    tokenizer, network = loaded(folder_of(model, "embedder"), "AutoModel")
    marks = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    ids = tokens(tokenizer, texts, max_tokens)
    order = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
    found: list[np.ndarray] = [np.zeros((0, int(network.config.hidden_size)), np.float32)] * len(texts)
    while order:
        width = -(-len(ids[order[0]]) // STEP) * STEP
        part, order = order[: max(1, BATCH // width)], order[max(1, BATCH // width) :]
        batch = torch.full((len(part), width), tokenizer.pad_token_id or 0, dtype=torch.long)
        mask = torch.zeros((len(part), width), dtype=torch.long)
        for line, place in enumerate(part):
            batch[line, : len(ids[place])] = torch.tensor(ids[place])
            mask[line, : len(ids[place])] = 1
        with torch.inference_mode():
            state = network(input_ids=batch.to(network.device), attention_mask=mask.to(network.device))
        vectors = state.last_hidden_state.float().cpu().numpy()
        for line, place in enumerate(part):
            own = [at for at, token in enumerate(ids[place]) if token not in marks]
            found[place] = unit(vectors[line, own]) if own else found[place]
    return found

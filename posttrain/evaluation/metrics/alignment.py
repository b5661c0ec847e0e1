"""BERTScore (Zhang et al. 2020, arXiv 1904.09675): each token of one text is matched with its likest of the other.

Precision is the mean over the output's tokens of the highest cosine with a token of the expected completion, recall the
same the other way round, F1 their harmonic mean. Neither weights of rare words nor rescaling; the tokens' vectors are
those of the embedder of curation (MiniLM), so values compare with each other and not with published ones. A pair with a
text that MiniLM cannot read (Chinese, say) is compared by its words: the same word is 1, any other 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from posttrain.evaluation.metrics.metric import Answer, Cells

READ_TOKENS = 128
"""Of a text, half of them from its beginning and half from its end."""

COLUMNS = ("bertscore_precision", "bertscore_recall", "bertscore_f1")


def aligned(answers: Sequence[Answer]) -> list[Cells]:
    """(precision, recall, F1) of each answer; two empty texts agree, an empty one with any other does not."""
    from posttrain.data.embedding.embed import mostly_latin
    from posttrain.data.embedding.token_vectors import token_vectors
    from posttrain.data.text.words import words

    pairs = [(answer.output, answer.expected) for answer in answers]
    both = mostly_latin([text for pair in pairs for text in pair]).reshape(-1, 2)
    latin: list[bool] = (both[:, 0] & both[:, 1]).tolist()
    texts = list(dict.fromkeys(text for pair, by_model in zip(pairs, latin, strict=True) if by_model for text in pair))
    vectors = dict(zip(texts, token_vectors(texts, READ_TOKENS), strict=True)) if texts else {}
    found: list[Cells] = []
    for (output, expected), by_model in zip(pairs, latin, strict=True):
        if by_model:
            likeness = vectors[output] @ vectors[expected].T
        else:
            said, wanted = (np.array(words(text), dtype=object) for text in (output, expected))
            likeness = (said[:, None] == wanted[None, :]).astype(np.float64)
        found.append(greedy(likeness))
    return found


def greedy(likeness: np.ndarray) -> tuple[float, float, float]:
    """(precision, recall, F1) of a matrix of cosines, output's tokens by the expected completion's."""
    if not likeness.size:
        same = float(likeness.shape == (0, 0))
        return same, same, same
    precision, recall = (float(np.clip(likeness.max(axis=axis).mean(), 0, 1)) for axis in (1, 0))
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both else 0.0

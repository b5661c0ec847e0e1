"""How the shipped files that are not plain copies were made: published.json, general/replay and held_out, and paths.

    python data/make.py SOURCES

SOURCES holds `snips/peers.json` (the metrics files of sonos/nlu-benchmark, 2017-06-custom-intent-engines, merged as
{engine: {intent: metrics}}), `base_corpus/t0_prompts.jsonl.gz` (the P3 / T0 rows in yizhongw/self-instruct) and
`gsm8k/train.jsonl.gz` and `gsm8k/test.jsonl.gz` (openai/grade-school-math). Not part of the library.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LONGEST = {"replay": 400, "held_out": 1200}
ENGINES = {
    "Alexa_metrics": ("Alexa", 70),
    "Luis_metrics": ("Luis (Microsoft)", 70),
    "Wit_metrics": ("Wit (Facebook)", 70),
    "api.ai_metrics": ("Api.ai (Google)", 70),
    "Snips_metrics": ("Snips", 70),
    "Snips_metrics_full": ("Snips", 2000),
}
METHOD = (
    "Micro average over the slots of all seven intents and over the published trials: true positives = recall x "
    "support, predicted = true positives / precision, summed; then precision, recall and F1 of the sums. An undefined "
    "precision counts as nothing predicted; a precision of 0 as no false positives, in the engine's favour. A trial's "
    "support is the published count divided by the number of trials for Alexa, whose counts are sums over trials."
)
CAVEATS = (
    "Each engine was trained and tested on each intent separately, so its slot scores presume the right intent, and "
    "its intent scores are recall within one intent, not a choice among seven. "
    "Trained on 70 or some 2,000 rows an intent. "
    "Date-time slots of Alexa, Wit and Api.ai counted as right when an entity of that type was present."
)


def trials(scores: dict[str, Any]) -> Iterator[tuple[float, float]]:
    """(recall, precision) of each trial at the largest training size published."""
    size = max(scores["recall"], key=int)
    yield from zip(scores["recall"][size], scores["precision"][size], strict=True)


def micro(parts: list[tuple[float, float, float]]) -> dict[str, float]:
    """Precision, recall and F1 of (support, recall, precision) parts, pooled."""
    right = sum(support * recall for support, recall, _ in parts)
    expected = sum(support for support, _, _ in parts)
    predicted = sum(s * r / p for s, r, p in parts if not math.isnan(p) and p > 0)
    precision = right / predicted if predicted else 0.0
    recall = right / expected
    both = precision + recall
    f1 = 2 * precision * recall / both if both else 0.0
    return {name: round(value, 4) for name, value in (("precision", precision), ("recall", recall), ("f1", f1))}


def engine(metrics: dict[str, Any], name: str, rows: int) -> dict[str, Any]:
    """One engine's line: its slots pooled, and the mean recall of its intents."""
    slots: list[tuple[float, float, float]] = []
    intents: list[tuple[float, float]] = []
    for intent, result in metrics.items():
        scores = result["intents"][intent]
        intents += trials(scores)
        for slot in scores["slots"].values():
            runs = list(trials(slot))
            support = slot["rate"] / (len(runs) if name == "Alexa" else 1)
            slots += [(support, recall, precision) for recall, precision in runs]
    answered = any(not math.isnan(precision) for _, precision in intents)
    return {
        "name": name,
        "training_rows_per_intent": rows,
        **{f"slot_{key}": value for key, value in micro(slots).items()},
        "intent_recall": round(sum(recall for recall, _ in intents) / len(intents), 4) if answered else None,
    }


def published(sources: Path) -> None:
    """Write voice_assistant/published.json."""
    peers = json.loads((sources / "snips/peers.json").read_text(encoding="utf-8"))
    content = {
        "test": "sonos/nlu-benchmark, 2017-06-custom-intent-engines: the 700 validation utterances, 100 an intent",
        "source": "https://github.com/sonos/nlu-benchmark",
        "paper": "https://arxiv.org/abs/1805.10190",
        "licence": "CC0-1.0",
        "measured": "2017-06-01",
        "method": METHOD,
        "caveats": CAVEATS,
        "engines": [engine(peers[key], *about) for key, about in ENGINES.items()],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (HERE / "voice_assistant/published.json").write_text(text, encoding="utf-8")


def rows(path: Path, prompt: str, completion: str) -> list[dict[str, str]]:
    """A file's rows as prompt and completion."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [{"prompt": r[prompt].strip(), "completion": r[completion].strip()} for r in map(json.loads, lines)]


def evenly(found: list[dict[str, str]], count: int, longest: int) -> list[dict[str, str]]:
    """`count` rows under `longest` characters, spread evenly over all of them."""
    short = [row for row in found if len(row["prompt"]) + len(row["completion"]) < longest]
    return [short[index * len(short) // count] for index in range(count)]


def general(sources: Path, name: str, gsm8k_split: str, unseen: bool, t0_rows: int, gsm8k_rows: int) -> None:
    """Write general/NAME.jsonl.gz from T0 rows that the tiny base never saw, or did see, and from a GSM8K split."""
    t0 = rows(sources / "base_corpus/t0_prompts.jsonl.gz", "prompt", "completion")
    side = [row for index, row in enumerate(t0) if (index // 250 % 40 == 39) == unseen]
    gsm8k = rows(sources / f"gsm8k/{gsm8k_split}.jsonl.gz", "question", "answer")
    chosen = evenly(side, t0_rows, LONGEST[name]) + evenly(gsm8k, gsm8k_rows, LONGEST[name])
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen)
    (HERE / f"general/{name}.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


# --- paths: small sets from SNIPS, one for each way through the flowchart ------------------------------------


def snips(path: Path) -> list[dict[str, Any]]:
    """Utterances with their slots, as they came: a few lines are not UTF-8."""
    with gzip.open(path) as lines:
        return [json.loads(line.decode("latin-1")) for line in lines]


def said(utterance: dict[str, Any]) -> str:
    return "".join(part["text"] for part in utterance["data"]).strip()


def labelled(utterance: dict[str, Any]) -> dict[str, str]:
    """What was said, and its intent in words."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", utterance["intent"]).lower()
    return {"prompt": said(utterance), "completion": words}


def marked(utterance: dict[str, Any]) -> dict[str, str] | None:
    """The annotators' marks in brackets, and the marked slots as JSON; None without slots or with one twice."""
    text, slots = [], {}
    for part in utterance["data"]:
        words, name = part["text"].strip(), re.sub(r"(?<=[a-z])(?=[A-Z])", "_", part.get("entity", "")).lower()
        if name in slots:
            return None
        if name:
            slots[name] = words
        text.append(f"[{name}: {words} ]" if name else words)
    prompt = " ".join(part for part in text if part)
    return {"prompt": prompt, "completion": json.dumps(slots, ensure_ascii=False)} if slots else None


def of_each_intent(found: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """`count` utterances of each intent, spread evenly over those in ASCII, in the file's order."""
    groups: dict[str, list[int]] = {}
    for place, utterance in enumerate(found):
        if said(utterance).isascii():
            groups.setdefault(utterance["intent"], []).append(place)
    chosen = [group[index * len(group) // count] for group in groups.values() for index in range(count)]
    return [found[place] for place in sorted(chosen)]


def spoken(found: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Two intents about books and works, as they came: {"intent", "data"}."""
    wanted = [row for row in found if row["intent"] in ("RateBook", "SearchCreativeWork")]
    return of_each_intent(wanted, count)


def path(name: str, made: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
    (HERE / f"paths/{name}.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def paths(sources: Path) -> None:
    """Write paths/: intents and marked commands for training and testing."""
    train, test = snips(sources / "snips/train.jsonl.gz"), snips(sources / "snips/test.jsonl.gz")
    (HERE / "paths").mkdir(exist_ok=True)
    path("intents_train", [labelled(row) for row in of_each_intent(train, 300)])
    path("intents_few", [labelled(row) for row in of_each_intent(train, 100)])
    path("intents_test", [labelled(row) for row in test])
    path("works_train", spoken(train, 600))
    path("works_test", spoken(test, 90))
    path("marked_train", [row for row in map(marked, of_each_intent(train, 180)) if row])
    path("marked_test", [row for row in map(marked, of_each_intent(test, 40)) if row])


if __name__ == "__main__":
    paths(Path(sys.argv[1]))
    published(Path(sys.argv[1]))
    general(Path(sys.argv[1]), "replay", "train", unseen=False, t0_rows=1000, gsm8k_rows=500)
    general(Path(sys.argv[1]), "held_out", "test", unseen=True, t0_rows=150, gsm8k_rows=150)

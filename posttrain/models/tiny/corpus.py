"""The text that the tiny base model learns from: real rows, and copying tasks made from their sentences.

Knows nothing of tensors or training. Every document is a list of chat messages, so that the base meets the
same chat template in pre-training that SFT will use. The sources are public files named in the model card;
the SNIPS set, on which the default pipeline is trained and tested, is not among them.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

Message = dict[str, str]
Document = list[Message]

HELD_OUT_EVERY = 40
HELD_OUT_BLOCK = 250


def _lines(path: Path) -> Iterator[dict[str, object]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def turn(prompt: str, completion: str, system: str = "") -> Document:
    """One exchange as messages; `system` is left out when empty."""
    head = [{"role": "system", "content": system}] if system else []
    return [
        *head,
        {"role": "user", "content": prompt.strip()},
        {"role": "assistant", "content": completion.strip()},
    ]


def t0_rows(root: Path, held_out: bool = False) -> Iterator[Document]:
    """Rows of the P3 / T0 mixture (Apache-2.0).

    Neighbouring rows share their passage, so whole blocks of 250 rows are held out, one in forty: a row at
    random would leave its passage among the training rows.
    """
    for index, row in enumerate(_lines(root / "base_corpus/t0_prompts.jsonl.gz")):
        is_held_out = index // HELD_OUT_BLOCK % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
        if is_held_out == held_out:
            yield turn(str(row["prompt"]), str(row["completion"]))


def gsm8k(root: Path, split: str = "train") -> Iterator[Document]:
    """Grade-school word problems with worked answers (MIT)."""
    for row in _lines(root / f"gsm8k/{split}.jsonl.gz"):
        yield turn(str(row["question"]), str(row["answer"]))


def alpaca(root: Path) -> Iterator[Document]:
    """Instruction, input, output (Apache-2.0 repository)."""
    for row in _lines(root / "llamafactory_demos/alpaca_en_demo.jsonl.gz"):
        prompt = "\n".join(str(row[key]) for key in ("instruction", "input") if row[key])
        yield turn(prompt, str(row["output"]))


def toolformer(root: Path) -> Iterator[Document]:
    """Tool-use instructions of GPTeacher (MIT)."""
    for row in _lines(root / "gpteacher_toolformer/dedupe-only.jsonl.gz"):
        yield turn(f"{row['instruction']}\n{row['input']}", str(row["output"]))


def tool_calls(root: Path) -> Iterator[Document]:
    """Dialogues with JSON function calls (Apache-2.0 repository)."""
    roles = {"human": "user", "observation": "user", "gpt": "assistant", "function_call": "assistant"}
    for row in _lines(root / "llamafactory_demos/glaive_toolcall_en_demo.jsonl.gz"):
        talk = row["conversations"]
        assert isinstance(talk, list)
        yield [{"role": roles[part["from"]], "content": part["value"].strip()} for part in talk]


def plays(root: Path) -> Iterator[Document]:
    """Shakespeare's plays (public domain), a speech answered by the next one."""
    with gzip.open(root / "base_corpus/tinyshakespeare.txt.gz", "rt", encoding="utf-8") as text:
        speeches = text.read().split("\n\n")
    for first, second in zip(speeches[::2], speeches[1::2], strict=False):
        yield turn(first, second)


def sentences(documents: list[Document]) -> list[str]:
    """Plain sentences of 5 to 22 words, without quotes or brackets, each once, in first-seen order."""
    found: dict[str, None] = {}
    for document in documents:
        for message in document:
            for sentence in re.split(r"(?<=[.!?])\s+|\n+", message["content"]):
                words = sentence.split()
                if 5 <= len(words) <= 22 and len(sentence) < 160 and not re.search(r'["\\{}\[\]<>|=]', sentence):
                    found.setdefault(sentence.strip())
    return list(found)


# --- copying tasks -----------------------------------------------------------------------------------------


def _as_json(values: Mapping[str, object]) -> str:
    return json.dumps(values, ensure_ascii=False)


def _spans(words: list[str], count: int, rng: random.Random) -> list[tuple[int, int]]:
    """Up to `count` non-overlapping spans of one to five words, in order of appearance."""
    spans: list[tuple[int, int]] = []
    start = rng.randint(0, min(3, len(words) - 1))
    while start < len(words) and len(spans) < count:
        stop = min(len(words), start + rng.choice((1, 1, 1, 2, 2, 3, 4, 5)))
        spans.append((start, stop))
        start = stop + rng.randint(1, 4)
    return spans


def _trim(text: str) -> str:
    return text.strip(" .,;:!?'()")


def marked(sentence: str, names: list[str], rng: random.Random) -> Document:
    """Spans are bracketed and named in the prompt; the answer is a JSON object of them."""
    words = sentence.split()
    spans = _spans(words, rng.randint(1, 4), rng)
    labels = rng.sample(names, len(spans))
    shown, at = [], 0
    for (start, stop), label in zip(spans, labels, strict=True):
        shown += [*words[at:start], f"[{label}:", *words[start:stop], "]"]
        at = stop
    answer = {label: " ".join(words[a:b]) for (a, b), label in zip(spans, labels, strict=True)}
    return turn(" ".join([*shown, *words[at:]]), _as_json(answer), "Copy the marked parts as JSON.")


def between(sentence: str, names: list[str], rng: random.Random) -> Document:
    """The answer holds the words that stand between two given ones."""
    words = sentence.split()
    start, stop = _spans(words[1:-1], 1, rng)[0]
    start, stop = start + 1, stop + 1
    ask = f"{sentence}\nafter: {words[start - 1]}\nbefore: {words[min(stop, len(words) - 1)]}"
    return turn(ask, _as_json({"between": " ".join(words[start:stop])}), "Copy the part asked for as JSON.")


def gap(sentence: str, names: list[str], rng: random.Random) -> Document:
    """The sentence comes twice, the second time with a hole; the answer fills it."""
    words = sentence.split()
    start, stop = _spans(words, 1, rng)[0]
    holed = " ".join([*words[:start], "___", *words[stop:]])
    return turn(f"{sentence}\n{holed}", " ".join(words[start:stop]), "Fill the gap.")


def cue_words(sentence: str, names: list[str], rng: random.Random) -> Document:
    """What each preposition introduces, and every number and capitalised name: extraction by context."""
    cues = r"by|in|at|to|for|from|with|on|of|about|near|called"
    found: dict[str, object] = {}
    for match in re.finditer(
        rf"\b({cues})\s+((?:(?!(?:{cues}|and|or|that|which|is|was)\b)[\w'’.-]+\s?){{1,4}})", sentence
    ):
        found.setdefault(match[1], _trim(match[2]))
    if numbers := re.findall(r"\b\d[\d,.:]*\b", sentence):
        found["number"] = numbers[0]
    if people := re.findall(r"(?<=\w )(?:[A-Z][\w'’-]+ ?)+", sentence):
        found["name"] = _trim(people[0])
    found = {"kind": "question" if sentence.endswith("?") else "statement", "parts": found}
    text = sentence if rng.random() < 0.5 else sentence.lower()
    answer = _as_json(found)
    return turn(text, answer if text == sentence else _lower_values(found), "Find the parts as JSON.")


def _lower_values(found: dict[str, object]) -> str:
    parts = found["parts"]
    assert isinstance(parts, dict)
    return _as_json({**found, "parts": {key: value.lower() for key, value in parts.items()}})


def split_in_order(sentence: str, names: list[str], rng: random.Random) -> Document:
    """The whole sentence, cut into named parts at the slashes shown."""
    words = sentence.split()
    cuts = sorted(rng.sample(range(1, len(words)), min(rng.randint(1, 3), len(words) - 1)))
    parts = [" ".join(words[a:b]) for a, b in zip([0, *cuts], [*cuts, len(words)], strict=True)]
    labels = rng.sample(names, len(parts))
    answer = _as_json(dict(zip(labels, parts, strict=True)))
    return turn(f"{', '.join(labels)}\n{' / '.join(parts)}", answer, "Copy the parts as JSON.")


def echo(sentence: str, names: list[str], rng: random.Random) -> Document:
    """The sentence again, sometimes with its words shuffled: nothing but copying can solve it."""
    words = sentence.split()
    if rng.random() < 0.7:
        rng.shuffle(words)
    text = " ".join(words)
    return turn(text, _as_json({"text": text}) if rng.random() < 0.5 else text, "Repeat.")


def random_words(sentence: str, names: list[str], rng: random.Random) -> Document:
    """Marked spans over invented words: spelling has to be copied, it cannot be guessed."""
    invented = []
    for word in sentence.split():
        letters = list(word)
        rng.shuffle(letters)
        invented.append("".join(letters))
    return marked(" ".join(invented), names, rng)


TASKS: tuple[tuple[Callable[[str, list[str], random.Random], Document], int], ...] = (
    (marked, 4),
    (between, 2),
    (gap, 2),
    (cue_words, 5),
    (split_in_order, 2),
    (echo, 2),
    (random_words, 3),
)


def copying_tasks(pool: list[str], count: int, seed: int) -> Iterator[Document]:
    """Up to `count` tasks drawn by the weights of `TASKS` over the sentences of `pool`.

    Field names are drawn from the pool's own lower-case words, one or two joined by an underscore.
    """
    rng = random.Random(seed)
    words = sorted({word for text in pool[:20_000] for word in text.split() if re.fullmatch(r"[a-z]{3,9}", word)})
    makers, weights = zip(*TASKS, strict=True)
    for _ in range(count):
        names = ["_".join(rng.sample(words, rng.choice((1, 1, 2)))) for _ in range(8)]
        maker = rng.choices(makers, weights)[0]
        task = maker(rng.choice(pool), list(dict.fromkeys(names)), rng)
        if '"parts": {}' not in task[-1]["content"]:
            yield task


# --- worked examples ---------------------------------------------------------------------------------------


def by_word(pool: list[str]) -> dict[str, list[str]]:
    """Word -> the short sentences that hold it, for words that some sentences share and most do not."""
    found: dict[str, list[str]] = {}
    for sentence in pool:
        if len(sentence.split()) <= 10:
            for word in sorted(set(re.findall(r"[a-z]{4,}", sentence.lower()))):
                found.setdefault(word, []).append(sentence)
    return {word: sentences for word, sentences in found.items() if 4 <= len(sentences) <= 200}


def _labelled(groups: Mapping[str, list[str]], keys: list[str], names: list[str], rng: random.Random) -> Document:
    """A label for each word; the last sentence is labelled like the one with which it shares a word."""
    labels = rng.sample(names, rng.randint(2, 3))
    picked = {label: rng.sample(groups[rng.choice(keys)], 3) for label in labels}
    shown = [(sentence, label) for label, (first, second, _) in picked.items() for sentence in (first, second)]
    rng.shuffle(shown)
    twin = shown.pop()
    turns = shown[: rng.randint(1, 4)]
    turns.insert(rng.randint(0, len(turns)), twin)
    turns.append((picked[twin[1]][2], twin[1]))
    field = rng.choice(("", "", "label", rng.choice(keys)))
    return _dialogue([(sentence, _as_json({field: label}) if field else label) for sentence, label in turns])


def _same_form(groups: Mapping[str, list[str]], keys: list[str], names: list[str], rng: random.Random) -> Document:
    """Every sentence comes back in the same form, which only the turns before it tell."""
    field = rng.choice(keys)
    form: Callable[[str], str] = rng.choice(
        (lambda text: text, lambda text: _as_json({field: text}), lambda text: f"{field}: {text}")
    )
    sentences = [rng.choice(groups[rng.choice(keys)]) for _ in range(rng.randint(2, 5))]
    return _dialogue([(sentence, form(sentence)) for sentence in sentences])


def _dialogue(turns: list[tuple[str, str]]) -> Document:
    return [message for asked, told in turns for message in turn(asked, told)]


def worked_examples(pool: list[str], count: int, seed: int) -> Iterator[Document]:
    """`count` dialogues whose last answer follows from the turns before it: what a few-shot prompt asks of a model."""
    rng = random.Random(seed)
    groups = by_word(pool[:60_000])
    keys = sorted(groups)
    for _ in range(count):
        names = [" ".join(rng.sample(keys, rng.choice((1, 1, 2, 3)))) for _ in range(6)]
        task = (_labelled if rng.random() < 0.75 else _same_form)(groups, keys, names, rng)
        told = rng.choice(("", "", "Answer like the examples.", " ".join(rng.sample(keys, 3)).capitalize() + "."))
        yield [{"role": "system", "content": told}, *task] if told else task


def natural_rows(root: Path) -> list[Document]:
    """Every training row of the real sources, in a fixed order.

    The T0 rows repeat passages under other questions, so a row that shares a sentence with a held-out row is
    left out too; sentences seen more than fifty times are the templates' own and do not count.
    """
    natural = list(t0_rows(root))
    seen = Counter(sentence for document in natural for sentence in sentences([document]))
    held_out = {sentence for sentence in sentences(list(t0_rows(root, held_out=True))) if seen[sentence] <= 50}
    kept = [document for document in natural if held_out.isdisjoint(sentences([document]))]
    others = (gsm8k, alpaca, toolformer, tool_calls, plays)
    return kept + [document for source in others for document in source(root)]

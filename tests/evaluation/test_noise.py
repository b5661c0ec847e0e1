"""Noise: prompts change, what the answer repeats does not."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from posttrain.data.text.words import words
from posttrain.evaluation.noise import NOISES, Noise, noisy, repeated

SHIPPED = Path(__file__).resolve().parents[2] / "data" / "voice_assistant" / "test.jsonl.gz"
CHINESE = ("请把这首歌加到我的周末音乐播放列表里。", "周末音乐")


def shipped(count: int) -> list[tuple[str, str]]:
    """(utterance, the values of its slots)."""
    lines = gzip.decompress(SHIPPED.read_bytes()).splitlines()[:count]
    parts = [json.loads(line)["data"] for line in lines]
    return [
        ("".join(part["text"] for part in row), " ".join(part["text"] for part in row if "entity" in part))
        for row in parts
    ]


@pytest.mark.parametrize("noise", NOISES)
def test_what_the_answer_repeats_stays_word_for_word(noise: Noise) -> None:
    for prompt, values in [*shipped(200), CHINESE]:
        left = words(noisy(prompt, noise, repeated(values, prompt)))
        assert [word for word in words(values) if word not in left] == []


@pytest.mark.parametrize(("noise", "least"), [("typos", 0.9), ("colloquial", 1.0), ("fragments", 0.8)])
def test_most_prompts_change(noise: Noise, least: float) -> None:
    rows = shipped(200)
    changed = [noisy(prompt, noise, repeated(values, prompt)) != prompt for prompt, values in rows]
    assert sum(changed) / len(rows) >= least


def test_each_noise_by_example() -> None:
    text = "Book a table at the Ritz for two people."
    assert noisy(text, "fragments") == "Book table Ritz two people"
    assert noisy(text, "fragments", ["the Ritz"]) == "Book table the Ritz two people"
    said = noisy(text, "colloquial", ["Ritz"])
    assert "Ritz" in said
    assert "book" in said
    assert not said.endswith(".")
    assert any(word in noisy(text, "code_switching") for word in ("书", "桌子", "两个", "人"))
    assert noisy("请加入音乐", "code_switching") != "请加入音乐"
    assert noisy("飞往芝加哥的天气", "code_switching") == "飞往芝加哥的 weather"
    assert len(noisy(CHINESE[0], "typos", ["周末音乐"])) < len(CHINESE[0])


def test_the_seed_and_the_text_decide() -> None:
    text = "Please find some restaurants around the central station tomorrow"
    assert noisy(text, "typos") == noisy(text, "typos")
    assert len({noisy(text, "typos", seed=seed) for seed in range(10)}) > 5
    assert noisy("", "typos") == ""
    assert noisy("42", "code_switching") == "42"

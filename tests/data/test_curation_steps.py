"""Curation steps: each drops what it says, with reason and twin, and nothing else."""

from __future__ import annotations

import json

from posttrain.data.clean import clean
from posttrain.data.decontaminate import decontaminate
from posttrain.data.dedup import clusters, exact, near
from posttrain.data.mix import mix
from posttrain.data.rows import Row
from posttrain.data.split import split


def row(name: str, prompt: str, completion: str = "{}", group: str = "") -> Row:
    return {"id": name, "source": f"x:{name}", "system": "", "prompt": prompt, "completion": completion, "group": group}


def ids(rows: list[Row]) -> list[str]:
    return [row["id"] for row in rows]


def label(**slots: str) -> str:
    return json.dumps({"intent": "Play", "slots": slots}, ensure_ascii=False)


def test_clean_keeps_slot_values_inside_their_prompt() -> None:
    rows, changed = clean([row("1", " play  Cafe\u0301 \u00a0 Noir ", label(artist="Cafe\u0301 \u00a0 Noir "))])
    assert rows[0]["prompt"] == "play Café Noir"
    assert json.loads(rows[0]["completion"])["slots"] == {"artist": "Café Noir"}
    assert ids(changed) == ["1"]


def test_clean_keeps_the_lines_of_prose_and_what_needs_nothing() -> None:
    rows, changed = clean([row("1", "a", "one\r\n  two\n"), row("2", "b", "fine")])
    assert rows[0]["completion"] == "one\n  two"
    assert ids(changed) == ["1"]


def test_exact_ignores_case_and_punctuation_but_not_labels() -> None:
    rows = [
        row("1", "Play Noir!", label(artist="Noir")),
        row("2", "play noir", label(artist="noir")),
        row("3", "play noir", label(album="noir")),
    ]
    kept, dropped = exact(rows)
    assert ids(kept) == ["1", "3"]
    assert [(item.row["id"], item.twin) for item in dropped] == [("2", "1")]


def test_near_drops_a_twin_of_the_same_label_only() -> None:
    same = label(place="Great Escape")
    rows = [
        row("1", "find the movie schedule for great escape theatres", same),
        row("2", "find me the movie schedule for great escape theatres", same),
        row("3", "find the movie schedule for great escape theatre", label(place="great escape theatre")),
        row("4", "book a table for two", same),
    ]
    kept, dropped = near(rows, 0.85)
    assert ids(kept) == ["1", "3", "4"]
    assert dropped[0].twin == "1"
    assert ids(near(rows, 1)[0]) == ["1", "2", "3", "4"]
    assert clusters(rows, 0.8) == {"1": "1", "2": "1", "3": "1"}  # whatever their labels


def test_near_compares_prose_with_its_completion() -> None:
    answer = "a long answer that explains the whole thing in some detail and then stops"
    rows = [row("1", "same question", answer), row("2", "same question", "something else entirely, told briefly")]
    assert ids(near([*rows, row("3", "same question", answer + " here")], 0.85)[0]) == ["1", "2"]


def test_decontaminate_finds_whole_prompts_and_shared_runs_of_words() -> None:
    test = [row("t1", "Tell me the weather"), row("t2", "one two three four five six seven eight nine")]
    rows = [
        row("1", "tell me the weather!"),
        row("2", "zero two three four five six seven eight nine ten"),  # shares eight words
        row("3", "zero three four five six seven eight nine ten"),  # shares seven
        row("4", "tell me the weather now"),
    ]
    kept, dropped = decontaminate(rows, test, 8)
    assert ids(kept) == ["3", "4"]
    assert [item.twin for item in dropped] == ["t1", "t2"]
    assert ids(decontaminate(rows, test, 0)[0]) == ["2", "3", "4"]


def test_split_is_in_proportion_and_keeps_clusters_together() -> None:
    rows = [row(str(number), f"p{number}", group="ab"[number % 4 == 0]) for number in range(400)]
    together = {str(number): str(number // 2 * 2) for number in range(400)}
    train, validation = split(rows, 40, 0, together)
    assert len(train) + len(validation) == 400
    assert abs(len(validation) - 40) <= 2
    assert sum(item["group"] == "b" for item in validation) in range(8, 13)
    sides = {together[item["id"]] for item in train} & {together[item["id"]] for item in validation}
    assert not sides
    assert ids(split(rows, 40, 0, together)[1]) == ids(validation)
    assert ids(split(rows, 40, 1, together)[1]) != ids(validation)


def test_split_takes_a_tenth_of_few_rows() -> None:
    rows = [row(str(number), "p") for number in range(50)]
    train, validation = split(rows, 700, 0, {})
    assert (len(train), len(validation)) == (45, 5)
    assert split(rows[:1], 700, 0, {}) == (rows[:1], [])


def test_mix_adds_the_share_of_the_result_in_random_order() -> None:
    domain = [row(f"d{number}", "p") for number in range(97)]
    general = [row(f"g{number}", "p", group="general") for number in range(50)]
    mixed, added = mix(domain, general, 0.03, None, 0)
    assert (len(mixed), added) == (100, 3)
    assert ids(mixed)[:97] != ids(domain)
    assert mix(domain, general, 0.03, None, 0)[0] == mixed
    assert mix(domain, general[:2], 0.5, None, 0)[1] == 2
    assert mix(domain, general, 0.0, None, 0)[1] == 0
    small, added = mix(domain, general, 0.1, 20, 0)
    assert (len(small), added) == (20, 2)

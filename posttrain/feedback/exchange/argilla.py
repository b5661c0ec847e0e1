"""Argilla: records as `dataset.records.to_json` writes them and `from_json` reads them (Argilla 2).

    Settings(fields=[TextField("prompt"), TextField("system", required=False), TextField("output_1"),
                     TextField("output_2", required=False), …],
             questions=[RankingQuestion("ranking", values=["output_1", "output_2", …]), RatingQuestion("rating", …),
                        TextQuestion("correction"), LabelQuestion("verdict", ["keep", "drop"]), TextQuestion("note")])

Argilla knows people by UUIDs: ours are made of their names, which the metadata keep. It tells no times of answers.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from posttrain.feedback.answers import Answer
from posttrain.feedback.exchange.parts import about, from_file, item_from, outputs_of, to_file
from posttrain.feedback.items import Item

PEOPLE = "annotators"
"""The key of a record's metadata with the names behind the ids of its people, as JSON."""
_OURS = uuid.UUID("5f0f0e1c-6a41-4b7e-9a3c-70737474726e")


def record(item: Item, answers: Sequence[Answer]) -> dict[str, Any]:
    """An item and its answers as a record."""
    responses: dict[str, list[dict[str, Any]]] = {}
    for answer in answers:
        for question, value in _values(answer, item).items():
            responses.setdefault(question, []).append({"value": value, "user_id": _user(answer.annotator)})
    fields = {"prompt": item.prompt, **({"system": item.system} if item.system else {})}
    fields |= {f"output_{number}": text for number, text in enumerate(outputs_of(item), 1)}
    people = {_user(answer.annotator): answer.annotator for answer in answers}
    return {
        "id": item.id,
        "fields": fields,
        "metadata": about(item) | ({PEOPLE: json.dumps(people, ensure_ascii=False)} if people else {}),
        "suggestions": {},
        "responses": responses,
        "vectors": {},
        "status": "completed" if answers else "pending",
    }


def _user(name: str) -> str:
    return str(uuid.uuid5(_OURS, name))


def _values(answer: Answer, item: Item) -> dict[str, Any]:
    told: dict[str, Any] = {"rating": answer.rating, "correction": answer.text, "verdict": answer.verdict}
    if answer.ranking is not None:
        told["ranking"] = _ranking(to_file(answer.ranking, item))
    return {name: value for name, value in told.items() if value is not None} | (
        {"note": answer.note} if answer.note else {}
    )


def _ranking(ranks: Sequence[int]) -> list[Any]:
    """Names of outputs, the best first; where some are equal, with their ranks as Argilla's server has them."""
    order = sorted(range(len(ranks)), key=lambda place: ranks[place])
    if len(set(ranks)) == len(ranks):
        return [f"output_{place + 1}" for place in order]
    return [{"value": f"output_{place + 1}", "rank": ranks[place]} for place in order]


def read(entry: Mapping[str, Any]) -> tuple[Item, list[Answer]]:
    """The item and the answers of a record. Raises: DataError, or what a record of another shape leads to."""
    responses: Mapping[str, Sequence[Mapping[str, Any]]] = entry.get("responses") or {}
    told = entry.get("metadata") or {}
    item = item_from(told, entry["fields"], list(responses))
    people: Mapping[str, str] = json.loads(told.get(PEOPLE) or "{}")
    said: dict[str, dict[str, Any]] = {}
    for question, given in responses.items():
        for each in given:
            user = str(each["user_id"])
            said.setdefault(people.get(user, user), {})[question] = each["value"]
    return item, [_answer(item, name, values) for name, values in said.items()]


def _answer(item: Item, name: str, values: Mapping[str, Any]) -> Answer:
    ranking = from_file(_ranks(values["ranking"]), item) if "ranking" in values else None
    return Answer(
        item.id,
        name,
        item.kind,
        ranking=ranking,
        rating=int(values["rating"]) if "rating" in values else None,
        text=values.get("correction"),
        verdict=values.get("verdict"),
        note=values.get("note", ""),
    )


def _ranks(value: Sequence[Any]) -> list[int]:
    """Ranks in the file's order."""
    placed = [
        (each["value"], int(each.get("rank", place))) if isinstance(each, dict) else (each, place)
        for place, each in enumerate(value, 1)
    ]
    return [rank for _, rank in sorted((int(str(name).rpartition("_")[2]), rank) for name, rank in placed)]

"""Label Studio: tasks with annotations, as its JSON export has them and its import takes them.

`LABELS` is the labeling configuration that fits; rankings come as `ranker` (the best first), as `pairwise` of two, or,
where some are equal, as a `number` for each output. Annotators are known by their e-mail address or id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from posttrain.feedback.answers import Answer
from posttrain.feedback.exchange.parts import about, from_file, item_from, outputs_of, to_file
from posttrain.feedback.items import Item

LABELS = """\
<View>
  <Text name="prompt" value="$prompt"/>
  <List name="outputs" value="$outputs"/>
  <Ranker name="ranking" toName="outputs"/>
  <Rating name="rating" toName="prompt" maxRating="5"/>
  <TextArea name="correction" toName="prompt"/>
  <Choices name="verdict" toName="prompt"><Choice value="keep"/><Choice value="drop"/></Choices>
  <TextArea name="note" toName="prompt"/>
</View>
"""


def task(item: Item, answers: Sequence[Answer]) -> dict[str, Any]:
    """An item and its answers as a task."""
    texts = {f"output_{number}": text for number, text in enumerate(outputs_of(item), 1)}
    listed = [{"id": name, "title": name, "body": text} for name, text in texts.items()]
    data = {"prompt": item.prompt, "system": item.system, **texts, "outputs": listed, **about(item)}
    return {"data": data, "annotations": [_annotation(answer, item) for answer in answers]}


def _annotation(answer: Answer, item: Item) -> dict[str, Any]:
    results = [
        _result("rating", "rating", {"rating": answer.rating}) if answer.rating is not None else None,
        _result("correction", "textarea", {"text": [answer.text]}) if answer.text is not None else None,
        _result("verdict", "choices", {"choices": [answer.verdict]}) if answer.verdict is not None else None,
        _result("note", "textarea", {"text": [answer.note]}) if answer.note else None,
        *(_ranking(to_file(answer.ranking, item)) if answer.ranking is not None else ()),
    ]
    return {
        "completed_by": {"email": answer.annotator},
        "created_at": answer.at.astimezone(UTC).isoformat(),
        "was_cancelled": False,
        "result": [result for result in results if result],
    }


def _result(name: str, kind: str, value: dict[str, Any], to: str = "prompt") -> dict[str, Any]:
    return {"from_name": name, "to_name": to, "type": kind, "value": value}


def _ranking(ranks: Sequence[int]) -> list[dict[str, Any]]:
    order = sorted(range(len(ranks)), key=lambda place: ranks[place])
    if len(set(ranks)) == len(ranks):
        return [_result("ranking", "ranker", {"ranker": [f"output_{place + 1}" for place in order]}, "outputs")]
    return [
        _result(f"rank_{number}", "number", {"number": rank}, f"output_{number}")
        for number, rank in enumerate(ranks, 1)
    ]


def read(entry: Mapping[str, Any]) -> tuple[Item, list[Answer]]:
    """The item and the answers of a task. Raises: DataError, or what a task of another shape leads to."""
    data = dict(entry["data"])
    given = [each for each in entry.get("annotations") or () if not each.get("was_cancelled")]
    texts = {name: text for name, text in data.items() if isinstance(text, str)}
    for each in data.get("outputs") or ():
        texts.setdefault(str(each["id"]), each["body"])
    questions = [result["from_name"] for each in given for result in each["result"]]
    item = item_from(data, texts, questions)
    return item, [_answer(item, each) for each in given if each["result"]]


def _answer(item: Item, annotation: Mapping[str, Any]) -> Answer:
    results: Sequence[Mapping[str, Any]] = annotation["result"]
    values = {each["from_name"]: each["value"] for each in results}
    ranks = _ranks(results, len(item.outputs))
    text = values.get("correction", {}).get("text")
    return Answer(
        item.id,
        _person(annotation["completed_by"]),
        item.kind,
        _time(annotation),
        ranking=from_file(ranks, item) if ranks else None,
        rating=int(values["rating"]["rating"]) if "rating" in values else None,
        text=_joined(text) if text is not None else None,
        verdict=values["verdict"]["choices"][0] if "verdict" in values else None,
        note=_joined(values.get("note", {}).get("text", "")),
    )


def _person(completed_by: Any) -> str:
    return str(completed_by.get("email") or completed_by["id"] if isinstance(completed_by, dict) else completed_by)


def _time(annotation: Mapping[str, Any]) -> datetime:
    at = datetime.fromisoformat(str(annotation["created_at"])) if annotation.get("created_at") else datetime.now(UTC)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _joined(text: Any) -> str:
    return text if isinstance(text, str) else "\n".join(text)


def _ranks(results: Sequence[Mapping[str, Any]], outputs: int) -> list[int]:
    """Ranks in the file's order; none when nothing was ranked."""
    numbers: dict[int, int] = {}
    for each in results:
        value = each["value"]
        if each["type"] == "ranker":
            listed = value["ranker"]
            best = listed if isinstance(listed, list) else [name for names in listed.values() for name in names]
            numbers |= {int(str(name).rpartition("_")[2]): rank for rank, name in enumerate(best, 1)}
        elif each["type"] == "pairwise":
            numbers |= {1: 1, 2: 2} if value["selected"] == "left" else {1: 2, 2: 1}
        elif each["type"] == "number":
            numbers[int(each["from_name"].rpartition("_")[2])] = int(value["number"])
    return [numbers[place] for place in range(1, outputs + 1)] if numbers else []

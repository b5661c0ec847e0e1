"""The feedback store, on SQLite and on a real PostgreSQL: who is asked what, and what is kept."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest
from sqlalchemy import create_engine, text

from posttrain.errors import DataError, WorkspaceError
from posttrain.feedback import Answer, FeedbackStore, Item, Output
from posttrain.feedback.items import shown_order


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres.running(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/kept/feedback.db"
    server: str = request.getfixturevalue("server")
    name = f"t{abs(hash(request.node.name))}"
    engine = create_engine(server.replace("postgresql:", "postgresql+psycopg2:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.rsplit("/", 1)[0] + f"/{name}"


@pytest.fixture
def store(url: str) -> Iterator[FeedbackStore]:
    opened = FeedbackStore.open(url, "voice")
    yield opened
    opened.close()


def rated(prompt: str, tag: str = "") -> Item:
    return Item.new("rating", prompt, outputs=[Output(f"answer to {prompt}", "voice v3")], tag=tag)


def test_an_item_is_kept_once_and_comes_back_whole(store: FeedbackStore) -> None:
    item = Item.new(
        "ranking",
        "打开灯 🙂",
        system="Be brief.",
        outputs=[Output("a", "v1"), Output("b", "v2")],
        tag="bad_case",
        reasons=["it failed"],
        context={"trace": "t1"},
    )
    assert store.add([item, item, rated("x")]) == 2
    assert store.add([item]) == 0
    assert store.items() == [item, rated("x")]
    assert store.items(kind="ranking") == store.items(tag="bad_case") == [item]
    assert store.item(item.id) == item


def test_the_same_question_has_the_same_id_whoever_wrote_the_outputs() -> None:
    first = Item.new("rating", "p", outputs=[Output("a", "v1")])
    assert first.id == Item.new("rating", "p", outputs=[Output("a", "v2")], tag="other").id
    assert first.id != Item.new("rating", "p", outputs=[Output("b", "v1")]).id
    assert Item.new("rating", "half \ud83d", outputs=[Output("a", "v1")]).prompt == "half ?"
    assert first.id != Item.new("harm", "p", outputs=[Output("a", "v1")], context={"row": "12"}).id


def test_nobody_is_asked_twice_and_overlap_is_filled(store: FeedbackStore) -> None:
    store.add([rated("one"), rated("two"), rated("three")])
    asked: dict[str, list[str]] = {}
    for annotator in ("ann", "bo", "cy"):
        while item := store.next_for(annotator, overlap=2):
            store.answer(Answer(item.id, annotator, "rating", rating=4))
            asked.setdefault(annotator, []).append(item.prompt)
    assert asked == {"ann": ["one", "two", "three"], "bo": ["one", "two", "three"]}  # cy: two people have answered all


def test_what_somebody_has_before_them_is_not_given_to_another(store: FeedbackStore) -> None:
    store.add([rated("one"), rated("two")])
    first = store.next_for("ann", overlap=1)
    assert first == store.next_for("ann", overlap=1) == rated("one")
    assert store.next_for("bo", overlap=1) == rated("two")
    store.pass_on(rated("one").id, "ann")
    assert store.next_for("ann", overlap=1) is None
    assert store.next_for("cy", overlap=1) == rated("one")


def test_many_at_once_never_exceed_the_overlap(store: FeedbackStore) -> None:
    store.add([rated(str(number)) for number in range(6)])

    def work(annotator: str) -> None:
        while item := store.next_for(annotator, overlap=2):
            store.answer(Answer(item.id, annotator, "rating", rating=3))

    threads = [threading.Thread(target=work, args=(f"p{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(store.answers(item.id)) for item in store.items()) == [2] * 6


def test_a_later_answer_replaces_and_the_history_stays(store: FeedbackStore) -> None:
    item = rated("one")
    store.add([item])
    for rating in (2, 5):
        store.answer(Answer(item.id, "ann", "rating", rating=rating, note="ok"))
    store.answer(Answer(item.id, "bo", "rating", rating=1))
    assert [(each.annotator, each.rating) for each in store.answers()] == [("ann", 5), ("bo", 1)]
    assert [each.rating for each in store.history(item.id)] == [2, 5, 1]
    assert store.answers(item.id)[0].at.utcoffset() is not None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer("nothing", "ann", "rating", rating=1), "no item nothing"),
        (Answer("{}", "ann", "rating", rating=6), "found rating 6, expected 1 to 5"),
        (Answer("{}", "ann", "harm", verdict="keep"), "found kind harm, expected rating"),
    ],
)
def test_what_answers_nothing_is_refused(tmp_path: Path, answer: Answer, words: str) -> None:
    store = FeedbackStore.open(f"sqlite:///{tmp_path}/f.db")
    store.add([rated("one")])
    wrong = Answer(**{**answer.__dict__, "item": answer.item.format() if answer.item != "{}" else rated("one").id})
    with pytest.raises(DataError, match=words):
        store.answer(wrong)
    assert store.answers() == []
    store.close()


def test_a_token_lets_its_owner_in_and_is_kept_as_a_hash_only(store: FeedbackStore, url: str) -> None:
    token = store.add_annotator("ann")
    assert store.annotator_of(token) == "ann"
    assert store.annotator_of(token + "x") is store.annotator_of("") is None
    renewed = store.add_annotator("ann")
    assert store.annotator_of(token) is None
    assert store.annotator_of(renewed) == "ann"
    assert store.annotators() == ["ann"]
    if url.startswith("sqlite"):
        folder = Path(url.removeprefix("sqlite:///")).parent
        assert not any(renewed.encode() in file.read_bytes() for file in folder.iterdir())
    with pytest.raises(DataError, match="annotator: found 'a b'"):
        store.add_annotator("a b")


def test_pipelines_share_a_database_but_not_their_items(store: FeedbackStore, url: str) -> None:
    other = FeedbackStore.open(url, "medical")
    anybody = FeedbackStore.open(url)
    store.add([rated("one")])
    anybody.add([rated("all")])
    assert other.items() == [rated("all")]
    assert {item.prompt for item in store.items()} == {"one", "all"}
    store.answer(Answer(rated("one").id, "ann", "rating", rating=1))
    assert other.answers() == []
    other.close()
    anybody.close()


def test_the_order_of_outputs_is_blind_and_stays(store: FeedbackStore) -> None:
    items = [Item.new("ranking", str(n), outputs=[Output("a", "v1"), Output("b", "v2")]) for n in range(200)]
    orders = [shown_order(item, "ann") for item in items]
    assert orders == [shown_order(item, "ann") for item in items]
    assert 70 < sum(order == (0, 1) for order in orders) < 130
    assert orders != [shown_order(item, "bo") for item in items]


def test_a_store_that_cannot_be_opened_is_named_without_its_password() -> None:
    with pytest.raises(WorkspaceError, match="cannot be opened") as error:
        FeedbackStore.open("postgresql://ann:hunter2@127.0.0.1:1/none")
    assert "hunter2" not in str(error.value)
    with pytest.raises(WorkspaceError, match="found mysql, expected sqlite or postgresql"):
        FeedbackStore.open("mysql://ann:hunter2@h/x")


def test_two_processes_write_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/f.db"
    FeedbackStore.open(url).close()
    code = (
        "import sys; from posttrain.feedback import FeedbackStore, Item, Output\n"
        "store = FeedbackStore.open(sys.argv[1])\n"
        "for n in range(30): store.add([Item.new('rating', sys.argv[2] + str(n), outputs=[Output('a', 'm')])])"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, url, name]) for name in ("a", "b")]
    assert [process.wait(60) for process in running] == [0, 0]
    store = FeedbackStore.open(url)
    assert len(store.items()) == 60
    store.close()

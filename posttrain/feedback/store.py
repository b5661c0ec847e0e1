"""Where items and answers are kept: SQLite in a file, or Postgres by URL; who is asked what next.

One database may serve many pipelines: a store sees the items of its own pipeline and those of none in particular.
Answers are appended, never changed: the last one of a person counts, the earlier ones are the history. Of an
annotator's token only a hash is kept. Knows nothing of what is made of the answers.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from posttrain.errors import DataError, WorkspaceError
from posttrain.feedback.answers import Answer, check
from posttrain.feedback.items import Item, Kind, Output

LEASE = timedelta(minutes=15)
"""How long an item that somebody has before them counts as good as answered, so that two do not do the same work."""
NAME = r"[\w.@+-]{1,100}"
"""An annotator's name."""
_LOCK = 0x706F7374
"""The number of the advisory lock under which Postgres hands out items; any number that nobody else takes."""

_tables = sql.MetaData()
_items = sql.Table(
    "posttrain_items",
    _tables,
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("pipeline", sql.String(100), nullable=False),
    sql.Column("id", sql.String(32), nullable=False),
    sql.Column("kind", sql.String(20), nullable=False),
    sql.Column("tag", sql.String(200), nullable=False),
    sql.Column("body", sql.Text, nullable=False),
    sql.UniqueConstraint("pipeline", "id"),
)
_answers = sql.Table(
    "posttrain_answers",
    _tables,
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("item", sql.String(32), nullable=False, index=True),
    sql.Column("annotator", sql.String(100), nullable=False),
    sql.Column("body", sql.Text, nullable=False),
)
_leases = sql.Table(
    "posttrain_leases",
    _tables,
    sql.Column("item", sql.String(32), primary_key=True),
    sql.Column("annotator", sql.String(100), primary_key=True),
    sql.Column("until", sql.String(40), nullable=False),
    sql.Column("passed", sql.Boolean, nullable=False),
)
_annotators = sql.Table(
    "posttrain_annotators",
    _tables,
    sql.Column("name", sql.String(100), primary_key=True),
    sql.Column("token_hash", sql.String(64), nullable=False, unique=True),
)


class FeedbackStore:
    """The items of a pipeline and what people said of them. Safe to use from several threads and processes."""

    def __init__(self, engine: Engine, pipeline: str = "") -> None:
        self._engine = engine
        self.pipeline = pipeline

    @classmethod
    def open(cls, url: str, pipeline: str = "") -> FeedbackStore:
        """The store at a URL such as sqlite:///folder/feedback.db or postgresql://user@host/name; made if need be.

        Raises: WorkspaceError when there is no such database or it cannot be opened. Passwords are not shown.
        """
        address = _address(url)
        shown = address.render_as_string(hide_password=True)
        try:
            engine = _engine(address)
            _tables.create_all(engine)
        except ImportError as error:
            raise WorkspaceError(
                f"{shown}: its driver is not installed ({error.name}); install it: pip install 'posttrain[postgres]'"
            ) from None
        except (SQLAlchemyError, OSError) as error:
            raise WorkspaceError(
                f"{shown}: the feedback store cannot be opened ({_first_line(error)}), expected a database that can "
                "be written; correct feedback.store or POSTTRAIN_FEEDBACK_URL"
            ) from None
        return cls(engine, pipeline)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    # --- items -----------------------------------------------------------------------------------------------

    def add(self, items: Iterable[Item]) -> int:
        """Keep the items that are news; how many are."""
        given = {item.id: item for item in items}
        with self._alone() as connection:
            known = set(connection.scalars(sql.select(_items.c.id).where(self._mine, _items.c.id.in_(list(given)))))
            news = [_as_record(item, self.pipeline) for name, item in given.items() if name not in known]
            if news:
                connection.execute(sql.insert(_items), news)
        return len(news)

    def items(self, kind: Kind | None = None, tag: str | None = None) -> list[Item]:
        """All items, or those of a kind or with a tag, in the order in which they came."""
        wanted = sql.select(_items.c.body).where(self._mine).order_by(_items.c.number)
        wanted = wanted if kind is None else wanted.where(_items.c.kind == kind)
        wanted = wanted if tag is None else wanted.where(_items.c.tag == tag)
        with self._engine.connect() as connection:
            return [_item(body) for body in connection.scalars(wanted)]

    def item(self, name: str) -> Item | None:
        """The item of this id."""
        with self._engine.connect() as connection:
            return self._find(connection, name)

    def remove_unanswered(self, names: Iterable[str]) -> int:
        """Ask about these no more; those that somebody has answered stay. How many are gone."""
        gone = 0
        with self._alone() as connection:
            for name in names:
                answered = sql.exists().where(_answers.c.item == name)
                gone += connection.execute(
                    sql.delete(_items).where(self._mine, _items.c.id == name, ~answered)
                ).rowcount
        return gone

    def next_for(self, annotator: str, overlap: int, kind: Kind | None = None) -> Item | None:
        """What this person should be asked next; None when nothing is left for them.

        Items that fewer than `overlap` people have answered (or have before them), those begun by others first, so
        that agreement can soon be told; never one that the person has answered or passed. Asking again without an
        answer gives the same item.
        """
        now = _now()
        answered = sql.select(_answers.c.item, _answers.c.annotator)
        held = sql.select(_leases.c.item, _leases.c.annotator).where(
            ~_leases.c.passed, _leases.c.until > now.isoformat(), _leases.c.annotator != annotator
        )
        taken = sql.union(answered, held).subquery()
        people = sql.select(taken.c.item, sql.func.count().label("people")).group_by(taken.c.item).subquery()
        mine = sql.select(_answers.c.item).where(_answers.c.annotator == annotator)
        passed = sql.select(_leases.c.item).where(_leases.c.annotator == annotator, _leases.c.passed)
        before_me = sql.exists().where(_leases.c.item == _items.c.id, _leases.c.annotator == annotator)
        count = sql.func.coalesce(people.c.people, 0)
        wanted = (
            sql.select(_items.c.body)
            .select_from(_items.outerjoin(people, people.c.item == _items.c.id))
            .where(self._mine, count < overlap, _items.c.id.not_in(mine), _items.c.id.not_in(passed))
            .order_by(before_me.desc(), count.desc(), _items.c.number)
            .limit(1)
        )
        wanted = wanted if kind is None else wanted.where(_items.c.kind == kind)
        with self._alone() as connection:
            body = connection.scalar(wanted)
            if body is None:
                return None
            item = _item(body)
            _hold(connection, item.id, annotator, now + LEASE, passed=False)
        return item

    def pass_on(self, item: str, annotator: str) -> None:
        """Do not ask this person about the item any more; others may still be."""
        with self._alone() as connection:
            _hold(connection, item, annotator, _now(), passed=True)

    # --- answers ---------------------------------------------------------------------------------------------

    def answer(self, answer: Answer) -> None:
        """Keep an answer. Raises: DataError when there is no such item, or it does not answer what was asked."""
        self.answer_all([answer])

    def answer_all(self, answers: Sequence[Answer]) -> None:
        """Keep many, or none of them. Raises: DataError as `answer`."""
        with self._alone() as connection:
            for answer in answers:
                item = self._find(connection, answer.item)
                if item is None:
                    raise DataError(f"answer of {answer.annotator}: no item {answer.item} in the store; add it first")
                check(answer, item)
                record = {"item": answer.item, "annotator": answer.annotator, "body": _answer_body(answer)}
                connection.execute(sql.insert(_answers), [record])

    def answers(self, item: str | None = None) -> list[Answer]:
        """The last word of every person on every item, or on one, oldest first."""
        last = sql.select(sql.func.max(_answers.c.number)).group_by(_answers.c.item, _answers.c.annotator)
        return self._read(_answers.c.number.in_(last), item)

    def history(self, item: str) -> list[Answer]:
        """Every word on an item, those that were taken back too, oldest first."""
        return self._read(sql.true(), item)

    def _read(self, which: sql.ColumnElement[bool], item: str | None) -> list[Answer]:
        ours = sql.select(_items.c.id).where(self._mine)
        wanted = sql.select(_answers.c.item, _answers.c.annotator, _answers.c.body).where(which)
        wanted = wanted.where(_answers.c.item.in_(ours) if item is None else _answers.c.item == item)
        with self._engine.connect() as connection:
            return [_answer(*row) for row in connection.execute(wanted.order_by(_answers.c.number))]

    def counts(self, annotator: str) -> dict[str, tuple[int, int]]:
        """Kind -> (items, those that this person has answered)."""
        mine = sql.select(_answers.c.item).where(_answers.c.annotator == annotator).distinct().subquery()
        wanted = (
            sql.select(_items.c.kind, sql.func.count(), sql.func.count(mine.c.item))
            .select_from(_items.outerjoin(mine, mine.c.item == _items.c.id))
            .where(self._mine)
            .group_by(_items.c.kind)
        )
        with self._engine.connect() as connection:
            return {kind: (total, done) for kind, total, done in connection.execute(wanted)}

    def last_answered(self, annotator: str) -> str | None:
        """The id of the item that this person answered last."""
        ours = sql.select(_items.c.id).where(self._mine)
        wanted = sql.select(_answers.c.item).where(_answers.c.annotator == annotator, _answers.c.item.in_(ours))
        with self._engine.connect() as connection:
            return connection.scalar(wanted.order_by(_answers.c.number.desc()).limit(1))

    def latest(self) -> int:
        """A number that changes with every answer."""
        with self._engine.connect() as connection:
            return connection.scalar(sql.select(sql.func.max(_answers.c.number))) or 0

    # --- annotators ------------------------------------------------------------------------------------------

    def add_annotator(self, name: str) -> str:
        """A new token for this person, whom it lets in; an earlier one no longer does. Only its hash is kept.

        Raises: DataError for a name that is none.
        """
        if not re.fullmatch(NAME, name):
            raise DataError(
                f"annotator: found {name!r}, expected letters, digits and . _ - + @, at most 100; write it so"
            )
        token = secrets.token_urlsafe(24)
        with self._alone() as connection:
            connection.execute(sql.delete(_annotators).where(_annotators.c.name == name))
            connection.execute(sql.insert(_annotators), [{"name": name, "token_hash": _hash(token)}])
        return token

    def annotator_of(self, token: str) -> str | None:
        """Whose token it is; None when nobody's."""
        with self._engine.connect() as connection:
            wanted = sql.select(_annotators.c.name).where(_annotators.c.token_hash == _hash(token))
            return connection.scalar(wanted)

    def annotators(self) -> list[str]:
        """The names of those who have a token."""
        with self._engine.connect() as connection:
            return list(connection.scalars(sql.select(_annotators.c.name).order_by(_annotators.c.name)))

    # --- the database ----------------------------------------------------------------------------------------

    @property
    def _mine(self) -> sql.ColumnElement[bool]:
        return _items.c.pipeline.in_({"", self.pipeline})

    def _find(self, connection: Connection, name: str) -> Item | None:
        body = connection.scalar(sql.select(_items.c.body).where(self._mine, _items.c.id == name))
        return _item(body) if body is not None else None

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        """A transaction that no other of its kind runs beside: what it reads still holds when it writes."""
        with self._engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.execute(sql.select(sql.func.pg_advisory_xact_lock(_LOCK)))
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()


def _address(url: str) -> URL:
    try:
        address = make_url(url)
    except ArgumentError:
        raise WorkspaceError(
            "feedback store: not a URL (not shown, it may hold a password), expected one such as "
            "sqlite:///folder/feedback.db or postgresql://user@host/name; correct feedback.store"
        ) from None
    if address.get_backend_name() not in ("sqlite", "postgresql"):
        raise WorkspaceError(
            f"feedback store: found {address.get_backend_name()}, expected sqlite or postgresql; correct feedback.store"
        )
    return address.set(drivername="postgresql+psycopg2") if address.drivername == "postgresql" else address


def _engine(address: URL) -> Engine:
    if address.get_backend_name() != "sqlite":
        return sql.create_engine(address, pool_pre_ping=True, hide_parameters=True)
    if address.database:
        Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sql.create_engine(address, connect_args={"timeout": 30}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _settle(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver would begin by itself, and too late
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return (isinstance(error, NoSuchModuleError) and "no such driver") or (str(cause).strip().splitlines() or [""])[0]


def _hold(connection: Connection, item: str, annotator: str, until: datetime, *, passed: bool) -> None:
    mine = sql.and_(_leases.c.item == item, _leases.c.annotator == annotator)
    connection.execute(sql.delete(_leases).where(mine))
    record = {"item": item, "annotator": annotator, "until": until.isoformat(), "passed": passed}
    connection.execute(sql.insert(_leases), [record])


def _now() -> datetime:
    return datetime.now(UTC)


def _hash(token: str) -> str:
    """Tokens are random and long, so a plain hash cannot be turned back."""
    return hashlib.sha256(token.encode()).hexdigest()


def _as_record(item: Item, pipeline: str) -> dict[str, str]:
    body = json.dumps(asdict(item), ensure_ascii=True)
    return {"pipeline": pipeline, "id": item.id, "kind": item.kind, "tag": item.tag, "body": body}


def _item(body: str) -> Item:
    value = json.loads(body)
    value["outputs"] = tuple(Output(**output) for output in value["outputs"])
    value["reasons"] = tuple(value["reasons"])
    return Item(**value)


def _answer_body(answer: Answer) -> str:
    value = asdict(answer) | {"at": answer.at.astimezone(UTC).isoformat()}
    return json.dumps({name: each for name, each in value.items() if name not in ("item", "annotator")})


def _answer(item: str, annotator: str, body: str) -> Answer:
    value = json.loads(body)
    ranking = value["ranking"]
    value |= {"at": datetime.fromisoformat(value["at"]), "ranking": tuple(ranking) if ranking is not None else None}
    return Answer(item=item, annotator=annotator, **value)

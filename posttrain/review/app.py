"""The web app: hands out items, takes answers, and lets nobody else in.

Every page is made here and escapes all texts; the script only sends what was pressed. Any change needs a session, the
session's word against forgery, and JSON. Knows nothing of where items come from.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware

from posttrain.artifacts import Frozen
from posttrain.data.steps.agreement import Agreement
from posttrain.errors import DataError
from posttrain.feedback import Answer, FeedbackStore, Item, Kind
from posttrain.feedback.agreement import agreement_by_kind
from posttrain.feedback.answers import MAX_TEXT
from posttrain.feedback.items import KINDS, shown_order
from posttrain.review.session import HOURS, Session, Sessions
from posttrain.review.wording import LANGUAGES, WORDS, language_of

OPINIONS = ("ranking", "rating")
"""Kinds of which several people are asked; of the others one word is enough."""
MAX_BODY = 4 * MAX_TEXT
COOKIE, LANGUAGE = "posttrain_review", "posttrain_language"
SUGGESTED = "suggested"
"""The key of `Item.context` that holds a completion which may be the right one."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
ASSETS = {"review.css": "text/css", "review.js": "text/javascript"}
Body = TypeVar("Body", bound=Frozen)
Next = Callable[[Request], Awaitable[Response]]


@dataclass
class Site:
    """What the page is about: the pipeline's name, its store, how many people are asked, and the page's address."""

    name: str
    store: FeedbackStore
    overlap: int
    url: str = "http://127.0.0.1"
    sessions: Sessions = field(default_factory=Sessions)
    _agreed: tuple[int, dict[Kind, Agreement]] = (-1, {})

    def next_for(self, annotator: str, queue: str) -> Item | None:
        """What this person should be asked next, in one queue or in any."""
        for kind in KINDS if queue == "all" else (k for k in KINDS if k == queue):
            found = self.store.next_for(annotator, self.overlap if kind in OPINIONS else 1, kind)
            if found:
                return found
        return None

    def agreement(self) -> dict[Kind, Agreement]:
        """How well people agree; counted anew only when somebody has answered."""
        latest = self.store.latest()
        if self._agreed[0] != latest:
            self._agreed = latest, agreement_by_kind(self.store.answers())
        return self._agreed[1]


class Said(Frozen):
    """What the script sends when somebody answers; `ranking` has the ranks in the order in which outputs were shown."""

    item: str = Field(max_length=64)
    ranking: list[int] | None = Field(None, max_length=50)
    rating: int | None = None
    text: str | None = Field(None, max_length=MAX_TEXT)
    verdict: Literal["keep", "drop"] | None = None
    note: str = Field("", max_length=MAX_TEXT)


class Passed(Frozen):
    """What the script sends when somebody skips."""

    item: str = Field(max_length=64)


class Login(Frozen):
    """What the script sends to log in."""

    token: str = Field(max_length=200)


class _Refused(Exception):
    """A request that is not let through: status and the key of the words that say why, or the words."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


def create_app(site: Site) -> FastAPI:
    """The app of a site. It serves no API documentation and keeps nothing in memory but the key of its sessions."""
    app = FastAPI(title="Posttrain review", docs_url=None, redoc_url=None, openapi_url=None)
    host = urlsplit(site.url).hostname or "127.0.0.1"
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[host, "127.0.0.1", "localhost"])
    app.middleware("http")(_with_headers)
    app.exception_handler(_Refused)(_refuse)
    pages = _Pages(site)
    app.get("/", response_class=HTMLResponse)(pages.show)
    app.get("/login", response_class=HTMLResponse)(pages.show_login)
    app.post("/login")(pages.log_in)
    app.post("/logout")(pages.log_out)
    app.post("/answer")(pages.answer)
    app.post("/skip")(pages.skip)
    app.get("/static/{name}")(_asset)
    return app


async def _with_headers(request: Request, go_on: Next) -> Response:
    length = request.headers.get("content-length", "0")
    if request.method == "POST" and (not length.isdigit() or not 0 < int(length) <= MAX_BODY):
        response: Response = JSONResponse({"error": "too long"}, 413)
    else:
        response = await go_on(request)
    response.headers.update(HEADERS)
    return response


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, _Refused)
    words = WORDS[_language(request)]
    return JSONResponse({"error": words.get(error.why, error.why)}, error.status)


def _asset(name: str) -> Response:
    if name not in ASSETS:
        return PlainTextResponse("not found", 404)
    text = files("posttrain.review").joinpath(name).read_text(encoding="utf-8")
    return Response(text, media_type=ASSETS[name])


def _language(request: Request) -> str:
    chosen = request.query_params.get("lang") or request.cookies.get(LANGUAGE, "")
    return language_of(chosen, request.headers.get("accept-language", ""))


class _Pages:
    """The handlers, and the templates they fill."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.templates = Environment(
            loader=PackageLoader("posttrain", "review"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    # --- pages -----------------------------------------------------------------------------------------------

    def show(self, request: Request, queue: str = "all", item: str = "") -> Response:
        """The next item of a queue, or one that the reader has answered before."""
        session = self._session(request)
        if session is None or not session.annotator:
            return RedirectResponse("/login", 303)
        site, annotator = self.site, session.annotator
        queue = queue if queue in KINDS else "all"
        counts = site.store.counts(annotator)
        before = self._before(item, annotator) if item else None
        found = site.store.item(item) if before else site.next_for(annotator, queue)
        return self._page(
            request,
            session,
            "review.html.j2",
            annotator=annotator,
            queue=queue,
            queues=[kind for kind in KINDS if counts.get(kind, (0, 0))[0]],
            counts=counts,
            item=found,
            shown=_shown(found, annotator),
            before=before,
            last=site.store.last_answered(annotator),
            agreement=site.agreement(),
            suggested=found.context.get(SUGGESTED, "") if found else "",
        )

    def _before(self, item: str, annotator: str) -> Answer | None:
        return next((each for each in self.site.store.answers(item) if each.annotator == annotator), None)

    def show_login(self, request: Request) -> Response:
        """The form for the token; the script takes it from the link's fragment, which no server ever sees."""
        return self._page(request, self.site.sessions.begin(), "login.html.j2")

    def _page(self, request: Request, session: Session, template: str, **values: Any) -> Response:
        language = _language(request)
        told: Mapping[str, Any] = {
            "t": WORDS[language],
            "language": language,
            "languages": LANGUAGES,
            "name": self.site.name,
            "csrf": self.site.sessions.csrf(session),
        }
        response = HTMLResponse(self.templates.get_template(template).render({**told, **values}))
        self._set(response, COOKIE, self.site.sessions.cookie(session))
        self._set(response, LANGUAGE, language)
        return response

    def _set(self, response: Response, name: str, value: str) -> None:
        secure = self.site.url.startswith("https:")
        response.set_cookie(name, value, HOURS * 3600, httponly=True, samesite="strict", secure=secure)

    # --- changes ---------------------------------------------------------------------------------------------

    async def log_in(self, request: Request) -> Response:
        """Let the owner of a token in."""
        _, login = await self._change(request, Login, anybody=True)
        annotator = await run_in_threadpool(self.site.store.annotator_of, login.token.strip())
        if annotator is None:
            raise _Refused(403, "wrong_token")
        response = JSONResponse({"next": "/"})
        self._set(response, COOKIE, self.site.sessions.cookie(self.site.sessions.begin(annotator)))
        return response

    async def log_out(self, request: Request) -> Response:
        """Forget who it was."""
        await self._change(request, Frozen)
        response = JSONResponse({"next": "/login"})
        response.delete_cookie(COOKIE)
        return response

    async def answer(self, request: Request) -> Response:
        """Keep what somebody said."""
        session, said = await self._change(request, Said)
        await run_in_threadpool(self._keep, said, session.annotator)
        return JSONResponse({"saved": True})

    def _keep(self, said: Said, annotator: str) -> None:
        item = self.site.store.item(said.item)
        if item is None:
            raise _Refused(404, "no such item")
        told: dict[str, Any] = said.model_dump(exclude={"item", "ranking"})
        ranks = _in_own_order(said.ranking, item, annotator)
        try:
            self.site.store.answer(Answer(item.id, annotator, item.kind, ranking=ranks, **told))
        except DataError as error:
            raise _Refused(422, str(error)) from None

    async def skip(self, request: Request) -> Response:
        """Do not ask this person about it again."""
        session, passed = await self._change(request, Passed)
        if await run_in_threadpool(self.site.store.item, passed.item) is None:
            raise _Refused(404, "no such item")
        await run_in_threadpool(self.site.store.pass_on, passed.item, session.annotator)
        return JSONResponse({"saved": True})

    async def _change(self, request: Request, body: type[Body], anybody: bool = False) -> tuple[Session, Body]:
        """The session and what was sent. Raises `_Refused` unless it comes from a page of ours, and from somebody."""
        session = self._session(request)
        if session is None or not (session.annotator or anybody):
            raise _Refused(401, "forged")
        if not self.site.sessions.proves(session, request.headers.get("x-csrf-token", "")):
            raise _Refused(403, "forged")
        if request.headers.get("content-type", "").split(";")[0] != "application/json":
            raise _Refused(415, "expected application/json")
        try:
            return session, body.model_validate_json(await request.body())
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise _Refused(422, f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}") from None

    def _session(self, request: Request) -> Session | None:
        return self.site.sessions.read(request.cookies.get(COOKIE, ""))


def _shown(item: Item | None, annotator: str) -> list[tuple[str, str]]:
    """(letter, text) of the outputs in this annotator's order, without where they come from."""
    order = shown_order(item, annotator) if item else ()
    return [(chr(ord("A") + place), item.outputs[at].text) for place, at in enumerate(order)] if item else []


def _in_own_order(ranks: list[int] | None, item: Item, annotator: str) -> tuple[int, ...] | None:
    """Ranks of outputs as shown -> ranks in the item's own order."""
    if ranks is None:
        return None
    by_place = dict(zip(shown_order(item, annotator), ranks, strict=False))
    return tuple(by_place.get(place, 0) for place in range(len(item.outputs)))

"""What clients send becomes what the version was evaluated with; what they may not send is refused by name."""

from __future__ import annotations

import math
from pathlib import Path

import httpx
import pytest

from posttrain.artifacts import ModelRef
from posttrain.errors import SpecError, WorkspaceError
from posttrain.evaluation.stepping import text_ends
from posttrain.models.load import TINY, load_tokenizer
from posttrain.prompts import few_shot
from posttrain.registry import Asking
from posttrain.registry.servable import Canary, Servable
from posttrain.serving.app import application
from posttrain.serving.asking import Asker, ChatWish, Paragraph, Wish
from posttrain.serving.backend import mean_probability
from posttrain.serving.follow import Follower
from posttrain.serving.front import serve
from posttrain.serving.outbox import Outbox
from posttrain.serving.settings import ServeSettings

EXAMPLES = ({"prompt": "play some jazz", "completion": "{}"},)


@pytest.fixture(scope="module")
def asker() -> Asker:
    asking = Asking(system="Answer with JSON.", examples=EXAMPLES, max_new_tokens=40)
    canary = (Canary(prompt="play"),)
    return Asker(Servable(name="n", version="1", folder=str(TINY), asking=asking, canaries=canary, is_json=True))


def test_a_lone_question_is_asked_as_in_evaluation(asker: Asker) -> None:
    body = asker.request([{"role": "user", "content": "hello"}], Wish())
    assert body["messages"] == few_shot(EXAMPLES, "Answer with JSON.", "hello")
    assert (body["max_tokens"], body["temperature"]) == (40, 0.0)
    assert asker.ends == text_ends(None, load_tokenizer(ModelRef(base=str(TINY), fingerprint="")))


def test_a_conversation_keeps_its_turns_and_a_client_its_own_instruction(asker: Asker) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    assert asker.conversation(turns) == [{"role": "system", "content": "Answer with JSON."}, *turns]
    own = [{"role": "system", "content": "Be brief."}, *turns]
    assert asker.conversation(own) == own


def test_what_would_be_cut_or_passed_over_is_refused(asker: Asker) -> None:
    with pytest.raises(SpecError, match=r"messages: found \d+ tokens .* expected fewer than the 512"):
        asker.request([{"role": "user", "content": "many words " * 400}], Wish())
    wish = ChatWish.model_validate({"messages": [{"role": "user", "content": "x"}], "logprobs": True, "user": "me"})
    with pytest.raises(SpecError, match="logprobs: is not served"):
        asker.request([{"role": "user", "content": "x"}], wish)


@pytest.mark.parametrize("text", ["one\n\ntwo", "\n\none\ntwo\n\nthree", "one", "one\n", "\n\n", ""])
def test_a_streamed_paragraph_is_the_first_one_however_it_is_cut(text: str) -> None:
    for size in (1, 2, 100):
        paragraph, told = Paragraph(), ""
        for start in range(0, len(text), size):
            told += paragraph.more(text[start : start + size])
        assert told + paragraph.rest() == text.lstrip().split("\n\n")[0]


def test_confidence_is_the_mean_probability() -> None:
    assert mean_probability([]) is None
    assert mean_probability([math.log(0.5), math.log(1.0)]) == pytest.approx(0.75)


async def _ask(token: str, headers: dict[str, str]) -> tuple[int, int, int]:
    """Status of a chat, of the list of models and of health, before there is any version."""
    box = Outbox(sample=0.0)
    app = application(Follower(ServeSettings(name="n", token=token), kind="transformers"), box)
    body = {"messages": [{"role": "user", "content": "x"}]}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", headers=headers) as client:
        said = await client.post("/v1/chat/completions", json=body), await client.get("/v1/models")
        health = await client.get("/health")
    box.close()
    return said[0].status_code, said[1].status_code, health.status_code


def test_the_token_guards_all_but_health() -> None:
    import asyncio

    assert asyncio.run(_ask("secret", {})) == (401, 401, 503)
    assert asyncio.run(_ask("secret", {"Authorization": "Bearer wrong"})) == (401, 401, 503)
    assert asyncio.run(_ask("secret", {"Authorization": "Bearer secret"})) == (503, 200, 503)
    assert asyncio.run(_ask("", {})) == (503, 200, 503)


def test_nobody_listens_to_other_machines_without_a_token(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="POSTTRAIN_SERVE_TOKEN"):
        serve(ServeSettings(name="n", host="0.0.0.0", logs=str(tmp_path)), lambda follower: None)

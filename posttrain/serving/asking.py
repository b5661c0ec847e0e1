"""From what a client sends to what the model is asked, and from what it wrote to the answer.

A lone message of the user is asked as evaluation asked it: with the version's instruction, worked examples and limits.
So the answer is what `mlflow.pyfunc` gives for the same prompt. Knows nothing of HTTP or of processes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from posttrain.artifacts import ModelRef
from posttrain.errors import SpecError
from posttrain.evaluation.output import Output, finished
from posttrain.evaluation.stepping import text_ends, up_to_blank_line
from posttrain.models.load import load_tokenizer
from posttrain.models.template import folded, rendered
from posttrain.prompts import PLAIN_TEMPLATE, Message, few_shot
from posttrain.registry.servable import Servable

NOT_SERVED = ("tools", "functions", "response_format", "logprobs", "logit_bias", "echo", "suffix")
"""Fields of OpenAI's that would change the answer, and that are not served: refused rather than passed over."""


class Turn(BaseModel):
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class Wish(BaseModel):
    """What a client may wish of the answer; what it leaves open is as in evaluation: greedy, the version's limit."""

    model_config = ConfigDict(extra="allow")

    model: str | None = None
    max_tokens: int | None = Field(None, ge=1, le=100_000)
    max_completion_tokens: int | None = Field(None, ge=1, le=100_000)
    temperature: float = Field(0.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool = False
    n: Literal[1] = 1


class ChatWish(Wish):
    """The body of `/v1/chat/completions`."""

    messages: list[Turn] = Field(min_length=1)


class PromptWish(Wish):
    """The body of `/v1/completions`: the prompt is taken as the user's message, as `predict` takes it."""

    prompt: str


class Asker:
    """How one version is asked. Loads its tokenizer, not its weights."""

    def __init__(self, version: Servable) -> None:
        self.version, self.asking = version, version.asking
        self.tokenizer: Any = load_tokenizer(ModelRef(base=version.folder, fingerprint=""))

    def conversation(self, turns: Sequence[Message]) -> list[Message]:
        """The turns with the version's instruction before them, and its worked examples before a lone question.

        A client that sends a system message has its own way of asking: then nothing is added.
        """
        asking = self.asking
        if len(turns) == 1 and turns[0]["role"] == "user":
            return few_shot(asking.examples, asking.system, turns[0]["content"])
        if asking.system and turns[0]["role"] != "system":
            return [{"role": "system", "content": asking.system}, *turns]
        return list(turns)

    def request(self, turns: Sequence[Message], wish: Wish) -> dict[str, Any]:
        """What both servers understand, as the body of a chat completion.

        Raises: SpecError for turns that the model's template refuses, for a prompt that leaves no room for an answer,
        and for wishes that are not served.
        """
        for field in NOT_SERVED:
            if (wish.model_extra or {}).get(field) not in (None, False, {}, []):
                raise SpecError(f"{field}: is not served; leave it out")
        asked = self.conversation(turns)
        limit = wish.max_completion_tokens or wish.max_tokens or self.asking.max_new_tokens
        length = len(self.tokenizer(rendered(self.tokenizer, asked), add_special_tokens=False)["input_ids"])
        if length + 1 > self._context:
            raise SpecError(
                f"messages: found {length} tokens with the version's instruction, expected fewer than the "
                f"{self._context} that the model takes; shorten them"
            )
        stop = [wish.stop] if isinstance(wish.stop, str) else wish.stop
        body: dict[str, Any] = {
            "messages": folded(self.tokenizer, asked),
            "max_tokens": min(limit, self._context - length),
            "temperature": wish.temperature,
            "top_p": wish.top_p,
        }
        body |= {"seed": wish.seed} if wish.seed is not None else {}
        return body | ({"stop": stop} if stop else {})

    def answer(self, text: str, finish_reason: str) -> Output:
        """The answer in what the model wrote, and whether it ended by itself."""
        return finished(text, finish_reason == "stop", self.ends_at_blank_line)

    @cached_property
    def ends_at_blank_line(self) -> bool:
        """Whether the answer is the first paragraph: the model was never taught to end."""
        return self.asking.end_at_blank_line or self.tokenizer.chat_template == PLAIN_TEMPLATE

    @cached_property
    def ends(self) -> list[int]:
        """The tokens that end a text."""
        path = Path(self.version.folder, "generation_config.json")
        kept = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.exists() else None
        own = kept if isinstance(kept, list) else [kept] if kept is not None else []
        return sorted({*own, *(text_ends(None, self.tokenizer) or [])})

    @cached_property
    def _context(self) -> int:
        """Tokens of prompt and answer together, as `evaluation.generate` counts them."""
        config = json.loads(Path(self.version.folder, "config.json").read_text(encoding="utf-8"))
        config = config.get("text_config") or config
        return int(config.get("max_position_embeddings") or 1_000_000)


class Paragraph:
    """The pieces of a streamed answer up to its first blank line; what leads up to the text is held back."""

    def __init__(self) -> None:
        self._text, self._told = "", 0

    @property
    def ended(self) -> bool:
        """Whether the blank line has come."""
        return "\n\n" in self._text.lstrip()

    def more(self, piece: str) -> str:
        """What can be told after this piece: a line end waits for what follows it."""
        self._text += piece
        whole = up_to_blank_line(self._text)
        sure = whole if self.ended else whole.rstrip("\n")
        fresh, self._told = sure[self._told :], max(self._told, len(sure))
        return fresh

    def rest(self) -> str:
        """What was held back when the answer is over."""
        return up_to_blank_line(self._text)[self._told :]

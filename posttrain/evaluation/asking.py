"""Asking a model: rows become conversations, conversations become outputs, and none is generated twice.

Knows how a prompt is made and where outputs are kept; knows nothing of totals, slices or stages.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from posttrain.evaluation import consistency, step_by_step, vote
from posttrain.evaluation.constrained import grammar
from posttrain.evaluation.decoding import Decoding
from posttrain.evaluation.engines import Engine
from posttrain.evaluation.few_shot import FewShot, search
from posttrain.evaluation.generate import encode, token_ids
from posttrain.evaluation.job import MeasureJob
from posttrain.evaluation.kept_outputs import KeptOutputs
from posttrain.evaluation.metrics import METRICS, PROSE_KINDS, STOPPED, main_metric
from posttrain.evaluation.output import Output
from posttrain.evaluation.rows import Row, read
from posttrain.progress import Progress
from posttrain.prompts import PLAIN_TEMPLATE, Message, asked

Conversations = Sequence[Sequence[Message]]
Draws = list[list[Output]]
"""For each conversation its outputs: one when greedy."""
Answers = tuple[list[str], list[dict[str, Any]], Draws, int]
"""The texts that are scored, what a row has beside them, all that was generated, how many prompts were cut to fit."""


@dataclass
class Asker:
    """A model, and how the job says it is asked."""

    job: MeasureJob
    engine: Engine
    tokenizer: Any
    progress: Progress
    few_shot: FewShot | None = None

    def __post_init__(self) -> None:
        self.few_shot = self._searched() if self.job.few_shot_search else self.job.few_shot

    def answered(self, rows: Sequence[Row]) -> tuple[list[dict[str, Any]], int]:
        """(each row with its output and counts, how many prompts were cut to fit).

        Where the output is a part or a choice of what was generated, the row has that as well: `whole_output` with the
        reasoning, or all `draws` and how many `votes` the output got. Every row has how many outputs were generated for
        it, and how many of them stopped by themselves; with worked examples, the whole conversation that was `asked`.
        """
        ways = {"step-by-step": self._reasoned, "self-consistency": self._voted}
        outputs, more, draws, cut = ways.get(self.job.prompting, self._plain)(rows)
        table = self._scored(rows, outputs)
        told = [{**row, **extra} for row, extra in zip(table, more, strict=True)]
        return [{**row, **_stopped(each)} for row, each in zip(told, draws, strict=True)], cut

    def _scored(self, rows: Sequence[Row], outputs: Sequence[str]) -> list[dict[str, Any]]:
        """What metrics count; a judge's verdicts are kept beside the outputs, so that none is asked for twice."""
        kept = Path(self.job.kept_outputs or self.job.partial)
        return self.job.scoring.scored(rows, outputs, kept, self.progress)

    def outputs(self, conversations: Conversations, free: bool = False) -> tuple[list[str], int]:
        """(the greedy output of each conversation, how many were cut to fit); `free`: not held to any schema."""
        told, cut = self._greedy(conversations, free)
        return [draws[0].text for draws in told], cut

    def asked_again(self, rows: Sequence[Row], wanted: consistency.Consistency) -> list[list[str]]:
        """For each row its greedy output, its random repeats, and its outputs under each paraphrase."""
        plain = [asked(row) for row in rows]
        drawn = self._decoding(self.job.schema_held, temperature=wanted.temperature)
        again, _ = self._ask(plain, drawn, wanted.repeats)
        others = [
            self.outputs([consistency.paraphrased(turns, words) for turns in plain])[0] for words in wanted.paraphrases
        ]
        return [
            [first, *(each.text for each in repeats), *said]
            for first, repeats, *said in zip(self.outputs(plain)[0], again, *others, strict=True)
        ]

    # --- ways of prompting ---------------------------------------------------------------------------------

    def _plain(self, rows: Sequence[Row]) -> Answers:
        conversations = self._conversations(rows)
        draws, cut = self._greedy(conversations)
        shown = [{"asked": json.dumps(turns, ensure_ascii=False)} if self.few_shot else {} for turns in conversations]
        return [each[0].text for each in draws], shown, draws, cut

    def _reasoned(self, rows: Sequence[Row]) -> Answers:
        draws, cut = self._step_by_step(rows)
        whole = [each[0].text for each in draws]
        return [self._final(output) for output in whole], [{"whole_output": output} for output in whole], draws, cut

    def _voted(self, rows: Sequence[Row]) -> Answers:
        """Of several random answers the one that most of them give."""
        wanted = self.job.self_consistency
        if wanted.step_by_step:
            draws, cut = self._step_by_step(rows, wanted.temperature, wanted.answers)
            finals = [[self._final(output.text) for output in each] for each in draws]
        else:
            decoding = self._decoding(self.job.schema_held, temperature=wanted.temperature)
            draws, cut = self._ask(self._conversations(rows), decoding, wanted.answers)
            finals = [[output.text for output in each] for each in draws]
        winners = [vote.winner(self.job.scoring.kind, each) for each in finals]
        more = [
            {"draws": json.dumps([output.text for output in each], ensure_ascii=False), "votes": votes}
            for each, (_, votes) in zip(draws, winners, strict=True)
        ]
        return [each[place] for each, (place, _) in zip(finals, winners, strict=True)], more, draws, cut

    def _step_by_step(self, rows: Sequence[Row], temperature: float = 0.0, draws: int = 1) -> tuple[Draws, int]:
        words = step_by_step.wording(rows)
        decoding = self._decoding(self.job.schema_held, words.marker, temperature)
        return self._ask([step_by_step.requested(asked(row), words) for row in rows], decoding, draws)

    def _final(self, output: str) -> str:
        return step_by_step.final(output, one_paragraph=self.job.scoring.kind not in PROSE_KINDS)

    # --- prompts -------------------------------------------------------------------------------------------

    def _conversations(self, rows: Sequence[Row]) -> list[list[Message]]:
        if self.few_shot is None or self.job.examples is None:
            return [asked(row) for row in rows]
        return self._shown(self.few_shot, read(self.job.examples), rows)

    def _shown(self, choice: FewShot, pool: Sequence[Row], rows: Sequence[Row]) -> list[list[Message]]:
        """Prompts with worked examples, as many as fit."""
        room = self.engine.context - self.job.max_new_tokens
        return choice.conversations(pool, rows, self._length, room, self.job.seed)

    def _length(self, turns: list[Message]) -> int:
        return len(token_ids(self.tokenizer, turns))

    def _searched(self) -> FewShot:
        """Which worked examples do best, on training rows that are shown to nobody."""
        job = self.job
        main = METRICS[main_metric(job.scoring.kind, job.scoring.metrics())]

        def attempt(choice: FewShot, pool: Sequence[Row], rows: Sequence[Row]) -> float:
            table = self._scored(rows, self.outputs(self._shown(choice, pool, rows))[0])
            return main.value([tuple(row[name] for name in main.columns) for row in table])

        assert job.examples is not None
        return search(read(job.examples), attempt, job.seed)

    # --- generation ----------------------------------------------------------------------------------------

    def _greedy(self, conversations: Conversations, free: bool = False) -> tuple[Draws, int]:
        return self._ask(conversations, self._decoding("" if free else self.job.schema_held))

    def _decoding(self, schema: str, marker: str = "", temperature: float = 0.0) -> Decoding:
        """`marker`: reasoning comes first and ends with it, so there are more tokens and no blank line ends them."""
        job = self.job
        # A few-shot prompt may teach a base model the form of an answer without teaching it to stop.
        untaught = job.prompting == "few-shot" and job.scoring.kind not in PROSE_KINDS
        return Decoding(
            max_new_tokens=job.max_new_tokens + (job.reasoning_tokens if marker else 0),
            end_at_blank_line=not marker and (untaught or self.tokenizer.chat_template == PLAIN_TEMPLATE),
            temperature=temperature,
            seed=job.seed,
            grammar=grammar(schema, marker) if schema else "",
        )

    def _ask(self, conversations: Conversations, decoding: Decoding, draws: int = 1) -> tuple[Draws, int]:
        """(`draws` outputs of each conversation, how many conversations were cut to fit).

        What is kept is not generated again, and what is generated is kept, some prompts at a time.
        """
        job, engine = self.job, self.engine
        prompts = encode(engine.context, self.tokenizer, conversations, decoding.max_new_tokens)
        wanted = [replace(prompt, draw=draw) for prompt in prompts for draw in range(draws)]
        own = {} if engine.name == "transformers" else {"engine": engine.name}
        libraries = (*engine.libraries, *(("llguidance",) if decoding.grammar else ()))
        folder = Path(job.kept_outputs or job.partial)
        with KeptOutputs(folder, {"model": job.model.fingerprint, **decoding.decides(), **own}, libraries) as kept:
            keys = [kept.key(conversations[prompt.place], prompt.draw) for prompt in wanted]
            found = {(wanted[at].place, wanted[at].draw): output for at, output in kept.find(keys).items()}
            names = {(prompt.place, prompt.draw): key for prompt, key in zip(wanted, keys, strict=True)}
            missing = [prompt for prompt in wanted if (prompt.place, prompt.draw) not in found]
            for batch, said in engine.written(missing, decoding, self.progress):
                done = [(prompt.place, prompt.draw) for prompt in batch]
                found |= dict(zip(done, said, strict=True))
                kept.add([names[each] for each in done], said)
        outputs = [[found[prompt.place, draw] for draw in range(draws)] for prompt in prompts]
        return outputs, sum(prompt.cut for prompt in prompts)


def _stopped(draws: Sequence[Output]) -> dict[str, float]:
    """The columns of `stop_rate`, and its value for the row."""
    stopped, generated = float(sum(each.stopped for each in draws)), float(len(draws))
    return dict(zip(STOPPED, (stopped, generated), strict=True)) | {"stop_rate": stopped / generated}

"""Where a spec says nothing of DPO or of the release, a worse model does not replace a better one."""

from __future__ import annotations

from posttrain.spec.sections.gates import Gate, GatesSpec


def test_left_out_the_main_metric_must_not_fall() -> None:
    gates = GatesSpec()
    (after_align,), (release,) = gates.demands("after_align", "accuracy"), gates.demands("release", "accuracy")
    assert (after_align.metric, after_align.not_worse_than) == ("accuracy", "previous")
    assert (release.metric, release.not_worse_than) == ("accuracy", "champion")
    assert gates.demands("after_sft", "accuracy") == []


def test_what_is_written_holds_alone_be_it_nothing() -> None:
    own = Gate(metric="macro_f1", at_least=0.9)
    gates = GatesSpec(after_align=[], release=[own])
    assert gates.demands("after_align", "accuracy") == []
    assert gates.demands("release", "accuracy") == [own]

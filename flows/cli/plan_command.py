"""`posttrain plan`: what would run, with which values and why, on what machine, and how long it should take."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from flows.cli.display import make_console
from flows.cli.planning import Plan, PlannedStage, make_plan
from posttrain import preflight
from posttrain.models.hardware import Devices, HardwarePlan
from posttrain.models.recipe import Recipe
from posttrain.spec import ResourcesSpec
from posttrain.training import recipes
from posttrain.wording import duration

STYLES = {"unchanged": "dim", "would run": "bold", "may run": "", "not needed": "dim"}


def show_plan(path: Path, devices: str | None = None) -> None:
    """Print the plan of the spec at `path`, for this machine or for `devices`; writes nothing. Raises: UserError."""
    checked = preflight.check(path)
    plan = make_plan(checked, _devices(devices))
    console = make_console()
    spec = checked.loaded.spec
    console.print(f"[bold]{spec.name}[/bold]  {path}", highlight=False)
    console.print(f"base {spec.base.model}, {plan.rows:,} rows, {plan.machine}", style="dim", highlight=False)
    for note in checked.notes:
        console.print(f"note: {note}", style="yellow", markup=False, highlight=False)
    if plan.decision:
        console.print(f"decided: {plan.decision.meaning}", highlight=False)
        console.print(f"  {plan.decision.reasons[-1]}", style="dim", markup=False, highlight=False)
    console.print(stage_table(plan))
    console.print(recipe_table("Hardware: what it carries, and why", plan.hardware))
    console.print(recipe_table(f"SFT ({spec.sft.method}): values and why", plan.sft))
    if plan.reward_model:
        method = recipes.reward_model_method(spec.reward_model, spec.sft)
        console.print(recipe_table(f"Reward model ({method}): values and why", plan.reward_model))
    if spec.strategy.align != "never":
        console.print(
            recipe_table(f"{spec.align.method.upper()}, if the measurement asks for it: values and why", plan.align)
        )
    for danger in plan.dangers:
        console.print(f"warning: {danger}", style="yellow", markup=False, highlight=False)
    left = f"about {duration(plan.seconds_left)} to go" if plan.seconds_left else "nothing to do: every stage is there"
    console.print(f"{left}; posttrain run {path}", highlight=False)


def stage_table(plan: Plan) -> Table:
    """A row per stage: what would happen, time, memory and the arithmetic behind them."""
    table = Table(title="Stages", title_justify="left", title_style="bold", header_style="bold")
    table.add_column("stage", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("memory", justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for stage in plan.stages:
        table.add_row(stage.name, stage.state, *_cost(stage), escape(stage.why), style=STYLES[stage.state])
    return table


def _cost(stage: PlannedStage) -> tuple[str, str]:
    if stage.state == "not needed":
        return "", ""
    if stage.state == "unchanged":
        return f"(took {duration(stage.seconds)})", ""
    return f"≈ {duration(stage.seconds)}", f"≈ {stage.memory_bytes / 1e9:.1f} GB"


def _devices(given: str | None) -> Devices | None:
    if given is None or given.strip().lower() != "cpu":
        return Devices.parse(given) if given else None
    return recipes.devices_of(ResourcesSpec(devices="cpu"))


def recipe_table(title: str, recipe: Recipe | HardwarePlan) -> Table:
    """A row per setting: its value, who set it, and the reason."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    table.add_column("setting", no_wrap=True)
    table.add_column("value", no_wrap=True)
    table.add_column("from", no_wrap=True)
    table.add_column("why", overflow="fold")
    for setting in recipe.settings:
        source = "your spec" if setting.overridden else setting.source
        table.add_row(setting.name, str(setting.value), escape(source), escape(setting.reason))
    return table

"""`accelerate launch`, which ends when whoever started it is gone.

    python -m posttrain.launcher --config_file accelerate.yaml -m MODULE job.json

accelerate starts each rank in a session of its own, so that killing the launcher's group would leave them. The ranks
watch the launcher, and the launcher watches the flow. Knows nothing of stages.
"""

from __future__ import annotations

from posttrain.process import die_with_parent


def main() -> None:
    """Watch first: accelerate's imports take seconds, in which the flow may die."""
    die_with_parent()
    from accelerate.commands.launch import main as launch

    launch()


if __name__ == "__main__":
    main()

"""`python -m flows.cli` is `posttrain`, from a checkout that is not installed."""

from __future__ import annotations

from flows.cli import main

main()

"""Prefect flows, each reading like the flowchart it is, and the `posttrain` command that starts them."""

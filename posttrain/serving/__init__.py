"""Serving a registered model as an OpenAI-compatible endpoint that follows its alias in the registry.

A front (`app`) takes requests and hands them to one backend process (`backend`): vLLM's server where there is a GPU and
vLLM, else transformers' own. When the alias moves, `follow` starts the new version beside the old one, asks it canary
prompts, and only then moves the traffic; requests in flight end where they began.

| module | idea |
| --- | --- |
| `asking` | what a client sends, as the version is asked; what it wrote, as the answer |
| `backend` | one version in one server process |
| `watcher` | ends that process with the front |
| `follow` | which version has the traffic, and how that changes |
| `outbox` | what waits to be logged as MLflow traces |
| `app` | the HTTP endpoints |
| `front` | all of it, until a signal |
"""

"""Prefect tasks: each is one call into the library, with retries, artifacts and tracking around it."""

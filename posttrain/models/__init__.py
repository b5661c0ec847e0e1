"""Base models and adapters: finding, checking and loading them."""

"""Training stages: SFT, pairs and preference optimisation, each in a process of its own, each resuming where it was stopped."""

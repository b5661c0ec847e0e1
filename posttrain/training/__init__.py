"""Training stages: SFT, pairs, preference optimisation; each in a process of its own, resuming where it stopped."""

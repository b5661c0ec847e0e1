"""Training stages: SFT, on-policy pairs and DPO, each in a process of its own, each resuming where it was stopped."""

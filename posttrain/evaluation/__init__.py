"""Evaluation: generate, parse, score, and say how sure the score is."""

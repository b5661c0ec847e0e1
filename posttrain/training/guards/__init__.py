"""Guards: notice that a training goes wrong, and act: warn, roll back and train more gently, stop with the diagnosis.

Detectors are pure functions of what was observed so far; the ladder, the log and the roll-back stand around them.
"""

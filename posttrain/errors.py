"""Every error that Posttrain raises on purpose, as one tree.

    PosttrainError
    ├── UserError              the user can fix it: one line, exit code 2, never retried
    │   ├── SpecError          the YAML spec
    │   ├── DataError          a data file or its rows
    │   ├── ModelError         a model id or folder
    │   └── WorkspaceError     where results are written
    ├── TrainingDiverged       the loss is not finite: never retried, the last good checkpoint is kept
    │   └── GuardTripped       a guard found that training goes wrong: taken back and eased, in the end given up
    └── TransientError         retried, resuming from the newest checkpoint
        ├── OutOfMemory        retried at half the micro-batch and twice the accumulation
        └── StageCrashed       the stage's process was killed or lost its device

A user error's text names file, row or field, what was found, what was expected and how to fix it, in one line.
"""

from __future__ import annotations


class PosttrainError(Exception):
    """Root of the tree."""


class UserError(PosttrainError):
    """Something that only the user can put right; retrying cannot help."""


class SpecError(UserError):
    """The spec is wrong; the text lists every mistake, one a line."""


class DataError(UserError):
    """A data file cannot be read, or too few of its rows are usable."""


class ModelError(UserError):
    """A model cannot be loaded as it stands."""


class WorkspaceError(UserError):
    """Results cannot be written where the spec says."""


class TrainingDiverged(PosttrainError):
    """The loss stopped being a finite number."""


class GuardTripped(TrainingDiverged):
    """A guard found that training goes wrong; the text is its diagnosis."""


class TransientError(PosttrainError):
    """Worth another try from the newest checkpoint."""


class OutOfMemory(TransientError):
    """The device or the machine had too little memory for the micro-batch."""


class StageCrashed(TransientError):
    """A stage's process ended without a result and without saying why."""

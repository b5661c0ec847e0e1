"""Data: from files to rows, from rows to valid rows, from valid rows to the rows worth training on.

Knows nothing of models. Three entrances: `look.preflight` (is the data there and readable?), `validate.validate`
and `curate.curate` (the two stages). Nothing heavy is imported here.
"""

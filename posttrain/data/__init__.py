"""Data: from files to rows, from rows to valid rows, from valid rows to the rows worth training on.

Knows nothing of models. Three entrances: `look.preflight` (is the data there and readable?), `validate.validate`
and `curate.curate` (the two stages). Nothing heavy is imported here.

| package | one idea |
| --- | --- |
| `files`, `formats` | bytes to lines, lines to rows of a known shape |
| `rules`, `validate` | what suites ask of rows, and the stage that asks it |
| `steps`, `curate` | the steps of curation, and the stage that runs them |
| `synthetic` | rows that are made rather than found |
| `text`, `embedding` | what can be asked of a text; texts as vectors |
| `account` | what became of each row, and what people say of it |
"""

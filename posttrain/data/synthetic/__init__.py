"""Rows that are made rather than found: by a teacher, by choosing the best of several, by telling rows in other ways.

| module | makes or judges |
| --- | --- |
| `distill` | prompts → a teacher's completions, chosen and spread out: the stage before validation |
| `teacher`, `endpoint`, `local`, `cache`, `budget`, `pace` | calls to a model: cached, resumed, capped |
| `best_of` | the best of several completions of one prompt, by a reward function |
| `augment` | training rows told again: with worked examples, step by step, under other instructions |
| `spot_check` | the sample of synthetic rows that a person looks at, and what follows from it |

Made rows say so: `origin` is "synthetic" (a model wrote it) or "augmented" (a known row, told in another way), and
`parent` is the id of the row that they were made from. Nothing here reads or changes evaluation splits.
"""

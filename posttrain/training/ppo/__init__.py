"""PPO: a policy learns from rewards of its own answers, held near the model that it was (arXiv 1707.06347, 2203.02155).

| module | idea |
| --- | --- |
| `loss` | the formulas: tensors in, tensors out |
| `kl` | the coefficient of the KL penalty: a schedule, a constant, or Ziegler's controller |
| `actor` | policy, critic and reference on one copy of the base |
| `rollout` | answers sampled from the policy, with all that the update reads |
| `health` | what is logged of an update, and who looks at it |
| `trainer` | the loop, its checkpoints, and resuming from them |
"""

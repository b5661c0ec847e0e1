"""Muon's steps, checked against what they are meant to be."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from posttrain.artifacts import ModelRef
from posttrain.models.load import load_model
from posttrain.training import muon


@pytest.mark.parametrize("shape", [(24, 64), (64, 24), (32, 32)])
def test_every_direction_of_a_matrix_gets_a_step_of_like_size(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, sizes, right = torch.linalg.svd(matrix, full_matrices=False)

    near = muon.orthogonal(matrix, steps=10)

    assert near.shape == matrix.shape
    assert sizes.max() / sizes.min() > 2
    found = torch.diagonal(left.T @ near @ right.T)
    assert 0.6 < found.min() <= found.max() < 1.3
    assert torch.allclose(left @ torch.diag(found) @ right, near, atol=1e-4)


def test_a_step_is_as_long_as_the_rate_says() -> None:
    weight = torch.nn.Parameter(torch.zeros(32, 128))
    weight.grad = torch.randn(32, 128, generator=torch.Generator().manual_seed(1)) * 1e-6

    muon.Muon([weight], [], lr=0.01).step()

    # 0.2 root mean square an entry, whatever the gradient's size (arXiv 2502.16982).
    assert weight.detach().square().mean().sqrt().item() == pytest.approx(0.2 * 0.01, rel=0.25)


def test_what_is_no_inner_matrix_steps_as_adamw_does() -> None:
    generator = torch.Generator().manual_seed(2)
    mine, theirs = (torch.nn.Parameter(torch.ones(5, 3)) for _ in range(2))
    ours = muon.Muon([], [mine], lr=0.01 / muon.SHARE_OF_OTHERS)
    reference = torch.optim.AdamW([theirs], lr=0.01, betas=muon.BETAS, weight_decay=0.0)
    for _ in range(4):
        mine.grad = torch.randn(5, 3, generator=generator)
        theirs.grad = mine.grad.clone()
        ours.step()
        reference.step()

    assert torch.allclose(mine, theirs, atol=1e-6)


def test_embeddings_norms_and_a_tied_head_are_no_inner_matrices(base: ModelRef) -> None:
    model: Any = load_model(base)

    inner, others = muon.of(model, 1e-3, 0.1).param_groups

    names = {id(weight): name for name, weight in model.named_parameters()}
    assert {names[id(weight)].split(".")[-2] for weight in inner["params"]} == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    }
    assert len(inner["params"]) + len(others["params"]) == len(names)
    assert (inner["weight_decay"], others["weight_decay"]) == (0.1, 0.0)

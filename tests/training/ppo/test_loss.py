"""PPO's formulas against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from posttrain.training.ppo import loss
from posttrain.training.ppo.kl import AdaptiveKL, scheduled

TWO = torch.tensor([[True, True, True], [True, False, False]])  # three tokens, and one


def tensor(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_masked_tokens_do_not_count() -> None:
    values = tensor([1, 2, 3], [6, 100, math.nan])

    assert loss.masked_mean(values, TWO).item() == 3  # (1 + 2 + 3 + 6) / 4
    assert loss.masked_variance(values, TWO).item() == pytest.approx(14 / 3)  # (4 + 1 + 0 + 9) / 3
    assert loss.masked_mean(values, torch.zeros_like(TWO)).item() == 0


def test_parts_of_a_mini_batch_add_up_to_its_mean() -> None:
    values = tensor([1, 2, 3], [6, 0, 0])
    parts = [loss.masked_mean(values[row : row + 1], TWO[row : row + 1], 4) for row in (0, 1)]

    assert sum(parts) == loss.masked_mean(values, TWO)


def test_whitening_sets_variance_and_mean() -> None:
    values = tensor([1, 2, 3], [6, 100, 100])
    spread = math.sqrt(14 / 3)

    white = loss.whiten(values, TWO)
    scaled = loss.whiten(values, TWO, shift_mean=False)

    assert white.tolist()[0] == pytest.approx([-2 / spread, -1 / spread, 0], abs=1e-6)
    assert white.tolist()[1] == pytest.approx([3 / spread, 0, 0])
    # the mean 3 is put back: not values / spread, but the same differences around it
    assert scaled.tolist()[1] == pytest.approx([3 / spread + 3, 0, 0])


def test_the_two_estimators_of_kl() -> None:
    # π(a) = 0.5, π_ref(a) = 0.25: log 2; r = ½: ½ - 1 + log 2
    policy, reference = tensor([math.log(0.5)]), tensor([math.log(0.25)])

    assert loss.k1(policy, reference).item() == pytest.approx(math.log(2))
    assert loss.k3(policy, reference).item() == pytest.approx(math.log(2) - 0.5)
    assert loss.k3(policy, policy).item() == 0


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.lists(st.floats(-5, 5), min_size=2, max_size=6))
@settings(deadline=None, max_examples=50)
def test_both_estimators_are_unbiased_and_k3_is_never_negative(ours: list[float], theirs: list[float]) -> None:
    size = min(len(ours), len(theirs))
    policy = torch.log_softmax(torch.tensor(ours[:size], dtype=torch.float64), 0)
    reference = torch.log_softmax(torch.tensor(theirs[:size], dtype=torch.float64), 0)
    divergence = (policy.exp() * (policy - reference)).sum().item()

    for estimator in (loss.k1, loss.k3):
        mean = (policy.exp() * estimator(policy, reference)).sum().item()
        assert mean == pytest.approx(divergence, abs=1e-9)
    assert (loss.k3(policy, reference) >= 0).all()


def test_the_score_stands_on_the_last_token() -> None:
    kl = tensor([1, 2, 4], [3, 9, 9])

    rewards = loss.token_rewards(torch.tensor([10.0, 20.0], dtype=torch.float64), kl, TWO, 0.1)

    # row 0: -0.1, -0.2, -0.4 + 10; row 1: -0.3 + 20 on its only token
    assert rewards.tolist() == [pytest.approx([-0.1, -0.2, 9.6]), pytest.approx([19.7, 0, 0])]
    nothing = loss.token_rewards(torch.tensor([5.0], dtype=torch.float64), kl[:1], torch.zeros_like(TWO[:1]), 0.1)
    assert nothing.tolist() == [[0, 0, 0]]


def test_advantages_by_hand() -> None:
    """γ = 0.5, λ = 0.5, so γλ = 0.25.

    δ₂ = 4 - 3 = 1;  δ₁ = 0 + 0.5·3 - 2 = -0.5;  δ₀ = 1 + 0.5·2 - 1 = 1
    A₂ = 1;  A₁ = -0.5 + 0.25·1 = -0.25;  A₀ = 1 + 0.25·(-0.25) = 0.9375;  R = A + V
    The other row ends at once: A = 7 - 2 = 5, whatever stands after it.
    """
    found, returns = loss.advantages(tensor([1, 0, 4], [7, 50, 50]), tensor([1, 2, 3], [2, 60, 60]), TWO, 0.5, 0.5)

    assert found.tolist() == [[0.9375, -0.25, 1], [5, 0, 0]]
    assert returns.tolist() == [[1.9375, 1.75, 4], [7, 0, 0]]


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=1, max_size=8), st.floats(0, 1))
@settings(deadline=None, max_examples=50)
def test_lambda_one_is_the_return_less_the_value_and_zero_the_one_step_error(
    pairs: list[tuple[float, float]], gamma: float
) -> None:
    rewards, values = tensor([r for r, _ in pairs]), tensor([v for _, v in pairs])
    mask = torch.ones_like(rewards, dtype=torch.bool)
    whole, returns = loss.advantages(rewards, values, mask, gamma, 1.0)
    step, _ = loss.advantages(rewards, values, mask, gamma, 0.0)

    for t, (reward, value) in enumerate(pairs):
        later = sum(gamma**k * r for k, (r, _) in enumerate(pairs[t:]))
        assert returns[0, t].item() == pytest.approx(later, abs=1e-9)
        assert whole[0, t].item() == pytest.approx(later - value, abs=1e-9)
        after = pairs[t + 1][1] if t + 1 < len(pairs) else 0.0
        assert step[0, t].item() == pytest.approx(reward + gamma * after - value, abs=1e-9)


def test_policy_loss_by_hand() -> None:
    """Ratios 1.5, 0.5, 1.1 and 1.5; advantages 2, -1, 1 and -2; ε = 0.2.

    1.5·2 → held at 1.2·2 = 2.4;  0.5·(-1) → min(-0.5, -0.8) = -0.8;  1.1 stays;  1.5·(-2) = -3 < -2.4, so -3 stays
    loss = -(2.4 - 0.8 + 1.1 - 3) / 4 = 0.075; two of four tokens are clipped
    """
    new = tensor([1.5, 0.5, 1.1], [1.5, 1, 1]).log()
    advantage = tensor([2, -1, 1], [-2, 9, 9])

    found = loss.policy_loss(new, torch.zeros_like(new), advantage, TWO, 0.2)

    assert found.loss.item() == pytest.approx(0.075)
    assert found.clipped.item() == 0.5
    squares = [math.log(ratio) ** 2 for ratio in (1.5, 0.5, 1.1, 1.5)]
    assert found.approx_kl.item() == pytest.approx(sum(squares) / 8)


def test_a_clipped_token_has_no_gradient() -> None:
    new = tensor([1.5, 1.1, 1.5]).log().requires_grad_()
    advantage = tensor([1, 1, -1])

    mask = torch.ones_like(advantage, dtype=torch.bool)
    loss.policy_loss(new, torch.zeros_like(new), advantage, mask, 0.2).loss.backward()

    # d(-ρA/3)/d log ρ = -ρA/3, and nothing where the clip holds
    assert new.grad is not None
    assert new.grad.tolist() == [pytest.approx([0, -1.1 / 3, 0.5])]


def test_at_the_policy_that_sampled_the_gradient_is_that_of_reinforce() -> None:
    logits = torch.randn(1, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    log_probs = logits.log_softmax(-1)[..., 2]
    advantage = tensor([1, -2, 0.5])
    mask = torch.ones(1, 3, dtype=torch.bool)

    ppo = torch.autograd.grad(
        loss.policy_loss(log_probs, log_probs.detach(), advantage, mask, 0.2).loss, logits, retain_graph=True
    )[0]
    reinforce = torch.autograd.grad(-(advantage * log_probs).mean(), logits)[0]
    assert torch.allclose(ppo, reinforce)


def test_value_loss_by_hand() -> None:
    """Old values 0, ε = 0.2, returns 1, 1, -1 and 2; values 0.5, 0.1, 0.5 and 2.

    0.5 → held at 0.2: (0.2 - 1)² = 0.64 > 0.25;  0.1 is inside: 0.81;  0.5 against -1: 2.25 > 1.44, no clip;
    2 → held at 0.2: 3.24 > 0.  ½ (0.64 + 0.81 + 2.25 + 3.24) / 4 = 0.8675; two of four tokens are clipped
    """
    values, returns = tensor([0.5, 0.1, 0.5], [2, 7, 7]), tensor([1, 1, -1], [2, 0, 0])

    found = loss.value_loss(values, torch.zeros_like(values), returns, TWO, 0.2)

    assert found.loss.item() == pytest.approx(0.8675)
    assert found.clipped.item() == 0.5


def test_entropy_of_a_fair_and_of_a_sure_choice() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [5.0, -math.inf, -math.inf, -math.inf]])

    assert loss.entropy(logits).tolist() == pytest.approx([math.log(4), 0])


def test_explained_variance() -> None:
    returns = tensor([1, 2, 3], [4, 0, 0])

    assert loss.explained_variance(returns, returns, TWO).item() == 1
    assert loss.explained_variance(torch.full_like(returns, 9), returns, TWO).item() == pytest.approx(0)
    assert loss.explained_variance(-returns, returns, TWO).item() == pytest.approx(-3)  # Var(2R) = 4 Var(R)
    assert loss.explained_variance(returns, torch.ones_like(returns), TWO).item() == 0


S3 = ((0.2, 0.08), (0.6, 0.05), (0.2, 0.06))


@pytest.mark.parametrize("steps", [1, 3, 10, 100])
def test_the_schedule_covers_every_update(steps: int) -> None:
    found = [scheduled(S3, step, steps) for step in range(steps)]

    assert [found.count(value) for value in (0.08, 0.05, 0.06)] == {
        1: [0, 1, 0], 3: [1, 1, 1], 10: [2, 6, 2], 100: [20, 60, 20]
    }[steps]  # fmt: skip


def test_the_adaptive_controller_by_hand() -> None:
    controller = AdaptiveKL(0.1, target=6.0, horizon=10_000)

    controller.update(12.0, 500)  # 12 / 6 - 1 = 1, clipped to 0.2: × (1 + 0.2 · 0.05)
    assert controller.coefficient == pytest.approx(0.101)
    controller.update(5.4, 1000)  # -0.1: × (1 - 0.1 · 0.1)
    assert controller.coefficient == pytest.approx(0.101 * 0.99)

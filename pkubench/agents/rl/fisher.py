"""The KL divergence and products with its Hessian, the Fisher matrix, which is never formed.

``F = E_s[J' H J]`` is the Hessian of the mean KL(old||new) at new = old. Here a product is the
derivative of ``(dKL/d parameters)' v``, for any network; ``nn/fast/fisher.py`` has a hand-written
version for MLPs at half the cost.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pkubench.agents.nn.actor import Actor
from pkubench.agents.nn.distributions import Categorical, Distribution, MultiCategorical
from pkubench.agents.rl.samples import ActorSamples
from pkubench.agents.rl.update_rules.trust_region import DiscreteKL


def mean_kl(old: Distribution, new: Distribution, kind: DiscreteKL = "true") -> Tensor:
    """Return the mean over states of KL(old||new), summed over action dimensions.

    With ``kind="official"`` the divergence of categorical distributions is instead
    ``sum_a [exp(d_a) - 1 - d_a]``, ``d = log new - log old`` (HARL ``kl_approx``): the same terms
    without the weights ``old_a`` that would make their sum the KL.
    """
    if isinstance(old, MultiCategorical) and isinstance(new, MultiCategorical):
        pairs = zip(old.parts, new.parts, strict=True)
        return torch.stack([mean_kl(one, other, kind) for one, other in pairs]).sum()
    if kind == "official" and isinstance(old, Categorical) and isinstance(new, Categorical):
        # an illegal action's -1e10 has no probability, only a rounded logarithm
        d = (new.log_p - old.log_p).masked_fill(old.log_p < -1e9, 0.0)
        return (d.exp() - 1.0 - d).sum(-1).mean()
    assert type(old) is type(new)
    return old.kl(new).mean()  # type: ignore[arg-type]


class AutogradFisher:
    """``v -> (F + damping I) v`` for flat vectors in the order of ``actor.parameters()``."""

    def __init__(
        self,
        actor: Actor,
        samples: ActorSamples,
        *,
        damping: float,
        discrete_kl: DiscreteKL = "true",
    ) -> None:
        """Store the gradient of the KL and its graph.

        Args:
            actor: the policy of F, at its present parameters.
            samples: the states that F averages over.
            damping: added to the diagonal; keeps the system well posed where F is singular.
            discrete_kl: the divergence (see ``mean_kl``).
        """
        self.damping = damping
        self.parameters = list(actor.parameters())
        pi = samples.policy(actor)
        parts = torch.autograd.grad(
            mean_kl(pi.detach(), pi, discrete_kl),
            self.parameters,
            create_graph=True,
            materialize_grads=True,
        )
        self.gradient = torch.cat([part.reshape(-1) for part in parts])

    def __call__(self, vector: Tensor) -> Tensor:
        """Return (F + damping I) vector."""
        parts = torch.autograd.grad(
            self.gradient @ vector, self.parameters, retain_graph=True, materialize_grads=True
        )
        product = torch.cat([part.reshape(-1) for part in parts])
        return product.add_(vector, alpha=self.damping)

"""Hand-written products with the Fisher matrix of an MLP actor.

``F = E_s[J' H J]`` is the Hessian of the mean KL(old||new) at new = old: ``J`` is the Jacobian of
the network's outputs in the parameters, ``H`` is the Hessian of the KL in the outputs. One product
costs a forward-mode and a reverse-mode pass over stored activations, where differentiating a KL
twice costs four passes and a graph.

A LayerNorm's scale and shift are folded into the next linear map (``W (g * n + b) + c`` is
``(W g) n + (W b + c)``), so that only linear maps, elementwise slopes and parameter-free
normalisations are left; the Jacobian of the last is symmetric, so one routine serves both passes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkubench.agents.nn.actor import Actor
from pkubench.agents.nn.distributions import Categorical, DiagonalGaussian
from pkubench.agents.nn.networks import MLP
from pkubench.agents.rl.update_rules.trust_region import DiscreteKL


class FastFisher:
    """``v -> (F + damping I) v`` for flat vectors in the order of ``actor.parameters()``."""

    def __init__(
        self,
        actor: Actor,
        observations: Tensor,
        mask: Tensor | None,
        *,
        damping: float,
        discrete_kl: DiscreteKL = "true",
    ) -> None:
        """Run the actor once and store what the products need.

        Args:
            actor: the policy of F, at its present parameters.
            observations: (B, inputs), the states that F averages over.
            mask: (B, n) of legal actions, or None.
            damping: added to the diagonal; keeps the system well posed where F is singular.
            discrete_kl: the divergence (see ``rl.fisher.mean_kl``).
        """
        self.damping = damping
        self.kind = discrete_kl
        self.mask = mask
        self.sizes = [p.numel() for p in actor.parameters()]
        self.names = [name for name, _ in actor.named_parameters()]
        self.values = {name: p.detach() for name, p in actor.named_parameters()}
        net = actor.net
        assert isinstance(net, MLP)
        self.has_norms = net.norms is not None
        self.layers = [f"net.linears.{k}" for k in range(len(net.linears))] + ["net.head"]
        self.weights: list[Tensor] = []
        """Weight of each linear map with the scale before it folded in."""
        self.inputs: list[Tensor] = []
        """(B, units), input of each folded linear map."""
        self.slopes: list[Tensor] = []
        """(B, units), derivative of each activation."""
        self.norms: list[tuple[Tensor, Tensor]] = []
        """(input, output) of each normalisation after an activation, with its graph."""
        is_relu = net.spec.activation == "relu"
        with torch.no_grad():
            x = _normalise(observations) if self.has_norms else observations
            for k, layer in enumerate(self.layers):
                weight, bias = self.values[f"{layer}.weight"], self.values[f"{layer}.bias"]
                if self.has_norms:
                    bias = bias + weight @ self.values[f"net.norms.{k}.bias"]
                    weight = weight * self.values[f"net.norms.{k}.weight"]
                self.weights.append(weight)
                self.inputs.append(x)
                x = functional.linear(x, weight, bias)
                if layer == "net.head":
                    break
                x = x.relu() if is_relu else x.tanh()
                self.slopes.append((x > 0).to(x.dtype) if is_relu else 1.0 - x * x)
                if self.has_norms:
                    with torch.enable_grad():
                        source = x.requires_grad_()
                        self.norms.append((source, _normalise(source)))
                    x = self.norms[-1][1].detach()
            self.pi = (
                Categorical.from_logits(x, mask)
                if actor.discrete
                else DiagonalGaussian(x, actor.std().detach())
            )
        self.std_curvature = None if actor.discrete else _std_curvature(actor)

    def __call__(self, vector: Tensor) -> Tensor:
        """Return (F + damping I) vector."""
        parts = torch.split(vector, self.sizes)
        tangents = {
            name: part.view_as(self.values[name])
            for name, part in zip(self.names, parts, strict=True)
        }
        with torch.no_grad():
            cotangent = self._curvature(self._forward(tangents))
            gradients = self._backward(cotangent / len(cotangent))
            if self.std_curvature is not None:
                gradients["log_std"] = self.std_curvature * tangents["log_std"]
            product = torch.cat([gradients[name].reshape(-1) for name in self.names])
            return product.add_(vector, alpha=self.damping)

    def _forward(self, tangents: dict[str, Tensor]) -> Tensor:
        """Return the change of the outputs, (B, outputs), for a change of the parameters."""
        moved: Tensor | None = None
        for k, layer in enumerate(self.layers):
            weight, bias = tangents[f"{layer}.weight"], tangents[f"{layer}.bias"]
            if self.has_norms:
                scale, shift = (f"net.norms.{k}.{kind}" for kind in ("weight", "bias"))
                plain = self.values[f"{layer}.weight"]
                bias = bias + weight @ self.values[shift] + plain @ tangents[shift]
                weight = weight * self.values[scale] + plain * tangents[scale]
            change = torch.addmm(bias, self.inputs[k], weight.T)
            if moved is not None:
                change.addmm_(moved, self.weights[k].T)
            if k < len(self.slopes):
                moved = self._through_norm(change.mul_(self.slopes[k]), k)
        return change

    def _backward(self, cotangent: Tensor) -> dict[str, Tensor]:
        """Return J' times the cotangent (B, outputs), by parameter name."""
        gradients: dict[str, Tensor] = {}
        for k in reversed(range(len(self.layers))):
            layer = self.layers[k]
            weight, bias = cotangent.T @ self.inputs[k], cotangent.sum(0)
            gradients[f"{layer}.bias"] = bias
            if self.has_norms:
                scale, shift = (f"net.norms.{k}.{kind}" for kind in ("weight", "bias"))
                plain = self.values[f"{layer}.weight"]
                gradients[scale] = (weight * plain).sum(0)
                gradients[shift] = bias @ plain
                weight = weight * self.values[scale] + torch.outer(bias, self.values[shift])
            gradients[f"{layer}.weight"] = weight
            if k:
                cotangent = self._through_norm(cotangent @ self.weights[k], k - 1)
                cotangent = cotangent * self.slopes[k - 1]
        return gradients

    def _through_norm(self, change: Tensor, k: int) -> Tensor:
        """Apply the symmetric Jacobian of the normalisation after the k-th activation."""
        if not self.norms:
            return change
        source, normed = self.norms[k]
        (moved,) = torch.autograd.grad(normed, source, change, retain_graph=True)
        return moved

    def _curvature(self, change: Tensor) -> Tensor:
        """Return H times a change of the outputs, (B, outputs)."""
        if isinstance(self.pi, DiagonalGaussian):
            return change / self.pi.std**2
        p = self.pi.log_p.exp()
        if self.kind == "true":
            return p * (change - (p * change).sum(-1, keepdim=True))
        legal = 1.0 if self.mask is None else (self.mask != 0).to(p.dtype)
        # the Jacobian of log-softmax, I - 1 p', forward and transposed, with no weight between
        change = (change - (p * change).sum(-1, keepdim=True)) * legal
        return (change - p * change.sum(-1, keepdim=True)) * legal


def _normalise(x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:])


def _std_curvature(actor: Actor) -> Tensor:
    """Return the Hessian's diagonal in ``log_std``: 2 (d log std / d log_std)^2, (d,)."""
    with torch.enable_grad():
        log_std: nn.Parameter = actor.log_std
        (slope,) = torch.autograd.grad(actor.std().log().sum(), log_std)
    return 2.0 * slope**2

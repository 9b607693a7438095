"""Sharpness-aware minimisation: the gradient of a step is taken at weights nearby, where the loss is higher."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench.method.contract import Batch, Clock, LossOf, Method, Stage
from ltbench.method.functional import effective_number_weights, ldam_margins, log_prior, subtract_margin
from ltbench.method.hyperparameters import Choice, Range
from ltbench.models.classifiers import CLASSIFIERS
from ltbench.models.network import Network

SCALE, MAX_MARGIN, BETA, DEFER_AT = 30.0, 0.5, 0.9999, 0.8  # of LDAM and DRW, as Cao et al., NeurIPS 2019
CORRECTS = {"ce": "", "logit-adjustment": "log prior in the logits"}
"""How a loss without class weights corrects the class prior."""


@contextlib.contextmanager
def climbed(net: nn.Module, rho: float) -> Iterator[None]:
    """Inside, the weights are w + rho * g / |g|, where g is the gradient of all parameters, and gradients are empty.

    Foret et al., ICLR 2021 (arXiv 2010.01412), equation 2. Afterwards the weights are w again, bit for bit.
    """
    moved: list[Tensor] = [parameter for parameter in net.parameters() if parameter.grad is not None]
    gradients = [parameter.grad for parameter in moved if parameter.grad is not None]
    before = [parameter.detach().clone() for parameter in moved]
    with torch.no_grad():
        length = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        torch._foreach_add_(moved, torch._foreach_mul(gradients, rho / (length + 1e-12)))
    net.zero_grad(set_to_none=True)
    yield
    with torch.no_grad():
        torch._foreach_copy_(moved, before)


class SharpnessAware(Method):
    """Train with the gradient at the highest loss near the weights, on a loss of the field.

    Foret et al., ICLR 2021 (arXiv 2010.01412); for long tails Rangwani et al., NeurIPS 2022 (arXiv 2212.13827). A
    subclass may define ``gradient`` with other passes.

    Hyper-parameters:
        base: the loss: cross-entropy, the same with deferred re-weighting (drw), LDAM with it, or logit adjustment.
        rho: distance from the weights at which the gradient is taken.
        tau: factor of the log prior of logit adjustment.
    """

    base = Choice("ldam+drw", ("ldam+drw", "ce+drw", "ce", "logit-adjustment"), searched=False)
    rho = Range(0.5, 0.05, 1.0, log=True)
    tau = Range(1.0, 0.5, 2.0)
    corrects = "class weights in the loss"
    cost = 2.0

    def __init__(self, **hyperparameters: Any) -> None:
        """Set the hyper-parameters; the base decides how the loss corrects the class prior."""
        super().__init__(**hyperparameters)
        self.corrects = CORRECTS.get(self.base, "class weights in the loss")  # type: ignore[misc]

    def stages(self) -> Sequence[Stage]:
        """Return one stage, whose gradient takes several passes."""
        return (Stage(gradient=self.gradient),)

    def gradient(self, net: Network, loss_of: LossOf) -> Tensor:
        """Leave the gradient at the climbed weights in the parameters. Both passes update batch-norm statistics."""
        loss = loss_of()
        loss.backward()
        with climbed(net, self.rho):
            loss_of().backward()
        return loss

    def gradient_of_parts(self, net: Network, loss_of: LossOf, sharp: Tensor, plain: Tensor) -> Tensor:
        """Leave the sum of two gradients: of one part of the loss at weights climbed for it, of another at the weights.

        Args:
            net, loss_of: see ``Stage.gradient``.
            sharp, plain: [C], the weight that each class has in the two parts.

        Returns:
            The sum of both parts at the weights, 0-dim.
        """

        def parts(net: Network, batch: Batch, clock: Clock) -> Tensor:
            weights = torch.stack([sharp, plain])[:, batch.labels]
            return (weights * self.each(net, batch, clock)).sum(1)

        losses = loss_of(parts)
        trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
        kept = torch.autograd.grad(losses[1], trained, retain_graph=True)
        losses[0].backward()
        with climbed(net, self.rho):
            loss_of(parts)[0].backward()
        gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
        torch._foreach_add_(gradients, list(kept))
        return losses.sum()

    def build_head(self, name: str, width: int, classes: int) -> nn.Module:
        """Build a cosine classifier for LDAM, and a linear one for the others."""
        return CLASSIFIERS["cosine" if self.base == "ldam+drw" else "linear"](width, classes)

    def setup(self, counts: Tensor) -> None:
        """Prepare margins, shifts of the logits and class weights of the base."""
        zeros = torch.zeros_like(counts)
        margins = ldam_margins(counts, MAX_MARGIN) if self.base == "ldam+drw" else zeros
        shift = self.tau * log_prior(counts) if self.base == "logit-adjustment" else zeros
        late = effective_number_weights(counts, BETA) if self.base.endswith("drw") else zeros + 1
        self.margins, self.shift, self.late = margins.float(), shift.float(), late.float()
        self.scale = SCALE if self.base == "ldam+drw" else 1.0

    def each(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        """Compute the loss of every image, [B], whose sum is ``loss``."""
        logits = self.scale * subtract_margin(net(batch.images).float(), batch.labels, self.margins) + self.shift
        weights = torch.where(clock.progress >= DEFER_AT, self.late, torch.ones_like(self.late))[batch.labels]
        return F.cross_entropy(logits, batch.labels, reduction="none") * weights / weights.sum()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        """Compute the weighted mean over the batch."""
        return self.each(net, batch, clock).sum()

    def predict(self, net: Network, images: Tensor) -> Tensor:
        """Compute logits; those of LDAM are scaled cosines."""
        return self.scale * super().predict(net, images)

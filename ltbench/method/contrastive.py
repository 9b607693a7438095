"""Contrastive formulas that several methods share, as pure functions."""

import torch
from torch import Tensor


def parametric_contrast(
    logits: Tensor, points: Tensor, labels: Tensor, temperature: float, alpha: float, beta: float, smoothing: float = 0
) -> Tensor:
    """Compute the parametric contrastive loss, the mean over the first B points, 0-dim.

    Cui et al., ICCV 2021 (arXiv 2107.12028): one softmax over the C class centres, whose logits are
    ``logits``, and the other N - 1 points. Positives are the centre of the class with weight ``beta`` and the points of
    the class with weight ``alpha``; weights are divided by their sum.

    Args:
        logits: [B, C], with the log prior.
        points: [N, D], of length 1; the first B are those of ``logits``.
        labels: [N].
        temperature: of similarities between points.
        alpha, beta: see above.
        smoothing: of the positives among the centres, as in GPaCo.
    """
    size, classes = logits.shape
    itself = torch.eye(size, len(points), dtype=torch.bool, device=points.device)
    similarity = (points[:size] @ points.T / temperature).masked_fill(itself, -torch.inf)
    log_p = torch.log_softmax(torch.cat([logits, similarity], dim=1), dim=1)
    centre = (labels[:size, None] == torch.arange(classes, device=labels.device)).to(log_p.dtype)
    centre = smoothing / (classes - 1) * (1 - centre) + (1 - smoothing) * centre
    alike = ((labels[:size, None] == labels) & ~itself).to(log_p.dtype)
    weights = torch.cat([beta * centre, alpha * alike], dim=1)
    finite = torch.cat([log_p[:, :classes], log_p[:, classes:].masked_fill(itself, 0)], dim=1)
    return -((weights * finite).sum(1) / weights.sum(1)).mean()

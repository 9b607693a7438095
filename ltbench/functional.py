"""Formulas that several methods share, as pure functions."""

import torch
from torch import Tensor


def effective_number_weights(counts: Tensor, beta: float) -> Tensor:
    """Class weights (1 - beta) / (1 - beta ** n_j), scaled to sum to C.

    Cui et al., CVPR 2019 (arXiv 1901.05555), equation 2; the scale is that of Cao et al.'s code. Computed with expm1
    and log1p, so that it tends to 1 / n_j as beta tends to 1.

    Args:
        counts: [C], float64, all at least 1.
        beta: in [0, 1).

    Returns:
        [C], of the type of ``counts``.
    """
    log_beta = torch.log1p(counts.new_tensor(beta - 1.0))
    weights = torch.reciprocal(-torch.expm1(counts * log_beta))
    return weights * len(counts) / weights.sum()

"""Auxiliary learning with all three tasks: random sampling, rotation and class-wise re-weighting.

Zhang, Liu, Wang, Shen: To Balance or Not to Balance, 2019, arXiv 1912.04486, and its journal version (Neurocomputing
449, 2021): CE(primary; balanced) + sum of weight_t * task_t, the tasks being those of aux_random, aux_rotation and
aux_reweighted. A weight of 0 removes a task.
Re-implemented from the abstract, hyper-parameters ours. Deviation: unknown. The rotation task has its own stream, so
that the other two tasks use upright images.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import AuxiliaryLearning, Batch, Network, Range, class_balanced, instance_balanced
from ltbench.method.functional import effective_number_weights, quarter_turned


class AuxCombined(AuxiliaryLearning):
    """Class-balanced training, with random-sampling, rotation and re-weighted auxiliary tasks for the features."""

    streams = {"primary": class_balanced, "auxiliary": instance_balanced, "turned": instance_balanced}
    needs_pixels = "rotates images"
    heads = ("primary", "auxiliary", "reweighted", "rotation")
    random_weight = Range(1.0, 0.1, 3.0, log=True)
    rotation_weight = Range(1.0, 0.05, 2.0, log=True)
    reweighted_weight = Range(1.0, 0.1, 2.0, log=True)
    beta = Range(0.9999, 0.9, 0.9999)
    cost = 3.0

    def build_head(self, name: str, width: int, classes: int) -> nn.Module:
        return super().build_head(name, width, 4 if name == "rotation" else classes)

    def setup(self, counts: Tensor) -> None:
        self.weights = effective_number_weights(counts, self.beta).float()

    def pictures(self, stream: str, images: Tensor) -> Tensor:
        return quarter_turned(images) if stream == "turned" else images

    def auxiliary_loss(self, net: Network, features: Mapping[str, Tensor], batch: Batch) -> Tensor:
        labels = batch.part("auxiliary", batch.labels)
        turns = torch.arange(len(labels), device=labels.device) % 4
        random = F.cross_entropy(net.heads["auxiliary"](features["auxiliary"]), labels)
        rotation = F.cross_entropy(net.heads["rotation"](features["turned"]), turns)
        reweighted = F.cross_entropy(net.heads["reweighted"](features["auxiliary"]), labels, self.weights)
        return self.random_weight * random + self.rotation_weight * rotation + self.reweighted_weight * reweighted

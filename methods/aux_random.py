"""Auxiliary learning with a random-sampling task.

Zhang, Liu, Wang, Shen: To Balance or Not to Balance: A Simple-yet-Effective Approach for Learning with Long-Tailed
Distributions, 2019, arXiv 1912.04486. A class-balanced stream trains the primary classifier and the features; a second
classifier on an ordinarily shuffled stream trains the features too: CE(primary; balanced) + weight * CE(auxiliary;
random). The primary classifier predicts.
Re-implemented from the abstract, hyper-parameters ours. Deviation: unknown. Both streams pass one backbone together.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench import Batch, Clock, Method, Network, Range, class_balanced, instance_balanced


class AuxRandom(Method):
    """A class-balanced task trains classifier and features; a random-sampling task helps the features."""

    streams = {"primary": class_balanced, "auxiliary": instance_balanced}
    heads = ("primary", "auxiliary")
    weight = Range(1.0, 0.1, 3.0, log=True)
    cost = 2.0

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        features = net.features(batch.images)
        loss = {
            stream: F.cross_entropy(net.heads[stream](batch.part(stream, features)), batch.part(stream, batch.labels))
            for stream in batch.streams
        }
        return loss["primary"] + self.weight * loss["auxiliary"]

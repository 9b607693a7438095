"""DiVE: distilling virtual examples.

He, Wu, Wei: Distilling Virtual Examples for Long-tailed Recognition, ICCV 2021, arXiv 2103.15042: a new network learns
from a teacher that was trained with balanced softmax. The loss is alpha T ** 2 KL(t ** power / sum || s) + (1 - alpha)
balanced softmax, where t and s are softmaxes of teacher and student at temperature T; the power makes the teacher's
distribution over classes flatter.
Deviation: none from the code of Bag of Tricks (Zhang et al., AAAI 2021), whose accuracies are given.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import Batch, Clock, Method, Network, Published, Range, Stage
from ltbench.method.functional import log_prior
from ltbench.method.memory import slow_copy


def distillation(student: Tensor, teacher: Tensor, temperature: float, power: float) -> Tensor:
    """T ** 2 KL(teacher || student), the mean over the batch. student, teacher: logits [B, C] -> 0-dim."""
    flat = F.log_softmax(power * F.log_softmax(teacher / temperature, dim=1), dim=1)
    student = F.log_softmax(student / temperature, dim=1)
    return temperature**2 * F.kl_div(student, flat, reduction="batchmean", log_target=True)


class Dive(Method):
    """Balanced softmax, and distillation from a network that was trained with balanced softmax."""

    after = "balanced_softmax"
    alpha = Range(0.5, 0.1, 0.9)
    temperature = Range(2.0, 1.0, 4.0)
    power = Range(0.5, 0.3, 1.0)
    corrects = "log prior in the logits"
    cost = 2.33  # the teacher's training, the student's, and the teacher's forward passes
    published = Published.table(
        source="BagofTricks-LT gallery",
        family="F1",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={
            "recipe.nesterov": True,
            "recipe.milestones": (120, 160),
            "alpha": 0.5,
            "temperature": 2.0,
            "power": 0.5,
        },
        accuracies={"cifar10": {100: 78.88, 50: 82.44}, "cifar100": {100: 45.52, 50: 50.83}},
    )

    def stages(self) -> Sequence[Stage]:
        return (Stage("student", new_network=True),)

    def build_memory(self, net: Network, counts: Tensor) -> nn.Module:
        return nn.ModuleDict({"teacher": slow_copy(net).eval()})

    def setup(self, counts: Tensor) -> None:
        self.log_prior = log_prior(counts).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        with torch.no_grad():
            teacher = net.memory.get_submodule("teacher")(batch.images).float()
        logits = net(batch.images).float()
        balanced = F.cross_entropy(logits + self.log_prior, batch.labels)
        learnt = distillation(logits, teacher, self.temperature, self.power)
        return self.alpha * learnt + (1 - self.alpha) * balanced

"""CUDA: curriculum of data augmentation.

Ahn, Ko, Yun: CUDA: Curriculum of Data Augmentation for Long-Tailed Recognition, ICLR 2023, arXiv 2302.05499: with
strength s, an image gets s random operations of magnitude s. Every class has a level, at first 0. Before every epoch it
is tested: for each strength s up to its level, ``tests`` * (s + 1) images of the class are augmented with s. If the
network recognises more than ``threshold`` of them for every s, the level rises by 1; otherwise it falls by 1 (0 to 10).
In training, an image is augmented with the level of its class with probability ``probability``.
Deviation: none from the 22 operations of the authors' code. Cross-entropy; the authors combine CUDA with other losses
too. A level L costs 5 (L + 1) (L + 2) forward passes of images of its class in every epoch: on digits 46 for each class
on average of 20 epochs and 76 of 60, on CIFAR-10 28 in the seventh epoch. So many tests of a class cost little where it
has many images: 46 are 0.52 of plain training on digits, 0.14 on CIFAR-100 and 0.01 on CIFAR-10 (imbalance 100).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ltbench import Augmented, Method, Network, Range, Stage, Trial, instance_balanced
from ltbench.method.samplers import MOST_STRENGTH


def trials(levels: Tensor, tests: int) -> tuple[Tensor, Tensor]:
    """List the class and the strength of each image of a test: [N], [N]. levels: [C] int64."""
    strengths = [torch.arange(level + 1) for level in levels.tolist()]
    times = torch.cat(strengths) * tests + tests
    classes = torch.arange(len(levels)).repeat_interleave(levels.cpu() + 1)
    return classes.repeat_interleave(times), torch.cat(strengths).repeat_interleave(times)


def next_levels(levels: Tensor, classes: Tensor, strengths: Tensor, right: Tensor, threshold: float) -> Tensor:
    """Raise the levels [C] of classes that pass every test, and lower the others. classes, strengths, right: [N]."""
    size = (len(levels), MOST_STRENGTH + 1)
    place = classes * size[1] + strengths
    asked = place.bincount(minlength=size[0] * size[1]).view(size)
    known = place[right].bincount(minlength=size[0] * size[1]).view(size)
    learned = ((known > threshold * asked) | (asked == 0)).all(1)
    return (levels + 2 * learned.long() - 1).clamp(0, MOST_STRENGTH)


class CudaAugmentation(Method):
    """Cross-entropy on images that are augmented as strongly as the network still recognises their class."""

    needs_pixels = "augments images"
    probability = Range(0.5, 0.2, 0.8)
    tests = Range(10, 5, 20)
    threshold = Range(0.6, 0.4, 0.8)
    cost = 1.14  # with 46 tests for each class of CIFAR-100 in an epoch

    def stages(self) -> Sequence[Stage]:
        return (Stage(streams={"main": Augmented(instance_balanced, graded=self.probability)}, strengths=self.test),)

    def build_memory(self, net: Network, counts: Tensor) -> nn.Module:
        memory = nn.Module()
        memory.register_buffer("levels", torch.zeros(len(counts), dtype=torch.int64))
        return memory

    def test(self, net: Network, trial: Trial) -> Tensor:
        """Test every class, change the levels and return them."""
        levels = net.memory.get_buffer("levels")
        classes, strengths = trials(levels, self.tests)
        right = trial(classes, strengths).cpu()
        levels.copy_(next_levels(levels.cpu(), classes, strengths, right, self.threshold))
        return levels

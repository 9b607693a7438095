"""GPaCo: generalised parametric contrastive learning.

Cui, Zhong, Tian, Liu, Yu, Jia: Generalized Parametric Contrastive Learning, TPAMI 2023, arXiv 2209.12400: `paco`
without momentum encoder. Both views pass through the network that is trained, and both are classified and contrasted;
the queue has points of the second view. As in the authors' code, a point comes from three layers without batch norm.
Deviation: as in `paco`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import Again, Augmented, Batch, Clock, Method, Network, Published, Range, instance_balanced
from ltbench.method.contrastive import parametric_contrast
from ltbench.method.functional import log_prior
from ltbench.method.memory import Queue


class Gpaco(Method):
    """Class centres, the points of two views and a queue in one softmax, without a momentum encoder."""

    streams = {
        "first": Augmented(instance_balanced, "autoaugment+cutout"),
        "second": Again("first", "randaugment"),
    }
    heads = ("main", "points")
    needs_pixels = "needs two views of each image"
    alpha = Range(0.01, 0.01, 0.2, log=True)
    beta = Range(1.0, 0.1, 2.0, log=True)
    temperature = Range(0.07, 0.05, 0.2, log=True)
    smoothing = Range(0.0, 0.0, 0.2)
    queue = Range(1024, 256, 8192, log=True)
    width = Range(32, 16, 128, log=True)
    corrects = "log prior in the logits"
    cost = 2.0
    published = Published.table(
        source="GPaCo",
        family="other",
        grade="A",
        backbone={"imagenet-lt": "resnext50_32x4d", "places-lt": "resnet152", "inaturalist2018": "resnet50"},
        settings={
            "recipe.batch_size": 128,
            "temperature": 0.2,
            "queue": 8192,
            "width": 128,
            "views": "SimAugment",
            "crops": "of the original files",
        },
        settings_of={
            "imagenet-lt": {
                "natural": {"alpha": 0.05, "recipe.epochs": 400, "recipe.lr": 0.06, "recipe.warmup_epochs": 10}
            },
            "places-lt": {
                "natural": {"alpha": 0.02, "recipe.lr": 0.02, "recipe.schedule": "cosine", "recipe.warmup_epochs": 5}
            },
            "inaturalist2018": {
                "natural": {"alpha": 0.05, "recipe.epochs": 400, "recipe.lr": 0.04, "recipe.warmup_epochs": 10}
            },
        },
        accuracies={
            "imagenet-lt": {"natural": 58.9},
            "places-lt": {"natural": 41.7},
            "inaturalist2018": {"natural": 75.4},
        },
    )

    def build_head(self, name: str, width: int, classes: int) -> nn.Module:
        if name == "main":
            return super().build_head(name, width, classes)
        hidden = (nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        return nn.Sequential(*hidden, nn.Linear(width, self.width))

    def build_memory(self, net: Network, counts: Tensor) -> nn.Module:
        return nn.ModuleDict({"queue": Queue(self.queue, self.width)})

    def setup(self, counts: Tensor) -> None:
        self.log_prior = log_prior(counts).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        queue = net.memory.get_submodule("queue")
        assert isinstance(queue, Queue)
        views = (batch.part(name, batch.images) for name in batch.streams)
        features = torch.cat([net.features(images) for images in views])  # each with batch-norm statistics of its own
        logits = net.heads["main"](features).float() + self.log_prior
        points = F.normalize(net.heads["points"](features).float())
        everyone, labels = torch.cat([points, queue.points.clone()]), torch.cat([batch.labels, queue.labels.clone()])
        queue.push(batch.part("second", points.detach()), batch.part("second", batch.labels))
        return parametric_contrast(logits, everyone, labels, self.temperature, self.alpha, self.beta, self.smoothing)

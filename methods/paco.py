"""PaCo: parametric contrastive learning.

Cui, Zhong, Liu, Yu, Jia: Parametric Contrastive Learning, ICCV 2021, arXiv 2107.12028: one softmax
over learned class centres, which carry the log prior, and the points of the batch, of a second view from a momentum
encoder, and of a queue. The centre of the class has weight beta, points of the class alpha. As in the authors' code,
the centres are the linear classifier, and points come from two layers with batch norm between them.
Deviation: the second view has RandAugment after the recipe's crop and flip (code: SimAugment). The queue begins with
random points that belong to no class (code: with random labels).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import Again, Augmented, Batch, Clock, Method, Network, Published, Range, instance_balanced
from ltbench.method.contrastive import parametric_contrast
from ltbench.method.functional import log_prior
from ltbench.method.memory import Queue, follow, slow_copy


class Paco(Method):
    """Class centres and the points of a batch, a momentum encoder and a queue in one softmax."""

    streams = {
        "query": Augmented(instance_balanced, "autoaugment+cutout"),
        "key": Again("query", "randaugment"),
    }
    heads = ("main", "points")
    needs_pixels = "needs two views of each image"
    alpha = Range(0.01, 0.01, 0.2, log=True)
    beta = Range(1.0, 0.1, 2.0, log=True)
    temperature = Range(0.05, 0.05, 0.2, log=True)
    momentum = Range(0.999, 0.9, 0.9999)
    queue = Range(1024, 256, 8192, log=True)
    width = Range(32, 16, 128, log=True)
    corrects = "log prior in the logits"
    cost = 1.33  # the momentum encoder runs forward only
    published = Published.table(
        source="PaCo",
        family="F4",
        grade="A",
        epoch="best-on-test",
        subset_seed=0,
        settings={"recipe.lr": 0.05, "recipe.nesterov": False, "views": "SimAugment"},
        accuracies={"cifar100": {100: 52.0, 50: 56.0, 10: 64.2}},
    ) + Published.table(
        source="PaCo",
        family="other",
        grade="A",
        backbone={"imagenet-lt": "resnet50", "places-lt": "resnet152", "inaturalist2018": "resnet50"},
        settings={
            "recipe.lr": 0.02,
            "recipe.batch_size": 128,
            "alpha": 0.05,
            "temperature": 0.2,
            "queue": 8192,
            "width": 128,
            "views": "SimAugment",
            "crops": "of the original files",
        },
        settings_of={
            "imagenet-lt": {"natural": {"recipe.epochs": 400, "recipe.warmup_epochs": 10}},
            "places-lt": {"natural": {"recipe.schedule": "cosine", "recipe.warmup_epochs": 5}},
            "inaturalist2018": {"natural": {"recipe.epochs": 400, "recipe.warmup_epochs": 10}},
        },
        accuracies={
            "imagenet-lt": {"natural": 57.0},
            "places-lt": {"natural": 41.2},
            "inaturalist2018": {"natural": 73.2},
        },
    )

    def build_head(self, name: str, width: int, classes: int) -> nn.Module:
        if name == "main":
            return super().build_head(name, width, classes)
        return nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, self.width))

    def build_memory(self, net: Network, counts: Tensor) -> nn.Module:
        encoder = nn.ModuleDict({"backbone": slow_copy(net.backbone), "points": slow_copy(net.heads["points"])})
        return nn.ModuleDict({"encoder": encoder, "queue": Queue(self.queue, self.width)})

    def setup(self, counts: Tensor) -> None:
        self.log_prior = log_prior(counts).float()

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        encoder, queue = net.memory.get_submodule("encoder"), net.memory.get_submodule("queue")
        assert isinstance(queue, Queue)
        features, labels = net.features(batch.part("query", batch.images)), batch.part("query", batch.labels)
        queries = F.normalize(net.heads["points"](features).float())
        with torch.no_grad():
            follow(encoder, nn.ModuleDict({"backbone": net.backbone, "points": net.heads["points"]}), self.momentum)
            seen = net.run(encoder.get_submodule("backbone"), batch.part("key", batch.images))
            keys = F.normalize(encoder.get_submodule("points")(seen).float())
        points = torch.cat([queries, keys, queue.points.clone()])
        everyone = torch.cat([labels, labels, queue.labels.clone()])
        queue.push(keys, labels)
        logits = net.heads["main"](features).float() + self.log_prior
        return parametric_contrast(logits, points, everyone, self.temperature, self.alpha, self.beta)

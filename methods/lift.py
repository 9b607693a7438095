"""LIFT: lightweight fine-tuning of a pretrained vision transformer.

Shi, Wei, Zhou, Shao, Han, Li: Long-Tail Learning with Foundation Model: Heavy Fine-Tuning Hurts, ICML 2024, arXiv
2309.10019. The pretrained network is frozen. Every block gets an adapter beside its MLP (AdaptFormer, arXiv
2205.13535): x + MLP(norm(x)) + s up(relu(down(norm'(x)))), of inner width 2 ** floor(log2(C / 2L)) for C classes and L
blocks, at least 1. A logit is ``scale`` times a cosine, and the classifier begins with the class means of the features.
Adapters and classifier are trained with the log prior in the logits, as in the authors' code for weights without text.
It means nothing without recipe.pretrained, and needs a vision transformer of timm as recipe.backbone. The authors train
for 10 epochs. Their "ImageNet-21K" weights, the default of timm 0.6.12, were fine-tuned on ImageNet-1k.
Deviation: class means are of centres of images; in the authors' code of whole images. No test-time ensembling, which
needs larger images than ``predict`` gets; their runs on CIFAR without text have none. No classifier from text.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import Batch, Clock, Features, InputError, Method, Network, Published, Range, Stage
from ltbench.method.functional import log_prior


class Adapter(nn.Module):
    """A correction of tokens [B, N, D] -> [B, N, D], at first 0."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.down, self.up = nn.Linear(width, inner), nn.Linear(inner, width)
        self.scale = nn.Parameter(torch.ones(1))
        nn.init.kaiming_normal_(self.down.weight, a=math.sqrt(5))
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        return torch.mul(self.scale, self.up(F.relu(self.down(self.norm(x)))))


class AdaptedBlock(nn.Module):
    """A block of timm's vision transformers with an adapter beside its MLP. Its layers keep their names."""

    def __init__(self, block: nn.Module, adapter: Adapter) -> None:
        super().__init__()
        for name, part in [*block.named_children(), ("adapter", adapter)]:
            self.add_module(name, part)

    def forward(self, x: Tensor, **further: Any) -> Tensor:
        own: Any = self
        x = x + own.drop_path1(own.ls1(own.attn(own.norm1(x), **further)))
        adapted: Tensor = x + own.drop_path2(own.ls2(own.mlp(own.norm2(x)))) + own.adapter(x)
        return adapted


class Lift(Method):
    """A frozen vision transformer with adapters, and a cosine classifier that begins with class means."""

    classifier = "cosine"
    needs_pixels = "trains adapters inside the backbone"
    scale = Range(25.0, 10.0, 40.0, log=True)
    lr = Range(0.01, 0.001, 0.1, log=True)
    corrects = "log prior in the logits"
    cost = 0.65
    published = Published.table(
        source="LIFT (listings)",
        family="F6",
        grade="B",
        epoch="last",
        subset_seed=0,
        backbone="vit_base_patch16_224.augreg_in21k_ft_in1k",
        settings={
            "recipe.pretrained": True,
            "recipe.image_size": 256,
            "recipe.interpolation": "bilinear",
            "recipe.crop_padding": 0,
            "recipe.resized_crop": 224,
            "recipe.epochs": 10,
            "lr": 0.01,
            "recipe.warmup_epochs": 0,
            "recipe.weight_decay": 5e-4,
        },
        accuracies={"cifar100": {100: 89.1, 50: 90.2, 10: 91.3}},
    )

    def rebuild(self, backbone: nn.Module, classes: int) -> nn.Module:
        from timm.models.vision_transformer import Block, VisionTransformer

        if not isinstance(backbone, VisionTransformer) or any(type(block) is not Block for block in backbone.blocks):
            raise InputError(
                "lift needs a vision transformer; set recipe.backbone to one of timm, such as vit_base_patch16_224"
            )
        inner = 2 ** max(0, int(math.log2(classes / (2 * len(backbone.blocks)))))
        adapted = [AdaptedBlock(block, Adapter(backbone.embed_dim, inner)) for block in backbone.blocks]
        backbone.blocks = nn.Sequential(*adapted)
        return backbone

    def stages(self) -> Sequence[Stage]:
        adapters = {"backbone.blocks.*.adapter.*": 1.0, "heads.*": 1.0}
        return (
            Stage("class means", epochs=0, finish=self.take_means),
            Stage("adapters", adapters, lr=self.lr, schedule="cosine", batch_norm="eval"),
        )

    def setup(self, counts: Tensor) -> None:
        self.log_prior = log_prior(counts).float()

    def take_means(self, net: Network, features: Features) -> None:
        """Compute the class means of the training features, with length 1."""
        weight, (seen, labels) = net.heads["main"].get_parameter("weight"), features("train")
        weight.copy_(F.normalize(torch.zeros_like(weight).index_add_(0, labels, seen)))

    def loss(self, net: Network, batch: Batch, clock: Clock) -> Tensor:
        return F.cross_entropy(self.predict(net, batch.images).float() + self.log_prior, batch.labels)

    def predict(self, net: Network, images: Tensor) -> Tensor:
        logits: Tensor = self.scale * net(images)
        return logits

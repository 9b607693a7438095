"""Accuracies from the literature, with the settings they were obtained with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Family = Literal["F1", "F2", "F3", "F4", "F5", "F6", "other"]
"""A family of training recipes. Only results of one family may be compared.

====== ==========================================================================================
F1     random crop and flip, 200 epochs, weight decay 1e-4 to 2e-4, CIFAR ResNet-32 (0.46 M parameters)
F2     as F1, with weight decay 5e-4
F3     AutoAugment and Cutout, 200 epochs
F4     strong augmentation, 400 epochs or more
F5     a wider or deeper network (64 or more channels in the first stage, or ResNet-34), weight decay 5e-3
F6     a vision transformer, or distillation from a teacher
other  none of these, or not known
====== ==========================================================================================
"""

Epoch = Literal["last", "best-on-test"]
"""Which epoch an accuracy is of."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published accuracy on the balanced test set.

    Attributes:
        dataset: name as in suites, such as ``"cifar100"``.
        imbalance: as in suites, such as ``"100"``.
        accuracy: top-1, in percent.
        source: paper and table, or repository.
        family: recipe family, see `Family`.
        grade: A, read in the paper or its repository; B, read in another paper's table.
        backbone: network.
        groups: accuracy of many-, medium- and few-shot classes in percent, if the source has them.
        epoch: the epoch that the source reports: the last, or the best on the test set; None: not known.
        subset_seed: the seed of the source's training images, as in suites (0: the subset of Cao et al.); None: other
            images, or not known.
        settings: the source's hyper-parameters of the method, by their name here, where they differ from our defaults
            or matter beside them; values of the recipe, as ``"recipe.epochs"``, that differ from those of the family;
            and in words what else differs from our method, which then is never compared with this accuracy.
    """

    dataset: str
    imbalance: str
    accuracy: float
    source: str
    family: Family
    grade: Literal["A", "B"]
    backbone: str = "resnet32_cifar"
    groups: tuple[float, float, float] | None = None
    epoch: Epoch | None = None
    subset_seed: int | None = None
    settings: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def table(
        cls,
        *,
        source: str,
        family: Family,
        grade: Literal["A", "B"],
        accuracies: Mapping[str, Mapping[int | str, float]],
        groups: Mapping[str, Mapping[int | str, tuple[float, float, float]]] = {},
        backbone: str | Mapping[str, str] = "resnet32_cifar",
        epoch: Epoch | None = None,
        subset_seed: int | None = None,
        settings: Mapping[str, object] = {},
        settings_of: Mapping[str, Mapping[int | str, Mapping[str, object]]] = {},
    ) -> tuple["Published", ...]:
        """Build the accuracies of one source.

        Args:
            source: this, ``family``, ``grade``, ``epoch``, ``subset_seed`` and ``settings`` are of every accuracy.
            backbone: of every accuracy, or data set -> backbone.
            accuracies: data set -> imbalance -> accuracy, as in ``{"cifar10": {100: 77.54, 50: 81.11}}``.
            groups: data set -> imbalance -> accuracy of the three groups.
            settings_of: data set -> imbalance -> further settings of this accuracy.
        """
        return tuple(
            cls(
                dataset=dataset,
                imbalance=str(imbalance),
                accuracy=accuracy,
                source=source,
                family=family,
                grade=grade,
                backbone=backbone if isinstance(backbone, str) else backbone[dataset],
                groups=groups.get(dataset, {}).get(imbalance),
                epoch=epoch,
                subset_seed=subset_seed,
                settings={**settings, **settings_of.get(dataset, {}).get(imbalance, {})},
            )
            for dataset, by_imbalance in accuracies.items()
            for imbalance, accuracy in by_imbalance.items()
        )

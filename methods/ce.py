"""Cross-entropy on ordinarily shuffled batches ("ERM", "joint training").

The baseline of every table: loss = -log softmax(z)_y. Deviation: none.
"""

from ltbench import Method, Published


class CrossEntropy(Method):
    """Plain cross-entropy, the baseline."""

    published = (
        Published.table(
            source="Cao19 table 2",
            family="F1",
            grade="A",
            epoch="best-on-test",
            subset_seed=0,
            settings={"recipe.classifier_init": "ldam"},
            accuracies={"cifar10": {100: 70.36, 10: 86.39}, "cifar100": {100: 38.32, 10: 55.7}},
        )
        + Published.table(
            source="BagofTricks-LT gallery, own run",
            family="F1",
            grade="A",
            epoch="best-on-test",
            subset_seed=0,
            settings={"recipe.nesterov": True},
            accuracies={"cifar10": {50: 76.45}, "cifar100": {50: 43.78}},
        )
        + Published.table(
            source="Kang20, repository",
            family="other",
            grade="A",
            backbone="resnext50_32x4d",
            settings={"recipe.epochs": 90, "crops": "of the original files"},
            accuracies={"imagenet-lt": {"natural": 44.4}},
            groups={"imagenet-lt": {"natural": (65.9, 37.5, 7.7)}},
        )
        + Published.table(
            source="Kang20 (copies in later papers)",
            family="other",
            grade="B",
            backbone={"imagenet-lt": "resnet50", "places-lt": "resnet152", "inaturalist2018": "resnet50"},
            settings={"crops": "of the original files"},
            settings_of={
                "imagenet-lt": {"natural": {"recipe.epochs": 90}},
                "inaturalist2018": {"natural": {"recipe.epochs": 90}},
            },
            accuracies={
                "imagenet-lt": {"natural": 41.6},
                "places-lt": {"natural": 30.2},
                "inaturalist2018": {"natural": 61.7},
            },
            groups={"places-lt": {"natural": (45.7, 27.3, 8.2)}, "inaturalist2018": {"natural": (72.2, 63.0, 57.2)}},
        )
        + Published.table(
            source="Cao19, iNaturalist 2018",
            family="other",
            grade="A",
            backbone="resnet50",
            settings={"crops": "of the original files"},
            accuracies={"inaturalist2018": {"natural": 57.14}},
        )
    )

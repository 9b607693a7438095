import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from ltbench.metrics import per_image, scores, shot_groups, summary


@pytest.fixture
def logits_and_labels() -> tuple[torch.Tensor, np.ndarray]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(7, (900,), generator=generator)
    logits = torch.randn(900, 8, generator=generator) + 2 * torch.nn.functional.one_hot(labels, 8)  # class 7: no image
    return logits, labels.numpy()


def test_scores_against_scikit_learn(logits_and_labels: tuple[torch.Tensor, np.ndarray]) -> None:
    logits, labels = logits_and_labels
    found = scores(per_image(logits, torch.from_numpy(labels)).numpy(), labels, 8)
    p = logits.double().softmax(1).numpy()
    predicted = p.argmax(1)
    classes = list(range(8))
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))
    expected_f1 = sklearn_metrics.f1_score(labels, predicted, average="macro", labels=classes, zero_division=0)
    assert found["macro_f1"] == pytest.approx(expected_f1)
    each = [sklearn_metrics.log_loss(labels[labels == c], p[labels == c], labels=classes) for c in range(7)]
    assert found["nll"] == pytest.approx(np.mean(each), rel=1e-5)
    squares = np.sum((p - np.eye(8)[labels]) ** 2, axis=1)
    assert found["brier"] == pytest.approx(np.mean([squares[labels == c].mean() for c in range(7)]), rel=1e-5)
    assert found["hits"] == np.diag(sklearn_metrics.confusion_matrix(labels, predicted, labels=classes)).tolist()


def test_ece_against_its_definition_with_equal_weight_for_each_class(
    logits_and_labels: tuple[torch.Tensor, np.ndarray],
) -> None:
    logits, labels = logits_and_labels
    keep = np.random.default_rng(0).random(900) < 1 / (1 + labels)  # class 6 keeps a seventh of its images
    logits, labels = logits[torch.from_numpy(keep)], labels[keep]
    p = logits.softmax(1).numpy()
    confidence, correct = p.max(1).astype(float), p.argmax(1) == labels
    expected = 0.0
    for m in range(15):
        accuracy_in_bin = confidence_in_bin = 0.0
        for c in range(7):
            inside = (confidence > m / 15) & (confidence <= (m + 1) / 15) & (labels == c)
            accuracy_in_bin += correct[inside].sum() / (labels == c).sum() / 7
            confidence_in_bin += confidence[inside].sum() / (labels == c).sum() / 7
        expected += abs(accuracy_in_bin - confidence_in_bin)
    found = scores(per_image(logits, torch.from_numpy(labels)).numpy(), labels, 8)
    assert found["ece"] == pytest.approx(expected, abs=1e-9)


def test_with_equal_classes_calibration_is_the_mean_over_images(
    logits_and_labels: tuple[torch.Tensor, np.ndarray],
) -> None:
    logits, labels = logits_and_labels
    keep = np.concatenate([np.flatnonzero(labels == c)[:100] for c in range(7)])
    logits, labels = logits[torch.from_numpy(keep)], labels[keep]
    images = per_image(logits, torch.from_numpy(labels)).numpy()
    found = scores(images, labels, 8)
    predicted, confidence, nll, brier = images.astype(float)
    bins = np.digitize(confidence, np.linspace(0, 1, 16)[1:-1], right=True)
    correct = predicted == labels
    gaps = [abs((correct - confidence)[bins == m].sum()) for m in range(15)]
    assert (found["nll"], found["brier"]) == (pytest.approx(nll.mean()), pytest.approx(brier.mean()))
    assert found["ece"] == pytest.approx(sum(gaps) / len(labels))


def test_summary_leaves_out_classes_without_test_images() -> None:
    evaluation = {"hits": [8, 1, 0], "accuracy": 0.6, "macro_f1": 0.5, "nll": 1.0, "brier": 0.4, "ece": 0.1}
    found = summary(evaluation, [10, 5, 0], {"many": [0], "medium": [1, 2], "few": []})
    assert found["balanced_accuracy"] == pytest.approx(50.0)
    assert found["balanced_error"] == pytest.approx(50.0)
    assert (found["many"], found["medium"], found["few"]) == (pytest.approx(80.0), pytest.approx(20.0), None)


@pytest.mark.parametrize(
    ("factor", "sizes"), [(10, (69, 31, 0)), (50, (41, 41, 18)), (100, (35, 35, 30)), (200, (30, 31, 39))]
)
def test_shot_groups_of_cifar100(factor: int, sizes: tuple[int, int, int]) -> None:
    from ltbench.data import Imbalance, class_counts

    groups = shot_groups(class_counts([500] * 100, Imbalance("exp", factor)), (20, 100))
    assert tuple(len(groups[name]) for name in ("many", "medium", "few")) == sizes


def test_shot_groups_of_small_sets_are_terciles() -> None:
    counts = [50, 400, 5000, 200, 1000, 90, 700]
    assert shot_groups(counts, "auto") == shot_groups(counts, "terciles")
    assert shot_groups(counts, "terciles") == {"many": [2, 4, 6], "medium": [1, 3], "few": [0, 5]}
    assert shot_groups([200, 50, 5], "auto") == {"many": [0], "medium": [1], "few": [2]}

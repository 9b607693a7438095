"""The sizes of networks that benchmarks.costs prints."""

from benchmarks.costs import sizes
from tests.methods.given import REGISTRY


def test_a_resnet_32_for_100_classes_has_the_parameters_of_the_literature() -> None:
    assert sizes(REGISTRY["ce"].method(), "resnet32_cifar") == (470_004, 0)


def test_a_memory_is_counted_beside_the_network() -> None:
    """GPaCo: three layers of points, 64 to 64 to 64 to 32, and a queue of 1,024 points."""
    assert sizes(REGISTRY["gpaco"].method(), "resnet32_cifar") == (470_004 + 2 * 65 * 64 + 65 * 32, 1024 * 32)

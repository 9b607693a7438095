"""What a method says about its stages is checked when its file is found."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from ltbench import Augmented, InputError, Method, Network, Stage, Trial, instance_balanced
from ltbench.method.valid import check

GRADED = {"main": Augmented(instance_balanced, graded=0.5)}


def choose(net: Network, trial: Trial) -> Tensor:
    return torch.zeros(3, dtype=torch.int64)


def method_with(**given: Any) -> type[Method]:
    class Mine(Method):
        """A method with this stage."""

        def stages(self) -> Sequence[Stage]:
            return (Stage(**given),)

    return Mine


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"strengths": choose}, "need each other"),
        ({"streams": GRADED}, "need each other"),
        ({"strengths": 3, "streams": GRADED}, "strengths, before_epoch or finish of stage 'train'"),
        ({"average_from": 1.0}, "average_from of stage 'train' is not allowed; give a share of the stage"),
        ({"late_from": 1}, "late_from of stage 'train' is not allowed; give a share of the stage, from 0 to below 1"),
        ({"average_from": -0.1}, "average_from of stage 'train'"),
        ({"average_from": 0.5, "epochs": 0}, "average_from of stage 'train'"),
        ({"schedule": "linear"}, "schedule of stage 'train' is not allowed; give step, cosine, constant or None"),
    ],
)
def test_a_stage_that_is_not_allowed_is_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        check(method_with(**given))


@pytest.mark.parametrize(
    "given", [{"strengths": choose, "streams": GRADED}, {"average_from": 0}, {"new_network": True}]
)
def test_a_stage_that_is_allowed_passes(given: dict[str, Any]) -> None:
    check(method_with(**given))

"""From the command that repeats a cell back to its request."""

from pathlib import Path

from ltbench.plan.expand import make_plan
from ltbench.plan.repeat import request_of
from ltbench.plan.request import Request


def test_the_command_of_a_cell_leads_back_to_the_cell(tmp_path: Path) -> None:
    request = Request(
        suite="quickstart",
        recipe="F2",
        methods=("crt(lr=0.05, after=aux_random(weight=0.5))", "focal(gamma=2.0)"),
        imbalance=("step:10",),
        seeds=(0, 3),
        subset_seeds=(2,),
        changes={"recipe.epochs": 3, "recipe.precision": "bf16", "holdout": 4, "recipe.milestones": (1, 2)},
        methods_dirs=(tmp_path,),
    )
    cells = [planned.cell for planned in make_plan(request).cells]
    assert len(cells) == 4
    for cell in cells:
        again, tuned = request_of(request.command(cell))
        assert [planned.cell.id for planned in make_plan(again).cells] == [cell.id]
        assert not tuned


def test_where_a_cell_is_trained_is_no_part_of_its_request() -> None:
    command = "ltbench run --suite s --datasets d --imbalance 100 --methods ce --tuned --as-published --seeds 4, "
    request, tuned = request_of(command + "--subset-seeds 0, --device cpu --threads 1 --data d=imagefolder:x")
    assert (request.suite, request.seeds, request.as_published, tuned) == ("s", (4,), True, True)
    assert request.data == {"d": "imagefolder:x"}

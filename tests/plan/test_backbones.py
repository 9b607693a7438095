"""Which methods of a request can be trained with its backbones."""

from pathlib import Path

from ltbench.plan.expand import make_plan
from ltbench.plan.request import Request

RESNETS = """
from ltbench import Method
class Resnets(Method):
    def rebuild(self, backbone, classes):
        return backbone if backbone.layer4 else None
"""


def test_methods_whose_network_cannot_be_built_are_skipped_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "resnets.py").write_text(RESNETS)
    changes = {"recipe.backbone": "test_vit", "recipe.image_size": 32}
    names = ("ce", "ride", "resnets")
    plan = make_plan(Request(methods=names, changes=changes, seeds=(0,), imbalance=("20",), methods_dirs=(tmp_path,)))
    assert [one.cell.method for one in plan.cells] == ["ce"]
    branches, layers = sorted(plan.skipped.values(), reverse=True)
    assert branches.startswith("ride cannot be trained with backbone 'test_vit': backbone 'test_vit' cannot be split")
    assert layers == (
        "resnets cannot be trained with backbone 'test_vit': "
        "AttributeError: 'VisionTransformer' object has no attribute 'layer4'"
    )

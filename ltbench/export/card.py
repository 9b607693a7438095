"""The model card of an exported model."""

from collections.abc import Sequence

import pandas as pd

from ltbench.export.folder import Agreement
from ltbench.results.record import Record

USE = """```sh
python predict.py IMAGE ...        # needs torch, numpy and Pillow; nothing of ltbench
```

`model.pt2` is the program: `torch.export.load("model.pt2").module()` takes images as uint8 [B, H, W, channels] and
returns logits [B, C]. `model.safetensors` has the weights by name: `backbone.*` fits `timm.create_model(BACKBONE,
num_classes=0)` where the backbone is timm's and has no branches; `heads.*` are the classifiers. `model.json` has the
names of the classes and the size of the images; images of other sizes are resized, and their central part is taken.
"""
LIMITS = """- Accuracy was measured on images like those of training. On others it is lower, by an unknown amount.
- Probabilities are a softmax of the logits; the calibration error (ECE) says how far they can be believed.
- Recalls of classes with few test images are uncertain: each is given with its number of images.
"""


def card(record: Record, row: pd.Series, found: Agreement) -> str:
    """The model card.

    Args:
        record: of the exported cell.
        row: of the leaderboard, for its method.
        found: the comparison of the exported model with the record.
    """
    result = record.finished
    metrics = {
        "balanced accuracy": f"{result.last.balanced_accuracy:.1f} % (this model); "
        f"{row.balanced_accuracy:.1f} ± {row.interval:.1f} % over {row.seeds} seeds",
        "many / medium / few": " / ".join(_percent(x) for x in (result.last.many, result.last.medium, result.last.few)),
        "accuracy": _percent(result.last.accuracy),
        "ECE, NLL": f"{result.last.ece:.1f} %, {result.last.nll:.2f} nats",
        "parameters": f"{found.parameters:,}",
        "backbone": str(record.recipe_values["backbone"]),
    }
    if pretrained := record.recipe_values["pretrained"]:
        metrics["pretrained"] = str(pretrained)
    return "\n".join(
        [
            f"# {record.entry} on {record.dataset}",
            "",
            f"An image classifier with {len(result.classes)} classes, trained with ltbench on "
            f"{sum(result.class_counts)} images ({max(result.class_counts)} to {min(result.class_counts)} a class) "
            f"and measured on {sum(result.test_counts)} {result.measured_on} images.",
            "",
            USE,
            "## Measured",
            "",
            *_table(("", "value"), list(metrics.items())),
            "",
            f"The program predicts the class of the record for {found.equal} of {found.images} images; the largest "
            f"difference of a logit is {found.furthest:.2g} (stored logits are rounded to 16 bits).",
            "",
            "## Recall of each class",
            "",
            *_table(("class", "training images", "test images", "recall"), _recalls(record)),
            "",
            "## Limits",
            "",
            LIMITS,
            "## Made by",
            "",
            f"`{record.command}` (cell {record.id}, recipe {record.recipe}, torch {result.environment.torch})",
            "",
        ]
    )


def _recalls(record: Record) -> list[tuple[str, ...]]:
    result = record.finished
    of_class = zip(result.classes, result.class_counts, result.test_counts, result.hits, strict=True)
    return [(name, str(n), str(m), f"{100 * hits / m:.1f} %" if m else "–") for name, n, m, hits in of_class]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    plain = [[cell.replace("|", "/").replace("\n", " ") for cell in cells] for cells in rows]
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *plain)]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"

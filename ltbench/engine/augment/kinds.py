"""Names and numbers of the operations. A plan contains the numbers."""

import torch
from torch import Tensor

NAMES = (
    "Identity",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
    "Invert",
)
FURTHER = (
    "Flip",
    "Mirror",
    "EdgeEnhance",
    "Detail",
    "Smooth",
    "GaussianBlur",
    "ResizeCrop",
    "SolarizeAdd",
)
"""Operations of graded augmentation only."""
NUMBER = {name: number for number, name in enumerate((*NAMES, *FURTHER))}
FACTORS = ("Brightness", "Color", "Contrast", "Sharpness")
"""Operations whose argument is a factor; 1 leaves an image as it is."""


def argument_of(name: str, operation: Tensor, value: Tensor, neutral: float) -> Tensor:
    """The arguments [B] of this operation, and ``neutral`` for images with another operation."""
    return torch.where(operation == NUMBER[name], value, neutral)

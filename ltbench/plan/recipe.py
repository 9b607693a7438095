"""A recipe: everything about training except the method. All methods of a comparison share it."""

import math
import platform
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from ltbench.errors import InputError, unknown

if TYPE_CHECKING:
    from ltbench.models.pretrained import Weights

Strong = Literal["none", "autoaugment", "randaugment", "cutout", "autoaugment+cutout", "randaugment+cutout"]


class Recipe(BaseModel):
    """Backbone, optimiser, schedule, augmentation and precision of a training run.

    The defaults are those of Cao et al., NeurIPS 2019 (LDAM-DRW): SGD at 0.1 with momentum 0.9 and weight decay 2e-4,
    linear warm-up over 5 epochs, the learning rate times 0.01 at epochs 160 and 180 of 200.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    base: str = "ldam"
    """The named recipe that this one starts from."""
    backbone: str = "resnet32_cifar"
    """A model name of timm, or one of ``ltbench ls backbones``."""
    pretrained: bool | str = False
    """Start from pretrained weights: ``true`` for those of timm, or the path of a safetensors file. Mean, standard
    deviation, interpolation and centre crop are then those of timm's configuration of the backbone."""
    classifier_init: Literal["pytorch", "ldam"] = "pytorch"
    """How linear classifiers start: as PyTorch does, or as in the code of Cao et al. (``ldam``): weights normal with
    variance 2 / D for D features."""
    frozen: bool = False
    """Compute the features of all images once, by the pretrained backbone, and train on them instead of on images."""
    image_size: int | None = Field(None, ge=4)
    """Side in pixels that images are resized to; unset: no resizing, or with ``pretrained`` chosen by the images."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    """How images are resized; unset: bilinear, or as the pretrained weights were trained."""
    epochs: int = Field(200, ge=1)
    batch_size: int = Field(128, ge=2)
    lr: float = Field(0.1, gt=0)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = Field(0.9, ge=0, lt=1)
    """Of SGD; of AdamW the first beta (the second is 0.999)."""
    nesterov: bool = False
    weight_decay: float = Field(2e-4, ge=0)
    decay_vectors: bool = True
    """Apply weight decay to biases, norms and position embeddings too; timm does not."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Factor of the learning rate from each layer of the backbone to the one before it, as timm counts layers. Heads
    have the full rate."""
    clip_grad: float | None = Field(None, gt=0)
    """Largest norm of the gradient of all parameters; a longer one is scaled down."""
    ema_decay: float | None = Field(None, ge=0, lt=1)
    """The network is the exponential moving average of the weights after each step, with this factor on the past."""
    lr_of_methods: float | None = Field(None, gt=0)
    """Learning rate of the recipes for which methods choose rates of their own, as ``crt`` does: theirs are multiplied
    by ``lr / lr_of_methods``. Unset: they are used as they are."""
    schedule: Literal["step", "cosine"] = "step"
    milestones: tuple[float, ...] = (160, 180)
    """Epochs at which the learning rate is multiplied by ``decay`` (schedule ``step``)."""
    decay: float = Field(0.01, gt=0, le=1)
    warmup_epochs: float = Field(5, ge=0)
    """In epoch e (from 0) of the warm-up the learning rate is lr * (e + 1) / warmup_epochs."""
    crop_padding: int = Field(4, ge=0)
    """Black pixels padded on each side before a random crop of the original size; 0: no crop."""
    resized_crop: int | None = Field(None, ge=4)
    """Side in pixels of a random resized crop (area 0.08 to 1 of the image, aspect ratio 3/4 to 4/3) in place of the
    padded one, which needs ``crop_padding`` 0; evaluation takes the centre of that side. Crops are taken from images
    that were resized to ``image_size`` before, not from the original files."""
    flip: bool = True
    """Mirror each image with probability 1/2."""
    jitter: float = Field(0.0, ge=0, le=1)
    """Brightness, contrast and saturation are each multiplied by a factor between 1 - jitter and 1 + jitter."""
    augment: Strong = "none"
    """Strong augmentations after crop, flip and jitter: AutoAugment with its policy for CIFAR-10, or RandAugment, and
    Cutout."""
    randaugment_operations: int = Field(2, ge=1)
    """Random operations for each image (RandAugment)."""
    randaugment_magnitude: int = Field(9, ge=0, le=30)
    """Strength of the operations of RandAugment, as torchvision numbers it."""
    cutout_side: int = Field(16, ge=1)
    """Side in pixels of the black square of Cutout."""
    precision: Literal["auto", "fp32", "fp32-strict", "bf16"] = "fp32"
    """``fp32`` lets a GPU use TF32 in convolutions, as PyTorch does by default; ``bf16`` is autocast. ``auto`` is
    chosen when cells are planned: bf16 where the processor computes in it and there is no GPU, else fp32."""
    evaluate_every: int = Field(10, ge=1)
    """Epochs between evaluations on the validation split, where there is one. The last epoch is always evaluated."""
    test_curve: bool = False
    """Evaluate on the test split every ``evaluate_every`` epochs too, as papers do that report the best of them. The
    test images are then in the memory of the process that trains. Without it they are read after training. Most papers
    evaluate every epoch."""

    @field_validator("resized_crop")
    @classmethod
    def _one_kind_of_crop(cls, value: int | None, others: ValidationInfo) -> int | None:
        if value is not None and others.data.get("crop_padding"):
            raise ValueError("it takes the place of the padded crop; set crop_padding=0 with it")
        return value

    @field_validator("frozen")
    @classmethod
    def _frozen_needs_weights(cls, value: bool, others: ValidationInfo) -> bool:
        if value and not others.data.get("pretrained"):
            raise ValueError("it needs pretrained weights; set recipe.pretrained=true or PATH.safetensors with it")
        return value

    @field_validator("crop_padding", "flip", "jitter", "augment")
    @classmethod
    def _features_are_not_augmented(cls, value: Any, others: ValidationInfo) -> Any:
        if others.data.get("frozen") and value not in (0, "none"):
            raise ValueError("frozen features are of images without augmentation; use recipe 'frozen', or remove it")
        return value

    @field_validator("layer_decay")
    @classmethod
    def _features_have_no_layers(cls, value: float, others: ValidationInfo) -> float:
        if others.data.get("frozen") and value != 1:
            raise ValueError("a frozen backbone has no learning rate; remove it")
        return value

    @field_validator("nesterov")
    @classmethod
    def _nesterov_is_of_sgd(cls, value: bool, others: ValidationInfo) -> bool:
        if value and others.data.get("optimizer") == "adamw":
            raise ValueError("AdamW has no Nesterov momentum; set optimizer=sgd with it")
        return value

    @field_validator("randaugment_operations", "randaugment_magnitude", "cutout_side")
    @classmethod
    def _setting_of_an_augmentation(cls, value: int, info: ValidationInfo) -> int:
        field = str(info.field_name)
        name, _ = field.split("_")
        if value != cls.model_fields[field].default and name not in info.data.get("augment", name):
            raise ValueError(f"it needs {name}; set augment={name} with it")
        return value

    @classmethod
    def of(cls, name: str) -> "Recipe":
        """A named recipe."""
        if name not in RECIPES:
            raise unknown("recipe", name, RECIPES)
        return RECIPES[name]

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """This recipe with other values. With another ``epochs`` the milestones and the warm-up keep their proportion.

        Raises:
            InputError: for a field that does not exist or a value that is not allowed.
        """
        for field in changes:
            if field not in type(self).model_fields or field == "base":
                raise unknown("recipe setting", field, set(type(self).model_fields) - {"base"})
        values = self.model_dump() | dict(changes)
        try:
            new = type(self).model_validate(values)
            if "epochs" in changes:
                new = new.model_copy(update=self._in_proportion(new.epochs, keep=changes))
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(
                f"recipe.{first['loc'][0]}={first['input']}: {first['msg'].lower()}", str(first["loc"][0])
            ) from error
        return new

    def _in_proportion(self, epochs: int, keep: Mapping[str, Any] = {}) -> dict[str, Any]:
        ratio = epochs / self.epochs
        scaled = {
            "milestones": tuple(m * epochs / self.epochs for m in self.milestones),
            "warmup_epochs": self.warmup_epochs * ratio,
        }
        return {field: value for field, value in scaled.items() if field not in keep}

    @property
    def label(self) -> str:
        """``ldam``, or ``ldam[epochs=5]`` where it differs from the named recipe."""
        named = RECIPES[self.base]
        implied = named.model_dump() | {"epochs": self.epochs} | named._in_proportion(self.epochs)
        if named.precision == "auto" and self.precision == "fp32":
            implied["precision"] = "fp32"
        if self.pretrained:  # the rows name the weights
            implied |= {"backbone": self.backbone, "pretrained": self.pretrained}
        changes = [f"{field}={value}" for field, value in self.model_dump().items() if value != implied[field]]
        if self.pretrained and not named.pretrained:
            changes.insert(0, "pretrained")
        if self.epochs != named.epochs:
            changes.insert(0, f"epochs={self.epochs}")
        return f"{self.base}[{','.join(changes)}]" if changes else self.base

    def chosen(self) -> Self:
        """This recipe with the precision that ``auto`` means on this machine."""
        if self.precision != "auto":
            return self
        return self.model_copy(update={"precision": "bf16" if computes_in_bf16() else "fp32"})

    @property
    def weights(self) -> "Weights | None":
        """The pretrained weights; None without.

        Raises:
            InputError: when they cannot be found.
        """
        if self.pretrained is False:
            return None
        from ltbench.models.pretrained import find_weights

        return find_weights(self.backbone, self.pretrained)

    def fitted(self, native: Callable[[], int]) -> Self:
        """This recipe with the sizes and the interpolation that pretrained weights need; unchanged without weights.

        The network sees images of twice the ``native`` side of the data set's own in pixels, as a multiple of 32, of at
        least 64 and at most the side of the pretraining. They are the centres of larger images, by the share of timm's
        configuration. Where ``image_size`` is set, it is that side and there is no larger image.
        """
        weights = self.weights
        if weights is None:
            return self
        side = self.resized_crop or self.image_size
        if side is None:
            side = weights.side if weights.fixed else min(weights.side, max(64, 32 * math.ceil(native() / 16)))
        changes: dict[str, Any] = {"interpolation": self.interpolation or weights.interpolation}
        if self.crop_padding:
            changes["image_size"] = side
        else:
            changes |= {"image_size": self.image_size or round(side / weights.crop), "resized_crop": side}
        return self.changed(changes)

    def on_features(self) -> Self:
        """This recipe once the features are computed, which take the place of images."""
        from ltbench.models.backbones import FEATURES

        nothing = {"backbone": FEATURES, "pretrained": False, "frozen": False}
        return self.model_copy(update=nothing | {"image_size": None, "resized_crop": None})

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """H, W of what the network sees of images of this size.

        Raises:
            InputError: when the images are smaller than the crop that evaluation takes of them.
        """
        side = self.resized_crop
        if side is None:
            return height, width
        if side > min(height, width):
            raise InputError(
                f"recipe.resized_crop={side} is larger than the images of {width}x{height} pixels; "
                f"lower it, or set recipe.image_size to {side} or more",
                "resized_crop",
            )
        return side, side

    def stage_epochs(self, share: float) -> int:
        """Epochs of a stage that lasts this share of the recipe's: at least 1, or 0 for a post-hoc step (share 0)."""
        return max(1, round(share * self.epochs)) if share else 0

    def identity(self) -> dict[str, Any]:
        """The values that can change a result: all but the name."""
        return self._identified({"base"})

    def identity_of_training(self) -> dict[str, Any]:
        """The values that can change a trained network."""
        return self._identified({"base", "evaluate_every", "test_curve"})

    def _identified(self, exclude: set[str]) -> dict[str, Any]:
        """The values, with the hash of pretrained weights in place of their path."""
        values = self.model_dump(mode="json", exclude=exclude)
        if (weights := self.weights) is not None:
            values["pretrained"] = f"{weights.name} ({weights.data}) sha256:{weights.digest}"
        return values

    @property
    def evaluation(self) -> str:
        """What is evaluated while training, in words. It changes no trained network."""
        return f"every {self.evaluate_every} epochs{', test images too' if self.test_curve else ''}"


_IMAGENET_LT = Recipe(  # Kang et al., ICLR 2020, stage 1; their crops are of the original files
    base="imagenet-lt",
    backbone="resnet50",
    image_size=256,
    epochs=90,
    batch_size=512,
    lr=0.2,
    weight_decay=5e-4,
    schedule="cosine",
    warmup_epochs=0,
    crop_padding=0,
    resized_crop=224,
    jitter=0.4,
)
# Places-LT: 30 epochs, batch 128 and the steps are those of stage 1 in the code of Liu et al. (CVPR 2019), who made its
# lists: their rates are 0.001 (backbone) and 0.1 (classifier). Kang et al. did not release theirs; in stage 2 the rate
# of the backbone is 0.01, which all parameters have here.
_PLACES_LT = _IMAGENET_LT.model_copy(
    update={"base": "places-lt", "backbone": "resnet152.tv_in1k", "pretrained": True, "epochs": 30, "batch_size": 128}
    | {"lr": 0.01, "schedule": "step", "milestones": (10, 20), "decay": 0.1}
)


def computes_in_bf16() -> bool:
    """Whether there is no GPU and the processor computes in bf16, which is then about 1.5 times as fast as fp32.

    Over ten paired seeds of a short recipe, ce and ldam_drw had the same accuracy within a point (docs/performance.md).
    """
    import torch

    x86 = platform.machine() in ("x86_64", "AMD64")
    return x86 and not torch.cuda.is_available() and bool(torch.cpu._is_avx512_bf16_supported())


RECIPES: dict[str, Recipe] = {
    "ldam": Recipe(precision="auto"),
    "F2": Recipe(base="F2", weight_decay=5e-4, nesterov=True),
    "F3": Recipe(base="F3", weight_decay=5e-4, decay=0.1, augment="autoaugment+cutout"),
    "F4": Recipe(  # the long training of BalPoE; PaCo's has learning rate 0.05 and no Nesterov momentum
        base="F4",
        epochs=400,
        milestones=(320, 360),
        warmup_epochs=10,
        decay=0.1,
        weight_decay=5e-4,
        nesterov=True,
        augment="autoaugment+cutout",
    ),
    "F5": Recipe(  # GLMC; weight balancing trains resnet34_cifar
        base="F5",
        backbone="resnet32_cifar_wide",
        batch_size=64,
        lr=0.01,
        weight_decay=5e-3,
        schedule="cosine",
        warmup_epochs=0,
    ),
    "digits": Recipe(
        base="digits",
        backbone="resnet8_cifar",
        epochs=20,
        batch_size=32,
        milestones=(16, 18),
        warmup_epochs=1,
        crop_padding=1,
        flip=False,
        evaluate_every=10,
    ),
    "imagenet-lt": _IMAGENET_LT,
    "imagenet-lt-180": _IMAGENET_LT.model_copy(
        update={"base": "imagenet-lt-180", "epochs": 180} | _IMAGENET_LT._in_proportion(180)
    ),
    "places-lt": _PLACES_LT,
    "inaturalist2018": _IMAGENET_LT.model_copy(update={"base": "inaturalist2018", "weight_decay": 1e-4, "jitter": 0.0}),
    "tiny-imagenet-lt": Recipe(base="tiny-imagenet-lt", backbone="resnet18", crop_padding=8),
    "finetune": Recipe(  # AdamW, layer-wise rates and exclusions as timm has them; the values are ours
        base="finetune",
        backbone="tf_efficientnet_lite0",
        pretrained=True,
        epochs=20,
        batch_size=64,
        lr=1e-3,
        optimizer="adamw",
        weight_decay=0.05,
        decay_vectors=False,
        layer_decay=0.75,
        clip_grad=1.0,
        lr_of_methods=0.1,
        schedule="cosine",
        warmup_epochs=2,
        crop_padding=0,
    ),
    "frozen": Recipe(  # a linear classifier on standardised features; the values are ours
        base="frozen",
        backbone="tf_efficientnet_lite0",
        pretrained=True,
        frozen=True,
        epochs=20,
        batch_size=256,
        lr=0.01,
        weight_decay=5e-4,
        lr_of_methods=0.1,
        schedule="cosine",
        warmup_epochs=1,
        crop_padding=0,
        flip=False,
    ),
}

ABOUT = {
    "ldam": "F1: Cao et al., NeurIPS 2019: CIFAR ResNet-32, 200 epochs, crop and flip, weight decay 2e-4",
    "F2": "as ldam, with weight decay 5e-4 and Nesterov momentum (RIDE, SADE, BalPoE)",
    "F3": "as ldam, with AutoAugment and Cutout, weight decay 5e-4 and decays of 0.1",
    "F4": "as F3, with 400 epochs and Nesterov momentum (long training of BalPoE)",
    "F5": "wide CIFAR ResNet-32 (64, 128, 256 channels), batch 64, cosine from 0.01, weight decay 5e-3 (GLMC)",
    "digits": "ResNet-8, 20 epochs: the quickstart",
    "imagenet-lt": "Kang et al., ICLR 2020: ResNet-50, 90 epochs, batch 512, cosine from 0.2",
    "imagenet-lt-180": "as imagenet-lt, with 180 epochs",
    "places-lt": "pretrained ResNet-152, 30 epochs, batch 128, steps from 0.01 (after Liu et al., CVPR 2019)",
    "inaturalist2018": "as imagenet-lt, with weight decay 1e-4 and without colour jitter (Kang et al.)",
    "tiny-imagenet-lt": "as ldam, with ResNet-18 on 64x64 images",
    "finetune": "pretrained network, 20 epochs: AdamW, layer-wise learning rates, random-resized crops, as in timm",
    "frozen": "classifiers on the features of a pretrained network, which are computed once",
}
"""One line on each named recipe."""

FAMILIES = {"F1": RECIPES["ldam"]} | {name: RECIPES[name] for name in ("F2", "F3", "F4", "F5")}
"""The recipe of each family (see ``Published.family``) whose results may be compared; a source's own values differ from
it where ``Published.settings`` says so."""

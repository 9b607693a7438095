"""The loop that everyone writes: PIL transforms in DataLoader workers, a host synchronisation every step.

It is the baseline that the engine is measured against, with the very same network.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from ltbench.plan.recipe import Recipe

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images [N, H, W, 3] uint8 that go through PIL one by one."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64], recipe: Recipe) -> None:
        self.images, self.labels = images, labels
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(images.shape[1], padding=recipe.crop_padding),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


class PlainLoop:
    """Trains a network epoch by epoch, with cross-entropy."""

    def __init__(
        self,
        net: nn.Module,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        recipe: Recipe,
        workers: int,
        device: torch.device,
    ) -> None:
        data = Pictures(images, labels, recipe)
        self.loader: DataLoader[Any] = DataLoader(
            data,
            recipe.batch_size,
            shuffle=True,
            num_workers=workers,
            multiprocessing_context="fork" if workers else None,
        )
        self.net, self.device = net, device
        self.optimiser = torch.optim.SGD(
            net.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )

    def epoch(self) -> float:
        """Train one epoch; returns the mean loss."""
        self.net.train()
        total = 0.0
        for batch in self.loader:
            images, labels = (part.to(self.device) for part in batch)
            loss = nn.functional.cross_entropy(self.net(images), labels)
            total += loss.item()
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
        return total / len(self.loader)

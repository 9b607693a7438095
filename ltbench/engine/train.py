"""The training loop."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ltbench.data.images import LongTailed, Split
from ltbench.engine import plan
from ltbench.engine.process import numerics
from ltbench.engine.resident import Normaliser, Resident
from ltbench.method import Batch, Clock, Method, Stage
from ltbench.metrics import per_image, scores
from ltbench.models.network import Network
from ltbench.recipe import Recipe
from ltbench.samplers import Pool

EVALUATION_BATCH = 500
State = dict[str, Any]


class TrainingFailed(RuntimeError):
    """Training cannot go on; the message says why, and at which epoch and step."""


class Checkpoint(Protocol):
    """Where a stage keeps what it needs to go on after a kill."""

    def load(self) -> State | None:
        """What was saved last, if anything."""

    def due(self) -> bool:
        """Whether it is time to save."""

    def save(self, state: State) -> None:
        """Keep ``state`` in place of what was saved before."""


@dataclass(frozen=True, eq=False)
class Task:
    """What all stages of one cell share: the data on the device, the recipe, the seed."""

    data: LongTailed
    recipe: Recipe
    seed: int
    device: torch.device
    resident: Resident
    pool: Pool
    normalise: Normaliser
    held_out: dict[str, tuple[Tensor, Tensor]]
    """Images uint8 [N, H, W, channels] and labels [N] of ``test`` and, where there is one, ``val``."""

    @classmethod
    def of(cls, data: LongTailed, recipe: Recipe, seed: int, device: torch.device) -> "Task":
        """Upload the data."""

        def upload(split: Split) -> tuple[Tensor, Tensor]:
            return torch.tensor(split.images, device=device), torch.tensor(split.labels, device=device)

        held_out = {"val": data.val, "test": data.test}
        return cls(
            data,
            recipe,
            seed,
            device,
            Resident(data.train.images, data.train.labels, device, recipe.crop_padding, recipe.flip),
            Pool.of(data.train.labels, len(data.counts)),
            Normaliser(data.mean, data.std, device),
            {name: upload(split) for name, split in held_out.items() if split is not None},
        )

    def autocast(self) -> torch.autocast:
        """The context of every forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16")


def learning_rate(recipe: Recipe, stage: Stage, epoch: int, epochs: int) -> float:
    """Learning rate of an epoch (from 0) of a stage of ``epochs``; the recipe's epochs scale to the stage's length."""
    at = epoch * recipe.epochs / epochs
    base = stage.lr if stage.lr is not None else recipe.lr
    if (stage.schedule or recipe.schedule) == "cosine":
        factor = 0.5 * (1 + math.cos(math.pi * epoch / epochs))
    else:
        factor = recipe.decay ** sum(at >= milestone - 1e-9 for milestone in recipe.milestones)
    warmup = recipe.warmup_epochs * epochs / recipe.epochs
    return base * factor * (min(1.0, (epoch + 1) / warmup) if warmup else 1.0)


def train_stage(
    net: Network,
    method: Method,
    stage: Stage,
    position: int,
    task: Task,
    checkpoint: Checkpoint,
    on_epoch: Callable[[int, int], None] = lambda done, epochs: None,
) -> State:
    """Train one stage, from its checkpoint if there is one.

    Args:
        net: the network as the stage before left it; it is trained in place.
        method: asked for losses and logits.
        stage: what trains, for how long.
        position: number of stages before this one; it keys the randomness.
        task: data, recipe, seed.
        checkpoint: where to go on from and to save to.
        on_epoch: called after every epoch with (epochs done, epochs of the stage).

    Returns:
        ``network``: its state; ``losses``: mean of each epoch; ``evaluations``; ``logits`` (half precision, final) of
        every held-out split; ``train_seconds``, ``evaluation_seconds``; ``images``: trained on, over all epochs.

    Raises:
        TrainingFailed: when a loss is not finite.
    """
    recipe, device = task.recipe, task.device
    epochs = stage_epochs(stage, recipe)
    method.setup(torch.tensor(task.data.counts, dtype=torch.float64, device=device))
    optimiser = optimiser_of(net, stage, recipe, device)
    clock = Clock(torch.zeros((), device=device))
    state: State = {"epoch": 0, "losses": [], "evaluations": [], "logits": {}, "images": 0}
    state |= {"train_seconds": 0.0, "evaluation_seconds": 0.0}
    if (saved := checkpoint.load()) is not None:
        restore(net, saved.pop("network"))
        optimiser.load_state_dict(saved.pop("optimiser"))
        state = saved

    random_state = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    with random_state, numerics(strict=recipe.precision == "fp32-strict"):
        for epoch in range(state["epoch"], epochs):
            started = time.perf_counter()
            where = (task.seed, position, epoch)
            torch.manual_seed(plan.key(*where, "torch"))  # for dropout and the like inside a backbone
            clock.progress.fill_(epoch / epochs)
            for group in optimiser.param_groups:
                group["lr"].fill_(learning_rate(recipe, stage, epoch, epochs))
            drawn = plan.draw(
                task.pool, method.streams, len(task.data.train), epoch / epochs, recipe.crop_padding, recipe.flip, where
            )
            losses = train_epoch(net, method, stage, task, optimiser, clock, drawn.to(device))
            bad = next((step for step, loss in enumerate(losses) if not math.isfinite(loss)), None)
            if bad is not None:
                at = f"epoch {epoch + 1} of {epochs}, step {bad + 1}"
                raise TrainingFailed(f"loss became {losses[bad]} in stage '{stage.name}', {at}")
            state["epoch"] = epoch + 1
            state["losses"].append(sum(losses) / len(losses))
            state["images"] += drawn.shape[1] * drawn.shape[2]
            state["train_seconds"] += time.perf_counter() - started
            if state["epoch"] % recipe.evaluate_every == 0 or state["epoch"] == epochs:
                evaluate(net, method, task, state)
            if checkpoint.due() and state["epoch"] < epochs:
                checkpoint.save(state | {"network": net.state_dict(), "optimiser": optimiser.state_dict()})
            on_epoch(state["epoch"], epochs)
    return state | {"network": net.state_dict()}


def train_epoch(
    net: Network,
    method: Method,
    stage: Stage,
    task: Task,
    optimiser: torch.optim.Optimizer,
    clock: Clock,
    drawn: Tensor,
) -> list[float]:
    """Train one epoch by its plan [4, S, draws]; returns the loss of every step."""
    loss_of: Callable[..., Tensor] = getattr(method, stage.loss)
    streams = tuple(method.streams)
    steps = torch.split(drawn, task.recipe.batch_size, dim=2)
    losses = torch.zeros(len(steps), device=task.device)
    net.train()
    if stage.batch_norm == "eval":
        net.backbone.eval()
    for step, columns in enumerate(steps):
        pixels, labels = task.resident.batch(columns.flatten(1))
        with task.autocast():
            loss = loss_of(net, Batch(task.normalise(pixels), labels, streams), clock)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        losses[step] = loss.detach()
    values: list[float] = losses.tolist()  # the one time in an epoch that the host waits for the device
    return values


def optimiser_of(net: Network, stage: Stage, recipe: Recipe, device: torch.device) -> torch.optim.SGD:
    """The optimiser of a stage, over the parameters that it trains; its learning rate is a tensor to be filled."""
    for parameter in net.backbone.parameters():
        parameter.requires_grad_(stage.trains == "all")
    return torch.optim.SGD(
        [p for p in net.parameters() if p.requires_grad],
        lr=torch.tensor(0.0, device=device),
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay if stage.weight_decay is None else stage.weight_decay,
        fused=True,
    )


def evaluate(net: Network, method: Method, task: Task, state: State) -> None:
    """Add an evaluation of every held-out split to a stage's state, and replace its logits."""
    started = time.perf_counter()
    net.eval()
    entry: dict[str, Any] = {"epoch": state["epoch"]}
    for name, (images, labels) in task.held_out.items():
        chunks, rows = [], []
        with torch.inference_mode():
            batches = zip(torch.split(images, EVALUATION_BATCH), torch.split(labels, EVALUATION_BATCH), strict=True)
            for pixels, targets in batches:
                with task.autocast():
                    logits = method.predict(net, task.normalise(pixels))
                chunks.append(logits.half())
                rows.append(per_image(logits, targets))
        entry[name] = scores(torch.cat(rows, dim=1).cpu().numpy(), labels.cpu().numpy(), len(task.data.counts))
        state["logits"][name] = torch.cat(chunks).cpu()
    state["evaluations"].append(entry)
    state["evaluation_seconds"] += time.perf_counter() - started


def stage_epochs(stage: Stage, recipe: Recipe) -> int:
    """Length of a stage in epochs."""
    return max(1, round(stage.epochs * recipe.epochs))


def take_over(net: Network, before: State, stage: Stage) -> None:
    """Give a fresh network what the stage before leaves it: the backbone, and the heads that are not drawn anew."""
    shapes = {name: value.shape for name, value in net.state_dict().items()}
    restore(
        net,
        {
            name: value
            for name, value in before["network"].items()
            if name.startswith("backbone.") or (not stage.new_heads and shapes.get(name) == value.shape)
        },
    )


def restore(net: Network, values: Mapping[str, Tensor]) -> None:
    """Copy these values into the network's state, bit for bit."""
    own = net.state_dict()
    for name, value in values.items():
        own[name].copy_(value)

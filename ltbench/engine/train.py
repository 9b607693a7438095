"""The training loop."""

import fnmatch
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ltbench.data.images import LongTailed
from ltbench.engine import epoch_plan
from ltbench.engine.augment.padded import Normaliser
from ltbench.engine.batches import HeldOut, TrainingSet, held_out, place_for, training_set
from ltbench.engine.image_source import Place
from ltbench.engine.process import numerics
from ltbench.engine.step import Eager, Epochs, Static, Step
from ltbench.errors import InputError
from ltbench.method.contract import Batch, Clock, Method, Stage
from ltbench.method.samplers import Pool
from ltbench.metrics import per_image, scores
from ltbench.models.network import Network
from ltbench.plan.recipe import Recipe
from ltbench.randomness import Draws, key

EVALUATION_BATCH = 500
State = dict[str, Any]
Tier = Literal["eager", "graph", "compiled"]
"""How steps are run: one by one; captured in a CUDA graph; the backbone compiled, then captured."""


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
    """What all stages of one cell share: the data, the recipe, the seed."""

    data: LongTailed
    recipe: Recipe
    seed: int
    device: torch.device
    resident: TrainingSet
    pool: Pool
    normalise: Normaliser
    held_out: dict[str, HeldOut]
    """``test`` and, where there is one, ``val``."""
    tier: Tier = "eager"
    images_in: Place = "device"

    @classmethod
    def of(
        cls,
        data: LongTailed,
        recipe: Recipe,
        seed: int,
        device: torch.device,
        tier: Tier = "eager",
        images_in: Place | Literal["auto"] = "auto",
        processes: int = 1,
    ) -> "Task":
        """Put the data where ``images_in`` says, or the size rule where it is ``auto``.

        Raises:
            InputError: when images are wanted from a file and lie in none.
        """
        place = place_for(data, recipe, device, processes) if images_in == "auto" else images_in
        splits = {"val": data.val, "test": data.test}
        return cls(
            data,
            recipe,
            seed,
            device,
            training_set(data.train, recipe, place, device),
            Pool.of(data.train.labels, len(data.counts)),
            Normaliser(data.mean, data.std, device),
            {name: held_out(split, recipe, place, device) for name, split in splits.items() if split is not None},
            tier,
            place,
        )

    @property
    def resized(self) -> tuple[int, int] | None:
        """H, W of the images where random-resized crops are taken of them."""
        height, width = self.data.train.images.shape[1:3]
        return (height, width) if self.recipe.resized_crop else None

    def autocast(self) -> torch.autocast:
        """The context of every forward pass. Its cache is off: it is the process's, and any thread may clear it."""
        enabled = self.recipe.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled, cache_enabled=False)


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
        every held-out split; ``train_seconds``, ``evaluation_seconds``; ``images``: trained on, over all epochs;
        ``tier`` and ``tier_reason``: how the steps were run, and why not in the tier that was wanted.

    Raises:
        TrainingFailed: when a loss is not finite.
    """
    recipe, device = task.recipe, task.device
    epochs, streams = stage_epochs(stage, recipe), method.streams_of(stage)
    method.setup(torch.tensor(task.data.counts, dtype=torch.float64, device=device))
    optimiser = optimiser_of(net, stage, recipe, device)
    clock = Clock(torch.zeros((), device=device))
    state: State = {"epoch": 0, "losses": [], "evaluations": [], "logits": {}, "images": 0}
    state |= {"train_seconds": 0.0, "evaluation_seconds": 0.0, "tier": "eager", "tier_reason": ""}
    if (saved := checkpoint.load()) is not None:
        restore(net, saved.pop("network"))
        optimiser.load_state_dict(saved.pop("optimiser"))
        state = saved

    step = step_of(net, method, stage, task, optimiser, clock)
    changing = [*net.state_dict().values(), *(s["momentum_buffer"] for s in optimiser.state.values())]
    run: Epochs | None = None

    draws = Draws(device)
    with numerics(strict=recipe.precision == "fp32-strict"):
        for epoch in range(state["epoch"], epochs):
            started = time.perf_counter()
            where = (task.seed, position, epoch)
            clock.progress.fill_(epoch / epochs)
            for group in optimiser.param_groups:
                group["lr"].fill_(group["factor"] * learning_rate(recipe, stage, epoch, epochs))
            drawn = epoch_plan.draw(
                task.pool,
                streams,
                len(task.data.train),
                epoch / epochs,
                recipe.crop_padding,
                recipe.flip,
                where,
                task.resized,
                recipe.jitter,
            )
            task.resident.begin(drawn, recipe.batch_size)
            drawn = epoch_plan.with_noise(drawn, method.noise, where).to(device)
            net.train()
            if stage.batch_norm == "eval":
                net.backbone.eval()
            if run is None:
                run, state["tier"], state["tier_reason"] = epochs_of(step, task.tier, method, task, drawn, changing)
            with draws.epoch(key(*where, "torch")):
                losses = run(drawn)
            for number, loss in enumerate(losses, 1):
                if not math.isfinite(loss):
                    at = f"epoch {epoch + 1} of {epochs}, step {number}"
                    raise TrainingFailed(f"loss became {loss} in stage '{stage.name}', {at}")
            state["epoch"] = epoch + 1
            state["losses"].append(sum(losses) / len(losses))
            state["images"] += drawn.shape[1] * drawn.shape[2]
            state["train_seconds"] += time.perf_counter() - started
            if state["epoch"] < epochs:
                if state["epoch"] % recipe.evaluate_every == 0:
                    evaluate(net, method, task, state)
                if checkpoint.due():
                    checkpoint.save(state | {"network": net.state_dict(), "optimiser": optimiser.state_dict()})
            on_epoch(state["epoch"], epochs)
        if stage.finish:
            started = time.perf_counter()
            with torch.no_grad():
                getattr(method, stage.finish)(net, functools.partial(features, net, task))
            state["train_seconds"] += time.perf_counter() - started
        evaluate(net, method, task, state)
    return state | {"network": net.state_dict()}


def step_of(
    net: Network, method: Method, stage: Stage, task: Task, optimiser: torch.optim.Optimizer, clock: Clock
) -> Step:
    """A training step. It never waits for the device and touches no tensor that could move: it may be captured."""
    loss_of: Callable[..., Tensor] = getattr(method, stage.loss)
    project: Callable[[Network], None] | None = getattr(method, stage.project) if stage.project else None
    streams = tuple(method.streams_of(stage))

    def step(columns: Tensor) -> Tensor:
        pixels, labels = task.resident.batch(columns)
        noise = epoch_plan.noise_of(columns[task.resident.rows :], len(streams))
        with task.autocast():
            loss = loss_of(net, Batch(task.normalise(pixels), labels, streams, noise), clock)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if project is not None:
            with torch.no_grad():
                project(net)
        return loss.detach()

    return step


def epochs_of(
    step: Step, tier: Tier, method: Method, task: Task, drawn: Tensor, state: Sequence[Tensor]
) -> tuple[Epochs, str, str]:
    """What runs the epochs of a stage in the highest tier it can.

    Args:
        step: one training step.
        tier: the highest that is wanted.
        method: may say why it cannot be captured.
        task: the data, which may say so too.
        drawn: a plan to warm up with, on the device.
        state: every tensor that a step changes.

    Returns:
        The runner, the tier it is of, and why it is not the one that was wanted.
    """
    eager = Eager(step, task.recipe.batch_size)
    if tier == "eager":
        return eager, "eager", ""
    if reason := method.eager_only or task.resident.eager_only:
        return eager, "eager", reason
    static = Static(step, drawn.shape, task.recipe.batch_size, task.device)
    try:
        static.capture(drawn, state)
    except RuntimeError as error:  # of CUDA or of the compiler; the reason stands in the record
        return eager, "eager", f"capture failed: {str(error).splitlines()[0]}"
    return static, tier, ""


def optimiser_of(net: Network, stage: Stage, recipe: Recipe, device: torch.device) -> torch.optim.SGD:
    """The optimiser of a stage, over the parameters that it trains; its learning rate is a tensor to be filled."""
    names = {"all": {"*": 1.0}, "heads": {"heads.*": 1.0}}
    factors = names[stage.trains] if isinstance(stage.trains, str) else stage.trains
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        factor = next((factors[pattern] for pattern in factors if fnmatch.fnmatchcase(name, pattern)), None)
        parameter.requires_grad_(factor is not None)
        if factor is not None:
            groups.setdefault(factor, []).append(parameter)
    optimiser = torch.optim.SGD(
        [{"params": g, "factor": f, "lr": torch.tensor(0.0, device=device)} for f, g in groups.items()],
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay if stage.weight_decay is None else stage.weight_decay,
        fused=True,
    )
    for parameter in (
        p for group in groups.values() for p in group
    ):  # zeros now, as the first step would find nothing: a captured step must not differ
        optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimiser


def evaluate(net: Network, method: Method, task: Task, state: State) -> None:
    """Add an evaluation of every held-out split to a stage's state, and replace its logits.

    Raises:
        TrainingFailed: when a logit is not finite.
    """
    started = time.perf_counter()
    net.eval()
    entry: dict[str, Any] = {"epoch": state["epoch"]}
    for name, images in task.held_out.items():
        chunks, rows = [], []
        with torch.inference_mode():
            for pixels, targets in images.batches(EVALUATION_BATCH):
                with task.autocast():
                    logits = method.predict(net, task.normalise(pixels))
                chunks.append(logits.half())
                rows.append(per_image(logits, targets))
        seen = torch.cat(rows, dim=1).cpu().numpy()
        if not np.isfinite(seen).all():
            raise TrainingFailed(f"the logits of split '{name}' are not finite after epoch {state['epoch']}")
        entry[name] = scores(seen, images.labels.cpu().numpy(), len(task.data.counts))
        state["logits"][name] = torch.cat(chunks).cpu()
    state["evaluations"].append(entry)
    state["evaluation_seconds"] += time.perf_counter() - started


def features(net: Network, task: Task, split: str) -> tuple[Tensor, Tensor]:
    """Features [N, D] float32 and labels [N] of the un-augmented images of ``train`` or ``val``, in evaluation mode.

    Raises:
        InputError: for ``val`` where there is none, and for any other split.
    """
    if split not in ("train", "val"):
        raise InputError(f"a post-hoc step may look at 'train' and 'val', not at '{split}'")
    net.eval()
    if split == "train":
        images = held_out(task.data.train, task.recipe, task.images_in, task.device)
    elif split == "val" and "val" in task.held_out:
        images = task.held_out["val"]
    else:
        raise InputError("it needs validation images; set some aside with --set holdout=N (images a class)")
    found, labels = [], []
    with torch.inference_mode(), task.autocast():
        for pixels, targets in images.batches(EVALUATION_BATCH):
            found.append(net.features(task.normalise(pixels)).float())
            labels.append(targets)
    return torch.cat(found), torch.cat(labels)


def stage_epochs(stage: Stage, recipe: Recipe) -> int:
    """Length of a stage in epochs; 0 for a post-hoc step."""
    return max(1, round(stage.epochs * recipe.epochs)) if stage.epochs else 0


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

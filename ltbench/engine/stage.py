"""A stage under way: its network, optimiser, clock and progress."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ltbench.engine import epoch_plan
from ltbench.engine.augment import augmentations
from ltbench.engine.batches import TrainingSet
from ltbench.engine.optimiser import clip_gradients, learning_rate, optimiser_of, state_of
from ltbench.engine.step import Eager, Epochs, Static, why_failed
from ltbench.engine.task import Task, Tier
from ltbench.method.contract import Batch, Clock, LossFunction, Method, Stage
from ltbench.method.samplers import augment_of
from ltbench.models.classifiers import initialise_as_ldam
from ltbench.models.network import Network, initialised_backbone, run_part
from ltbench.randomness import Draws, key, seeded

State = dict[str, Any]
"""The results of a stage so far: see `RunningStage`."""


class RunningStage:
    """A stage under way.

    Args:
        method: defines losses and logits.
        stage: one of ``method.stages()``: its functions are those of this object.
        position: number of stages before this one in the chain, which keys the randomness.
        task: data, recipe, seed.
        before: results of the stage before; None: there is none.

    Attributes:
        epochs: length of the stage.
        net, optimiser, clock: see the contract of methods.
        live, average: parameters and statistics of the network, and their moving average, if the recipe has one.
        state: ``epoch``: epochs done; ``losses``: mean of each epoch; ``evaluations``; ``logits``: of every held-out
            split at the last evaluation; ``best``: epoch and network of the best evaluation on the validation split;
            ``train_seconds``, ``evaluation_seconds``; ``images``: images trained on so far; ``tier`` and
            ``tier_reason``: how steps are run, and why not in the tier of the task; ``environments``: where it was
            trained, more than one after a move to another machine; ``evaluates``: see `Recipe.evaluation`; ``head``:
            name of the first head, which predicts.
    """

    def __init__(self, method: Method, stage: Stage, position: int, task: Task, before: State | None = None) -> None:
        self.method, self.stage, self.position, self.task = method, stage, position, task
        self.epochs = task.recipe.stage_epochs(stage.epochs)
        self.net = network(method, task, position)
        if before is not None:
            take_over(self.net, before, stage)
        with seeded(key(task.seed, "memory", position)):
            self.net.remember(method.build_memory(self.net, torch.tensor(task.data.counts, dtype=torch.float64)))
        for module in (self.net, self.net.memory):
            module.to(task.device).to(memory_format=torch.channels_last)
        self.training = self._training()
        if task.tier == "compiled":
            self.net.run = compiled(task.recipe.batch_size)
        method.setup(torch.tensor(task.data.counts, dtype=torch.float64, device=task.device))
        self.optimiser = optimiser_of(self.net, stage, task.recipe, task.device)
        of_net = self.net.state_dict().values() if task.recipe.ema_decay is not None else ()
        self.live = [value for value in of_net if value.is_floating_point()]
        self.average = [value.clone() for value in self.live]
        self.clock = Clock(torch.zeros((), device=task.device))
        self.state: State = {"epoch": 0, "losses": [], "evaluations": [], "logits": {}, "best": None, "images": 0}
        self.state |= {"train_seconds": 0.0, "evaluation_seconds": 0.0, "tier": "eager", "tier_reason": ""}
        self.state |= {"environments": [task.environment], "evaluates": task.recipe.evaluation}
        self.state["head"] = self.net.first
        self._draws = Draws(task.device)
        self._run: Epochs | None = None

    def resume(self, saved: State) -> None:
        """Continue from what ``to_save`` returned."""
        restore(self.net, saved["network"])
        restore(self.net.memory, saved["memory"])
        self.optimiser.load_state_dict(saved["optimiser"])
        for own, value in zip(self.average, saved["average"], strict=True):
            own.copy_(value)
        parts = ("network", "memory", "optimiser", "average")
        self.state = {name: value for name, value in saved.items() if name not in parts}
        if self.task.environment not in self.state["environments"]:
            self.state["environments"].append(self.task.environment)

    def to_save(self) -> State:
        """Everything that ``resume`` needs."""
        parts = {"network": self.net.state_dict(), "memory": self.net.memory.state_dict()}
        return self.state | parts | {"optimiser": self.optimiser.state_dict(), "average": self.average}

    def begin(self, epoch: int) -> Tensor:
        """Set clock, learning rate and mode for an epoch (from 0); returns its plan [R, S, draws] on the device."""
        task, stage, where = self.task, self.stage, self._where(epoch)
        self.set_to(epoch / self.epochs, learning_rate(task.recipe, stage, epoch, self.epochs))
        self.net.train()
        if stage.batch_norm == "eval":
            self.net.backbone.eval()
        plan = epoch_plan.draw(
            task.pool,
            self.method.streams_of(stage),
            len(task.data.train),
            epoch / self.epochs,
            self.training.augmentations,
            where,
            task.recipe.augment,
        )
        self.training.begin(plan, task.recipe.batch_size)
        return epoch_plan.with_noise(plan, self.method.noise, where).to(task.device)

    def set_to(self, progress: float, rate: float) -> None:
        """Set the clock and the learning rate, as tensors at fixed addresses."""
        self.clock.progress.fill_(progress)
        for group in self.optimiser.param_groups:
            group["lr"].fill_(group["factor"] * rate)

    def train(self, plan: Tensor) -> list[float]:
        """Run all steps of the next epoch by its plan; returns the loss of each."""
        if self._run is None:
            self._run, self.state["tier"], self.state["tier_reason"] = self.runner(plan)
        with self._draws.epoch(key(*self._where(self.state["epoch"]), "torch")):
            losses = self._run(plan)
        if self.stage.project_after == "epoch":
            self._project()
        return losses

    def runner(self, plan: Tensor) -> tuple[Epochs, Tier, str]:
        """What runs the epochs: in the task's tier, or eagerly with the reason why.

        Args:
            plan: of an epoch, on the device; a capture warms up with it and leaves no trace.
        """
        task, tier = self.task, self.task.tier
        eager = Eager(self.step, task.recipe.batch_size)
        if tier == "eager":
            return eager, "eager", ""
        if reason := self.method.eager_only or self.training.eager_only:
            return eager, "eager", reason
        static = Static(self.step, plan.shape, task.recipe.batch_size, task.device)
        try:
            remembered = self.net.memory.state_dict().values()
            static.capture(
                plan, [*self.net.state_dict().values(), *remembered, *state_of(self.optimiser), *self.average]
            )
        except RuntimeError as error:  # of CUDA or of the compiler; the record contains the reason
            return eager, "eager", f"capture failed: {why_failed(error)}"
        return static, tier, ""

    def step(self, columns: Tensor) -> Tensor:
        """Train on the columns [R, S * B] of a plan; returns the loss, 0-dim.

        This never waits for the device and replaces no tensor that is used later, so it may be captured.
        """
        loss = self.gradient(self.batch(columns))
        self.update()
        return loss.detach()

    def batch(self, columns: Tensor) -> Batch:
        """The augmented images and labels of the columns [R, S * B] of a plan."""
        task, streams = self.task, tuple(self.method.streams_of(self.stage))
        pixels, labels = self.training.batch(columns)
        index, _, noise = epoch_plan.split(columns, self.training.augmentations)
        return Batch(task.normalise(pixels), labels, streams, epoch_plan.noise_of(noise, len(streams)), index)

    def gradient(self, batch: Batch) -> Tensor:
        """Set the gradients of the parameters to those of a batch; returns the loss, 0-dim."""
        self.optimiser.zero_grad(set_to_none=True)
        if self.stage.gradient is not None:
            return self.stage.gradient(self.net, functools.partial(self.loss, batch))
        loss = self.loss(batch)
        loss.backward()
        return loss

    def loss(self, batch: Batch, loss: LossFunction | None = None) -> Tensor:
        """The loss of a batch, 0-dim, or another function of the method."""
        with self.task.autocast():
            return (loss or self.stage.loss or self.method.loss)(self.net, batch, self.clock)

    def update(self) -> None:
        """Update the parameters by their gradients, and the average of the network."""
        recipe = self.task.recipe
        if recipe.clip_grad is not None:
            clip_gradients(self.optimiser, recipe.clip_grad)
        self.optimiser.step()
        if self.stage.project_after == "step":
            self._project()
        if recipe.ema_decay is not None:
            torch._foreach_lerp_(self.average, self.live, 1 - recipe.ema_decay)

    @contextlib.contextmanager
    def with_average(self) -> Iterator[None]:
        """Evaluate the average of the network, where the recipe has one, in place of the network in training."""
        before = [value.clone() for value in self.live]
        self.take_average()
        yield
        for own, value in zip(self.live, before, strict=True):
            own.copy_(value)

    def take_average(self) -> None:
        """Replace the network in training by its average, where the recipe has one."""
        for own, value in zip(self.live, self.average, strict=True):
            own.copy_(value)

    def close(self) -> None:
        """Free what a captured stage holds on the device."""
        if isinstance(self._run, Static):
            self._run.close()

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the seconds spent inside to a number of the state."""
        started = time.perf_counter()
        yield
        self.state[name] += time.perf_counter() - started

    def _project(self) -> None:
        if self.stage.project is not None:
            with torch.no_grad():
                self.stage.project(self.net)

    def _training(self) -> TrainingSet:
        """The training images with the augmentations of the recipe and those that streams ask for."""
        height, width = self.task.data.train.images.shape[1:3]
        asked = [augment_of(stream) for stream in self.method.streams_of(self.stage).values()]
        others = [augment for augment in asked if augment is not None]
        return self.task.training.with_strong(augmentations(self.task.recipe, height, width, others))

    def _where(self, epoch: int) -> tuple[int, int, int]:
        """What keys the randomness of an epoch."""
        return self.task.seed, self.position, epoch


def compiled(batch_size: int) -> Callable[[nn.Module, Tensor], Tensor]:
    """A function that runs a backbone, or a part of it, compiled if it trains on a full batch.

    Only these batches are worth the time of a compilation: an epoch has at most one of another size, and evaluations
    are rare. The parts of one shape and the runs of one process share what was compiled.
    """
    torch._dynamo.config.recompile_limit = 64  # kinds of parts and sizes of batches; beyond it, torch stops compiling
    fast = torch.compile(run_part, dynamic=False)

    def run(part: nn.Module, images: Tensor) -> Tensor:
        full = len(images) % batch_size == 0 and not torch.is_inference_mode_enabled()
        features: Tensor = (fast if full else run_part)(part, images)
        return features

    return run


def network(method: Method, task: Task, position: int) -> Network:
    """A new network for a method. All methods of one seed start from the same backbone."""
    height, width, channels = task.data.train.images.shape[1:]
    branches = [key(task.seed, "backbone", *([k] if k else [])) for k in range(method.branches)]
    size = task.recipe.input_size(height, width)
    weights = task.recipe.weights.file if task.recipe.weights else None
    backbone, features = initialised_backbone(
        task.recipe.backbone, channels, size, branches, method.branches_own, method.branches_width, weights
    )
    heads = {}
    for name in method.heads:
        with seeded(key(task.seed, "head", name, position)):
            heads[name] = method.build_head(name, features, len(task.data.counts))
            if task.recipe.classifier_init == "ldam":
                initialise_as_ldam(heads[name])
    return Network(backbone, heads)


def trained_network(method: Method, task: Task, state: Mapping[str, Tensor]) -> Network:
    """The network of a stage on the device of a task, from its stored state.

    Args:
        method: the stage's.
        state: of the network, by name.
    """
    net = network(method, task, 0)
    restore(net, state)
    method.setup(torch.tensor(task.data.counts, dtype=torch.float64, device=task.device))
    return net.to(task.device).to(memory_format=torch.channels_last)


def take_over(net: Network, before: State, stage: Stage) -> None:
    """Copy the backbone of the stage before into a new network, and its heads where the stage keeps them.

    The first head continues the first head of the stage before, which predicts there, whatever their names are. Other
    heads continue those of the same name.
    """
    first, old = f"heads.{net.first}.", f"heads.{before['head']}."
    heads = {name: value for name, value in before["network"].items() if name.startswith("heads.")}
    kept = {name: value for name, value in heads.items() if not name.startswith((first, old))}
    kept |= {first + name.removeprefix(old): value for name, value in heads.items() if name.startswith(old)}
    shapes = {name: value.shape for name, value in net.state_dict().items()}
    backbone = {name: value for name, value in before["network"].items() if name.startswith("backbone.")}
    restore(net, backbone)
    if not stage.new_heads:
        restore(net, {name: value for name, value in kept.items() if shapes.get(name) == value.shape})


def restore(net: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Copy these values into a module's state, bit for bit."""
    own = net.state_dict()
    for name, value in values.items():
        own[name].copy_(value)

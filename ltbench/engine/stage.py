"""A stage under way: its network, optimiser, clock and progress."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ltbench.engine import epoch_plan
from ltbench.engine.augment import augmentations
from ltbench.engine.average import Average, count_statistics
from ltbench.engine.batches import TrainingSet
from ltbench.engine.networks import network, restore, take_over
from ltbench.engine.optimiser import clip_gradients, learning_rate, optimiser_of, state_of
from ltbench.engine.step import Eager, Epochs, Static, why_failed
from ltbench.engine.task import Task, Tier
from ltbench.method.contract import Batch, Clock, LossFunction, Method, Stage
from ltbench.method.samplers import augment_of
from ltbench.models.network import run_part
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
        strengths: [C] int64, how strongly each class is augmented in this epoch; on the CPU.
        late: whether the late loss of the stage is used.
        average: of the network, if the recipe or the stage has one.
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
        self.net = first = network(method, task, position)
        if before is not None:
            take_over(first, before, stage)
        if stage.new_network:
            self.net = network(method, task, position)
        with seeded(key(task.seed, "memory", position)):
            self.net.remember(method.build_memory(first, torch.tensor(task.data.counts, dtype=torch.float64)))
        for module in (self.net, self.net.memory):
            module.to(task.device).to(memory_format=torch.channels_last)
        self.training = self._training()
        if task.tier == "compiled":
            self.net.run = compiled(task.recipe.batch_size)
        method.setup(torch.tensor(task.data.counts, dtype=torch.float64, device=task.device))
        self.optimiser = optimiser_of(self.net, stage, task.recipe, task.device)
        self.average = Average(self.net, stage, task.recipe, self.epochs)
        self.clock = Clock(torch.zeros((), device=task.device))
        self.strengths, self.late = np.zeros(len(task.data.counts), np.int64), False
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
        for own, value in zip(self.average.values, saved["average"], strict=True):
            own.copy_(value)
        parts = ("network", "memory", "optimiser", "average")
        self.state = {name: value for name, value in saved.items() if name not in parts}
        if self.task.environment not in self.state["environments"]:
            self.state["environments"].append(self.task.environment)

    def to_save(self) -> State:
        """Everything that ``resume`` needs."""
        parts = {"network": self.net.state_dict(), "memory": self.net.memory.state_dict()}
        return self.state | parts | {"optimiser": self.optimiser.state_dict(), "average": self.average.values}

    def begin(self, epoch: int) -> Tensor:
        """Set clock, learning rate and mode for an epoch (from 0); returns its plan [R, S, draws] on the device."""
        task, stage, where = self.task, self.stage, self._where(epoch)
        self.set_to(epoch / self.epochs, learning_rate(task.recipe, stage, epoch, self.epochs))
        self.net.train()
        if stage.batch_norm == "eval":
            self.net.backbone.eval()
        plan = self._plan(epoch / self.epochs, where)
        return epoch_plan.with_noise(plan, self.method.noise, where).to(task.device)

    def set_to(self, progress: float, rate: float) -> None:
        """Set the clock and the learning rate, as tensors at fixed addresses, and the loss."""
        stage = self.stage
        late = stage.late_loss is not None and progress >= min(stage.late_from, 1 - 1 / self.epochs) - 1e-9
        if late != self.late:
            self.close()
            self.late, self._run, self._draws = late, None, Draws(self.task.device)
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
        self.average.after_epoch(self.state["epoch"])
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
            changed = [*self.net.state_dict().values(), *remembered, *state_of(self.optimiser), *self.average.values]
            static.capture(plan, changed)
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
        numbers, normalise = epoch_plan.noise_of(noise, len(streams)), task.normalise
        return Batch(normalise(pixels), labels, streams, numbers, index, normalise.mean, normalise.std)

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
        stage = self.stage
        usual = stage.late_loss if self.late else stage.loss
        with self.task.autocast():
            return (loss or usual or self.method.loss)(self.net, batch, self.clock)

    def update(self) -> None:
        """Update the parameters by their gradients, and the average of the network."""
        recipe = self.task.recipe
        if recipe.clip_grad is not None:
            clip_gradients(self.optimiser, recipe.clip_grad)
        self.optimiser.step()
        if self.stage.project_after == "step":
            self._project()
        self.average.after_step()

    @contextlib.contextmanager
    def with_average(self) -> Iterator[None]:
        """Evaluate the average of the network, where there is one, in place of the network in training."""
        with self.average.restored():
            with self.timed("evaluation_seconds"):
                self.take_average()
            yield

    def take_average(self) -> None:
        """Replace the network in training by its average, where there is one."""
        if self.average.begun(self.state["epoch"]):
            self.average.take()
            if self.average.first is not None and self.stage.batch_norm == "train":
                self._count_statistics()

    def _count_statistics(self) -> None:
        """Compute batch-norm statistics for the weights of now, on the images of another epoch."""
        where = (*self._where(self.state["epoch"]), "statistics")
        plan = self._plan(self.state["epoch"] / (self.epochs + 1), where).to(self.task.device)
        images = (self.batch(part.flatten(1)).images for part in plan.split(self.task.recipe.batch_size, dim=2))
        # in inference mode a compiled backbone is not used, which would be compiled again for every momentum
        with seeded(key(*where)), torch.inference_mode(), self.task.autocast():
            count_statistics(self.net, functools.partial(self.method.predict, self.net), images)

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

    def _plan(self, progress: float, where: tuple[object, ...]) -> Tensor:
        """The plan [R, S, draws] of an epoch, on the CPU, without the random numbers of the method."""
        task = self.task
        plan = epoch_plan.draw(
            task.pool,
            self.method.streams_of(self.stage),
            len(task.data.train),
            progress,
            self.training.augmentations,
            where,
            task.recipe.augment,
            lambda index: self.strengths[task.data.train.labels[index]],
        )
        self.training.begin(plan, task.recipe.batch_size)
        return plan

    def _project(self) -> None:
        if self.stage.project is not None:
            with torch.no_grad():
                self.stage.project(self.net)

    def _training(self) -> TrainingSet:
        """The training images with the augmentations of the recipe and those that streams ask for."""
        height, width = self.task.data.train.images.shape[1:3]
        streams = self.method.streams_of(self.stage).values()
        others = [augment for stream in streams if (augment := augment_of(stream)) is not None]
        graded = self.stage.strengths is not None
        return self.task.training.with_strong(augmentations(self.task.recipe, height, width, others, graded))

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

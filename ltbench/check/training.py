"""Checks that train the method on a small problem."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from ltbench.check.problem import CPU, TINY, Memory, differences, foundation, same_length, suited, train
from ltbench.check.subject import Broken, NotApplicable, Subject
from ltbench.data import Split
from ltbench.engine.evaluate import predictions
from ltbench.engine.networks import trained_network
from ltbench.engine.stage import RunningStage, State
from ltbench.engine.task import Task
from ltbench.method.contract import Batch, Method
from ltbench.method.hyperparameters import Choice, Range
from ltbench.randomness import generator

TAIL_PCT = 60.0  # recall that a method must reach on the two rarest of five classes; chance is 20


@functools.cache
def reference(chain: tuple[type[Method], ...]) -> list[State]:
    """The results of training the method on the tiny problem without interruption."""
    tiny = suited(TINY, chain)
    before, position = foundation(chain[:-1], tiny)
    return train(chain[-1], before, position, tiny.task(), change=same_length)


def finite(subject: Subject) -> str:
    """Loss and gradients of every stage are finite where classes have one image, and logits have the right shape."""
    before, position = foundation(subject.chain[:-1], subject.tiny)
    task, method = subject.tiny.task(), subject.method()
    total, classes = len(subject.tiny.data.train), len(subject.tiny.counts)
    pixels = task.normalise(torch.from_numpy(subject.tiny.data.train.images))
    labels = torch.from_numpy(subject.tiny.data.train.labels)
    places = torch.arange(total)
    for index, stage in enumerate(method.stages()):
        running = RunningStage(method, stage, position + index, task, before)
        net = running.net
        noise = torch.from_numpy(method.noise(total, generator("finite"))).float()
        streams = tuple(method.streams_of(stage))
        copies = len(streams)
        batch = Batch(pixels.repeat(copies, 1, 1, 1), labels.repeat(copies), streams, noise, places.repeat(copies))
        batch = dataclasses.replace(batch, mean=task.normalise.mean, std=task.normalise.std)
        for progress in (0.0, 0.9) if stage.epochs else ():
            running.set_to(progress, 0.0)
            loss = running.loss(batch)
            if loss.shape != ():
                raise Broken(f"the loss has shape {tuple(loss.shape)}; it must be a 0-dim tensor, such as a mean")
            if not loss.isfinite():
                raise Broken(f"the loss is {loss.item()} at progress {progress}")
            if what := changed_by(running, batch):
                raise Broken(f"the gradient of a step changes {what}; put the weights back where they were")
            gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
            if not gradients:
                raise Broken("the loss gives no gradient to any parameter")
            if wrong := [name for name, gradient in gradients.items() if not gradient.isfinite().all()]:
                raise Broken(f"the gradient of {wrong[0]} is not finite at progress {progress}")
    with torch.inference_mode():
        shape = tuple(method.predict(net.eval(), pixels).shape)
    if shape != (total, classes):
        raise Broken(f"predict gives logits of shape {shape} for {total} images and {classes} classes")
    return ""


def changed_by(running: RunningStage, batch: Batch) -> str:
    """Compute the gradient of a batch; returns the first parameter that this changed, empty where there is none."""
    before = {name: value.detach().clone() for name, value in running.net.named_parameters()}
    running.gradient(batch)
    return next((name for name, v in running.net.named_parameters() if not torch.equal(v, before[name])), "")


def learns(subject: Subject) -> str:
    """Mean recall of the rarest classes is far above chance."""
    before, position = foundation(subject.chain[:-1], subject.easy)
    hits = train(subject.method, before, position, subject.easy.task())[-1]["evaluations"][-1]["test"]["hits"]
    recall = 100 * sum(hits[-2:]) / (2 * subject.easy.held_out)
    reached = f"{recall:.0f} % recall on the two rarest of {len(subject.easy.counts)} classes"
    if recall < TAIL_PCT:
        raise Broken(f"{reached}; it must reach {TAIL_PCT:.0f} %, and chance is {100 / len(subject.easy.counts):.0f} %")
    return reached


def test_split(subject: Subject) -> str:
    """Other test images lead to the same trained network, and no prediction depends on other images of its batch."""
    before, position = foundation(subject.chain[:-1], subject.tiny)
    usual = subject.tiny.data.test
    assert usual is not None
    half = len(usual) // 2
    strangers = generator("strangers").integers(256, size=(2 * half + 1, *usual.images.shape[1:]), dtype=np.uint8)
    images = np.concatenate([usual.images[:half], strangers])
    other = Split(images, np.arange(len(images)) % len(subject.tiny.counts))
    changed = Task.of(dataclasses.replace(subject.tiny.data, test=other), subject.tiny.recipe, 0, CPU)
    seen, unseen = (
        reference(subject.chain),
        train(subject.method, before, position, changed, change=same_length),
    )
    if what := differences(seen, unseen):
        raise Broken(f"training with other test images changes {what}: it must not use the test split")
    mine, theirs = (states[-1]["logits"]["test"][:half].float() for states in (seen, unseen))
    if not torch.allclose(mine, theirs, rtol=1e-2, atol=1e-2):  # stored in half precision
        raise Broken("the logits of an image depend on the other test images in its batch")
    return ""


def resume(subject: Subject) -> str:
    """Killed after the first epoch of every stage, it continues to exactly the same numbers."""
    if not any(stage.epochs for stage in subject.method().stages()):
        raise NotApplicable("it trains nothing of its own")
    before, position = foundation(subject.chain[:-1], subject.tiny)
    resumed = train(subject.method, before, position, subject.tiny.task(), lambda: Memory(dies=True), same_length)
    if what := differences(reference(subject.chain), resumed):
        raise Broken(f"stopping and resuming changes {what}: store everything that must be remembered in the network")
    return ""


def stored(subject: Subject) -> str:
    """The stored network predicts what the trained one did: test images are evaluated with the stored one."""
    state, task, method = reference(subject.chain)[-1], subject.tiny.task(), subject.method()
    net = trained_network(method, task, state["network"])
    found = predictions(method, net, task, task.held_out["test"], state["epoch"]).logits
    if not np.array_equal(found, state["logits"]["test"].numpy()):
        raise Broken("the stored network predicts otherwise: store everything that predict needs in the network")
    return ""


def deterministic(subject: Subject) -> str:
    """One seed gives the same numbers bit for bit, and another seed gives others."""

    def again(seed: int) -> list[State]:
        before, position = foundation(subject.chain[:-1], subject.tiny, seed)
        return train(subject.method, before, position, subject.tiny.task(seed), change=same_length)

    if what := differences(reference(subject.chain), again(0)):
        raise Broken(f"training twice with the same seed changes {what}: draw random numbers in noise()")
    if not differences(reference(subject.chain), again(1)):
        raise Broken("another seed gives the same network: a post-hoc step or the loss ignores what was trained")
    return ""


def ends(subject: Subject) -> str:
    """It trains to finite numbers with both ends of every range and with every choice."""
    tried = list(values_to_try(subject.method))
    if not tried:
        raise NotApplicable("it has no hyper-parameters")
    before, position = foundation(subject.chain[:-1], subject.tiny)
    for name, value in tried:
        try:
            train(functools.partial(subject.method, **{name: value}), before, position, subject.tiny.task())
        except Exception as error:
            raise Broken(f"{name}={value}: {subject.described(error)}") from error
    return f"{len(tried)} values tried"


def values_to_try(method: type[Method]) -> Iterator[tuple[str, Any]]:
    """The ends of every range and all choices, without the defaults, each with the name of its hyper-parameter."""
    for name, parameter in method.space().items():
        values: tuple[Any, ...] = ()
        if isinstance(parameter, Range):
            values = (parameter.low, parameter.high)
        elif isinstance(parameter, Choice):
            values = parameter.options
        yield from ((name, value) for value in dict.fromkeys(values) if value != parameter.default)

"""The contract tests over the registry; and for each of them a broken method that it must refuse."""

import re
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ltbench.check import CHECKS, Check, Subject
from ltbench.method.registry import discover

REGISTRY = discover()
CPU = torch.device("cpu")
BY_NAME = {check.name: check for check in CHECKS}
MINE = """
import numpy as np
import torch
import torch.nn.functional as F
from ltbench import Method, Range, Choice, Stage, class_balanced
class Mine(Method):
    "Broken on purpose."
"""
WRITTEN = {
    "stored network": [
        (
            "def stages(self):\n return (Stage(finish=self.end),)\n"
            "def end(self, net, features):\n self.bias = torch.arange(4.0)\n"
            "def predict(self, net, images):\n return net(images) + getattr(self, 'bias', 0)",
            "store everything that predict needs in the network",
        ),
        (
            "def build_memory(self, net, counts):\n memory = torch.nn.Module()\n"
            " memory.register_buffer('bias', counts.float())\n return memory\n"
            "def predict(self, net, images):\n return net(images) + net.memory.get_buffer('bias')",
            "has no attribute.*bias.*mine.py, line 13",
        ),
    ],
    "data": [
        (
            "def setup(self, counts):\n from ltbench.data import load\n self.seen = load('digits').test",
            r"ltbench.data reads data sets \(mine.py, line 9\)",
        ),
        ("def setup(self, counts):\n import gc\n self.seen = gc.get_objects()", "gc finds every object of the process"),
        (
            "def setup(self, counts):\n import sys\n self.seen = sys._getframe(3).f_locals",
            r"_getframe\(\) finds the variables of its callers",
        ),
        ("def setup(self, counts):\n self.seen = np.load('results/arrays/x.npz')", r"load\(\) reads files"),
        ("def setup(self, counts):\n from sklearn.datasets import load_digits", "sklearn.datasets reads data sets"),
    ],
    "finite": [
        ("def loss(self, net, batch, clock):\n return super().loss(net, batch, clock) / 0", "the loss is inf"),
        ("def loss(self, net, batch, clock):\n return net(batch.images).sum(1)", r"shape \(16,\)"),
        (
            "def loss(self, net, batch, clock):\n return (net(batch.images) * 0).abs().sqrt().sum()",
            "the gradient of .* is not finite",
        ),
        (
            "def setup(self, counts):\n self.w = (1 / (counts - 1).log()).float()\n"
            "def loss(self, net, batch, clock):\n return F.cross_entropy(net(batch.images), batch.labels, self.w)",
            "the loss is nan",
        ),
        ("def predict(self, net, images):\n return net.features(images)", r"logits of shape \(16, 64\)"),
        (
            "def stages(self):\n return (Stage(gradient=self.move),)\n"
            "def move(self, net, loss_of):\n loss = loss_of()\n loss.backward()\n"
            " net.heads['main'].bias.data.add_(1)\n return loss",
            "the gradient of a step changes heads.main.bias; put the weights back where they were",
        ),
        (
            "def stages(self):\n return (Stage(gradient=self.nothing),)\n"
            "def nothing(self, net, loss_of):\n return loss_of()",
            "the loss gives no gradient to any parameter",
        ),
    ],
    "learns": [
        ("def loss(self, net, batch, clock):\n return net(batch.images).square().mean()", "chance is 20 %"),
        (
            "def loss(self, net, batch, clock):\n return F.cross_entropy(net(batch.images), batch.labels * 0)",
            "0 % recall on the two rarest",
        ),
        (
            "def predict(self, net, images):\n return torch.eye(5)[4].expand(len(images), 5)",
            "50 % recall on the two rarest",
        ),
        (
            "def setup(self, counts):\n self.bias = counts.float()\n"
            "def predict(self, net, images):\n return net(images) + self.bias",
            "0 % recall on the two rarest",
        ),
    ],
    "test split": [
        (
            "def predict(self, net, images):\n net.backbone.train()\n return net(images)",
            "training with other test images changes|depend on the other test images",
        ),
        (
            "def predict(self, net, images):\n z = net(images)\n return z - z.mean(0)",
            "depend on the other test images",
        ),
        (
            "def predict(self, net, images):\n net.heads['main'].bias.add_(net(images).mean(0))\n return net(images)",
            "training with other test images changes",
        ),
        (
            "def stages(self):\n return (Stage(finish=self.peek),)\ndef peek(self, net, features):\n features('test')",
            "may look at 'train' and 'val', not at 'test'",
        ),
    ],
    "resume": [
        (
            "seen = 0\ndef loss(self, net, batch, clock):\n self.seen += 1\n"
            " return super().loss(net, batch, clock) * self.seen",
            "stopping and resuming changes the losses",
        ),
        (
            "def build_memory(self, net, counts):\n memory = torch.nn.Module()\n memory.seen = counts[0] * 0\n"
            " return memory\ndef loss(self, net, batch, clock):\n net.memory.seen += 1\n"
            " return super().loss(net, batch, clock) * net.memory.seen.float()",
            "stopping and resuming changes the losses",  # a tensor, but no buffer
        ),
    ],
    "deterministic": [
        (
            "def loss(self, net, batch, clock):\n return super().loss(net, batch, clock) * np.random.rand()",
            "training twice with the same seed changes the losses",
        ),
        (
            "def stages(self):\n return (Stage(epochs=0, finish=self.forget),)\n"
            "def forget(self, net, features):\n for v in net.state_dict().values():\n  v.zero_()",
            "another seed gives the same",
        ),
    ],
    "ranges": [
        (
            "power = Range(1.0, 0.0, 1.0)\ndef loss(self, net, batch, clock):\n"
            " return super().loss(net, batch, clock) / self.power",
            "power=0.0: .*[Dd]ivision by zero|power=0.0: .*loss became inf",
        ),
        (
            "mode = Choice('a', ('a', 'b'))\ndef loss(self, net, batch, clock):\n"
            " return {'a': super().loss}[self.mode](net, batch, clock)",
            "mode=b: KeyError: 'b' .mine.py, line 10",
        ),
    ],
    "cost": [
        (
            "streams = {'a': class_balanced, 'b': class_balanced}",
            "declares cost = 1, but the operations of all stages give 2.00",
        ),
        ("cost = 1.5", "declares cost = 1.5, but the operations of all stages give 1.00"),
        (
            "def stages(self):\n return (Stage(late_loss=self.twice, late_from=0.6),)\n"
            "def twice(self, net, batch, clock):\n return self.loss(net, batch, clock) + self.loss(net, batch, clock)",
            "give 1.40",
        ),
        (
            "def stages(self):\n return (Stage(before_epoch=lambda net, features, labels: None),)",
            "give 1.33",
        ),
    ],
    "no waiting": [
        (f"def loss(self, net, batch, clock):\n {line}\n return super().loss(net, batch, clock)", said)
        for line, said in [
            ("batch.labels[0].item()", r"a value is read on the host.*mine.py, line 9"),
            ("assert not clock.progress > 1", "a value is read"),
            ("float(clock.progress)", "a value is read"),
            ("batch.labels[batch.labels > 1]", "by a mask"),
            ("batch.labels.unique()", "the size of a result depends on values"),
            ("batch.labels.bincount()", "the size of a result depends on values"),
            ("torch.where(batch.labels)", "the size of a result depends on values"),
            ("batch.labels.repeat_interleave(batch.labels)", "the size of a result depends on values"),
            ("torch.tensor([1.0])", r"created from host values in the step \(tensor\); create it in setup"),
            ("torch.as_tensor(1.0)", "created from host values"),
            ("batch.labels.cpu()", "copied to the host"),
            ("batch.labels.numpy()", "can't convert cuda:0"),
            ("print(clock.progress)", "a value is read"),
            ("torch.cuda.synchronize()", "the host waits for the device"),
            ("torch.ones(3).to(batch.images.device)", "copied to the device"),
            ("clock.progress + torch.ones(3)", "expected all tensors to be on the same device"),
        ]
    ]
    + [
        (
            "counts = torch.zeros(1)\ndef setup(self, counts):\n self.counts = counts\n"
            "def streams_of(self, stage):\n return {'main': self.draw}\n"
            "def draw(self, pool, draws, progress, generator):\n"
            " return generator.permutation(draws) + int(0 * self.counts.sum())",
            r"a value is read on the host.*mine.py, line 14",
        ),
    ],
    "CUDA graph": [
        (
            "seen = []\ndef loss(self, net, batch, clock):\n self.seen.append(0)\n"
            " return super().loss(net, batch, clock) * len(self.seen)",
            "replaying the captured step changes the losses",
        ),
        (
            "heads = ('main', 'spare')\nseen = []\ndef stages(self):\n return (Stage(project=self.grow),)\n"
            "def grow(self, net):\n self.seen.append(0)\n net.heads['spare'].bias.fill_(len(self.seen))",
            "replaying the captured step changes heads.spare.bias",
        ),
        (
            "def build_memory(self, net, counts):\n memory = torch.nn.Module()\n"
            " memory.register_buffer('seen', torch.zeros(()))\n return memory\n"
            "def loss(self, net, batch, clock):\n net.memory.seen = net.memory.seen + 1\n"
            " return super().loss(net, batch, clock) * net.memory.seen",
            "replaying the captured step changes the losses",
        ),
        (
            "def stages(self):\n return (Stage(gradient=self.weaker),)\nseen = []\n"
            "def weaker(self, net, loss_of):\n self.seen.append(0)\n loss = loss_of() / len(self.seen)\n"
            " loss.backward()\n return loss",
            "replaying the captured step changes the losses",
        ),
        (
            "def loss(self, net, batch, clock):\n return super().loss(net, batch, clock) * np.random.rand()",
            "replaying the captured step changes the losses",
        ),
        (
            "def setup(self, counts):\n self.share = counts.float().mean()\n"
            "def loss(self, net, batch, clock):\n self.share = self.share * 0.9\n"
            " return super().loss(net, batch, clock) * self.share",
            "replaying the captured step changes the losses",
        ),
        (
            "def loss(self, net, batch, clock):\n return super().loss(net, batch, clock) * batch.labels.max().item()",
            r"capture failed: .*a value is read.*\(mine.py, line 9\)",
        ),
        (
            "def predict(self, net, images):\n return torch.from_numpy(net(images).numpy())",
            r"can't convert cuda:0 .*mine.py, line 9",
        ),
        (
            "def stages(self):\n return (Stage(finish=self.shift),)\n"
            "def shift(self, net, features):\n net.heads['main'].bias += torch.ones(len(net.heads['main'].bias))",
            r"expected all tensors to be on the same device.*mine.py, line 11",
        ),
    ],
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("name", REGISTRY)
def test_every_method_keeps_the_contract(name: str, check: Check) -> None:
    outcome = check(Subject.of(REGISTRY, name, CPU))
    assert outcome.status != "failed", outcome.why
    assert outcome.status == "passed" or outcome.why


@pytest.mark.gpu
@pytest.mark.parametrize("check", [BY_NAME["no waiting"], BY_NAME["CUDA graph"]], ids=lambda check: check.name)
@pytest.mark.parametrize("name", REGISTRY)
def test_every_method_keeps_the_contract_on_a_gpu(name: str, check: Check) -> None:
    outcome = check(Subject.of(REGISTRY, name, torch.device("cuda")))
    assert outcome.status != "failed", outcome.why


@pytest.fixture
def subject(tmp_path: Path) -> Callable[[str], Subject]:
    """A method with this text in its class."""

    def make(text: str) -> Subject:
        file = tmp_path / "mine.py"
        file.write_text(MINE + textwrap.indent(text, "    "))
        registry = discover(files=[file])
        assert registry.broken == {}
        return Subject.of(registry, "mine", CPU)

    return make


BROKEN = [(name, text, said) for name, cases in WRITTEN.items() for text, said in cases]


@pytest.mark.parametrize(("name", "text", "said"), BROKEN, ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(BROKEN)])
def test_a_broken_method_is_refused_with_the_reason(
    subject: Callable[[str], Subject], name: str, text: str, said: str
) -> None:
    outcome = BY_NAME[name](subject(text))
    assert outcome.status == "failed"
    assert re.search(said, outcome.why), outcome.why
    assert "\n" not in outcome.why


def test_a_file_that_only_loads_beside_another_is_refused(tmp_path: Path, subject: Callable[[str], Subject]) -> None:
    mine = subject("pass")
    assert BY_NAME["imports"](mine).status == "passed"
    text = mine.file.read_text()
    mine.file.write_text("import sys\nassert 'ltbench.check' in sys.modules, 'alone'\n" + text)
    registry = discover(files=[mine.file])
    assert registry.broken == {}
    outcome = BY_NAME["imports"](Subject.of(registry, "mine", CPU))
    assert (outcome.status, outcome.why) == ("failed", "AssertionError: alone")


def test_what_cannot_be_checked_says_why(subject: Callable[[str], Subject]) -> None:
    declared = subject("eager_only = 'sorts on the host'")
    outcome = BY_NAME["no waiting"](declared)
    assert (outcome.status, outcome.why) == ("not applicable", "it declares: sorts on the host")
    assert BY_NAME["CUDA graph"](declared).why == "on a pretended GPU, 0 operations captured"
    assert BY_NAME["ranges"](declared).why == "it has no hyper-parameters"
    assert BY_NAME["resume"](Subject.of(REGISTRY, "tau_norm", CPU)).why == "it trains nothing of its own"


def test_one_hot_is_no_waiting_where_it_knows_the_classes(subject: Callable[[str], Subject]) -> None:
    text = "def loss(self, net, batch, clock):\n F.one_hot(batch.labels, 4)\n return super().loss(net, batch, clock)"
    assert BY_NAME["no waiting"](subject(text)).status == "passed"


@pytest.mark.gpu
def test_a_step_that_reads_a_value_is_refused_on_a_gpu(subject: Callable[[str], Subject]) -> None:
    text = "def loss(self, net, batch, clock):\n batch.labels[0].item()\n return super().loss(net, batch, clock)"
    mine = replace(subject(text), device=torch.device("cuda"))
    assert BY_NAME["no waiting"](mine).status == "failed"  # a capture that fails has a process of its own elsewhere


def test_a_plain_method_passes_everything(subject: Callable[[str], Subject]) -> None:
    mine = subject("pass")
    assert {check(mine).status for check in CHECKS} == {"passed", "not applicable"}


def test_a_method_whose_stages_name_their_functions_passes_everything(subject: Callable[[str], Subject]) -> None:
    text = (
        "def stages(self):\n return (Stage(loss=self.other, project=self.keep, finish=self.look),)\n"
        "def setup(self, counts):\n self.zero = 0 * counts.sum().float()\n"
        "def other(self, net, batch, clock):\n return super().loss(net, batch, clock) + self.zero\n"
        "def keep(self, net):\n pass\n"
        "def look(self, net, features):\n features('train')"
    )
    mine = subject(text)
    assert {check(mine).status for check in CHECKS} == {"passed", "not applicable"}

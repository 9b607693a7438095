"""The list of checks, and how they are run."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch

from ltbench.check import sight, steps, training
from ltbench.check.subject import Broken, NotApplicable, Outcome, Subject
from ltbench.method.loading import error_of_loading, is_file_module


@dataclass(frozen=True)
class Check:
    """A requirement on every method.

    Attributes:
        name: of the check, in one or two words.
        run: returns a remark where the method passes; raises Broken or NotApplicable with the reason in one line. Its
            docstring states the requirement.
    """

    name: str
    run: Callable[[Subject], str]

    @property
    def about(self) -> str:
        """The requirement, in one sentence."""
        return (self.run.__doc__ or "").split("\n")[0]

    def __call__(self, subject: Subject) -> Outcome:
        """Run the check. An error that the method's code raises is a failure of the method."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the problems are so small that more threads would only wait
        try:
            return Outcome("passed", self.run(subject))
        except NotApplicable as reason:
            return Outcome("not applicable", str(reason))
        except Exception as error:
            return Outcome("failed", subject.described(error))
        finally:
            torch.set_num_threads(threads)


def imports(subject: Subject) -> str:
    """The file loads in a new process without any other method, and the method can be used."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["ltbench.method.registry"])
    module = None if is_file_module(subject.method) else subject.method.__module__
    with ProcessPoolExecutor(1, mp_context=context) as fresh:
        if why := fresh.submit(error_of_loading, subject.file, module).result():
            raise Broken(why)
    return ""


CHECKS = (
    Check("imports", imports),
    Check("data", sight.sight),
    Check("finite", training.finite),
    Check("learns", training.learns),
    Check("test split", training.test_split),
    Check("resume", training.resume),
    Check("stored network", training.stored),
    Check("deterministic", training.deterministic),
    Check("ranges", training.ends),
    Check("cost", steps.cost),
    Check("no waiting", steps.no_waiting),
    Check("CUDA graph", steps.graph),
)


def examine(subject: Subject) -> Iterator[tuple[Check, Outcome]]:
    """Run every check, one after another."""
    for check in CHECKS:
        yield check, check(subject)


def unusable(why: str) -> tuple[Check, Outcome]:
    """The outcome for a file that could not be loaded, so that the other checks cannot run."""
    return CHECKS[0], Outcome("failed", why)

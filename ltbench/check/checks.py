"""The list of checks, and how one is carried out."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch

from ltbench.check import steps, training
from ltbench.check.subject import Broken, NotApplicable, Outcome, Subject
from ltbench.method.loading import error_of_loading, is_file_module


@dataclass(frozen=True)
class Check:
    """One thing that every method must keep.

    Attributes:
        name: of the check, in a word or two.
        carry_out: returns a remark where the method passes; raises Broken or NotApplicable with one line that says why.
    """

    name: str
    carry_out: Callable[[Subject], str]

    @property
    def about(self) -> str:
        """What is checked, in a sentence."""
        return (self.carry_out.__doc__ or "").split("\n")[0]

    def __call__(self, subject: Subject) -> Outcome:
        """Carry it out. Whatever the method's code raises is a failure of the method."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the problems are so small that a second thread only waits
        try:
            return Outcome("passed", self.carry_out(subject))
        except NotApplicable as reason:
            return Outcome("not applicable", str(reason))
        except Exception as error:
            return Outcome("failed", subject.described(error))
        finally:
            torch.set_num_threads(threads)


def imports(subject: Subject) -> str:
    """The file loads in a fresh process, in which no other method was loaded."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["ltbench.method.registry"])
    module = None if is_file_module(subject.method) else subject.method.__module__
    with ProcessPoolExecutor(1, mp_context=context) as fresh:
        if why := fresh.submit(error_of_loading, subject.file, module).result():
            raise Broken(why)
    return ""


CHECKS = (
    Check("imports", imports),
    Check("finite", training.finite),
    Check("learns", training.learns),
    Check("test split", training.test_split),
    Check("resume", training.resume),
    Check("deterministic", training.deterministic),
    Check("ranges", training.ends),
    Check("cost", steps.cost),
    Check("no waiting", steps.no_waiting),
    Check("fixed places", steps.fixed_places),
    Check("CUDA graph", steps.graph),
)


def examine(subject: Subject) -> Iterator[tuple[Check, Outcome]]:
    """Carry out every check in turn."""
    for check in CHECKS:
        yield check, check(subject)


def unusable(why: str) -> tuple[Check, Outcome]:
    """The outcome for a file that could not be loaded here, which leaves nothing to check."""
    return CHECKS[0], Outcome("failed", why)

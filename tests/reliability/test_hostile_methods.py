"""Method files that are broken: each breaks only itself, and is listed with one line."""

from pathlib import Path

import pytest

from tests.reliability.attack import Attack, fault

HEAD = "from ltbench import Method, Range, Stage\n"


def written(body: str, name: str = "mine") -> None:
    """A file ``methods/mine.py``."""
    Path("methods").mkdir(exist_ok=True)
    (Path("methods") / f"{name}.py").write_text(body)


def of_class(body: str) -> str:
    """A file with a method of this body."""
    return f"{HEAD}class Mine(Method):\n    {body}\n"


BROKEN = {
    "streams = None": (of_class("streams = None"), "streams = None; allowed: a dictionary of Stream by name"),
    "a stream that is a number": (of_class("streams = {'main': 7}"), "streams = {'main': 7}; allowed"),
    'cost = "a"': (of_class("cost = 'a'"), "cost = 'a'; allowed: a number from 0 on"),
    "cost = nan": (of_class("cost = float('nan')"), "cost = nan; allowed: a number from 0 on"),
    "after = 7": (of_class("after = 7"), "after = 7; allowed: a name, or None"),
    "heads = ()": (of_class("heads = ()"), "heads = (); allowed: a tuple of names of heads"),
    "branches = '2'": (of_class("branches = '2'"), "branches = '2'; allowed: 1 to 64"),
    "branches = 10**9": (of_class("branches = 10**9"), "allowed: 1 to 64"),
    "an unknown classifier": (of_class("classifier = 'x'"), "allowed: one of linear, cosine, scaled"),
    "published = 5": (of_class("published = 5"), "published = 5; allowed: Published(...)"),
    "a docstring that is a number": (of_class("__doc__ = 5"), "__doc__ = 5; allowed: a text"),
    "a range of texts": (of_class("g = Range('a', 1, 2)"), "TypeError"),
    "an exception in stages()": (of_class("def stages(self): 1 / 0"), "stages() fails: ZeroDivisionError"),
    "stages() returns nothing": (of_class("def stages(self): pass"), "stages() returns None; return a tuple"),
    "stages() returns texts": (of_class("def stages(self): return ['a']"), "return Stage(...)"),
    "stages() returns no stage": (of_class("def stages(self): return ()"), "return a tuple of 1 to 100 stages"),
    "a stage without streams": (of_class("def stages(self): return (Stage(streams={}),)"), "streams of stage 'train'"),
    "a stage of -1 epochs": (of_class("def stages(self): return (Stage(epochs=-1),)"), "epochs of stage 'train'"),
    "a stage that trains nothing": (
        of_class("def stages(self): return (Stage(trains={}),)"),
        "trains of stage 'train'",
    ),
    "an exception in __init__": (of_class("def __init__(self, **k): 1 / 0"), "__init__ fails: ZeroDivisionError"),
    "SystemExit in __init__": (of_class("def __init__(self, **k): raise SystemExit(0)"), "__init__ fails: SystemExit"),
    "sys.exit(0) at import": ("import sys\nsys.exit(0)\n", "SystemExit: 0"),
    "a BaseException at import": ("class E(BaseException): pass\nraise E('no')\n", "E: no"),
    "a class whose attributes cannot be read": (
        f"{HEAD}class M(type):\n    def __getattribute__(c, n): raise OSError('m')\n"
        "class Mine(Method, metaclass=M): pass\n",
        "OSError: m",
    ),
    "a null byte": ("a = 1\0", "SyntaxError"),
    "5,000 brackets": ("x = " + 5000 * "(", "SyntaxError: too many nested parentheses"),
    "a message with ESC and markup": ("raise ValueError('[/red] \\x1b[31m')\n", r"ValueError: [/red] \x1b[31m"),
}


@pytest.mark.parametrize("what", BROKEN)
@fault("Methods", "a method file that is broken: class attributes, stages(), __init__, import")
def test_a_broken_method_file_breaks_only_itself(attack: Attack, what: str) -> None:
    body, says = BROKEN[what]
    written(body)
    for words, done in ((("ls", "methods"), "weighted_ce"), (("run", "--dry-run", "--methods", "ce"), "6 cells")):
        answer = attack(*words)
        assert answer.status == 0, answer
        assert done in answer.out + answer.err
        assert "\x1b[31m" not in answer.out + answer.err
        assert says in " ".join(f"{answer.err}\n{answer.out}".split()), answer
    attack.shown(attack("run", "--dry-run", "--methods", "mine"), 1, says)


@fault("Methods", "a method that comes after a broken one")
def test_a_method_after_a_broken_one(attack: Attack) -> None:
    written(of_class("cost = 'a'"))
    written(of_class("after = 'mine'"), "theirs")
    assert attack("run", "--dry-run", "--methods", "ce").status == 0
    attack.shown(attack("run", "--dry-run", "--methods", "theirs"), 1, "cost = 'a'; allowed: a number from 0 on")


@fault("Methods", "a method whose stages() fails for one value of a hyper-parameter")
def test_a_method_that_fails_for_one_value(attack: Attack) -> None:
    written(of_class("g = Range(1.0, 0.0, 2.0)\n    def stages(self): return (Stage(epochs=1 / self.g),)"))
    assert attack("run", "--dry-run", "--methods", "mine").status == 0
    answer = attack("run", "--dry-run", "--methods", "mine(g=0.0)")
    attack.shown(answer, 2, "mine(g=0.0) fails: ZeroDivisionError: float division by zero")

"""Results folders that are damaged."""

from ltbench.results.store import Store
from tests.conftest import FAST
from tests.reliability.attack import Attack, fault


@fault("Results folder", "a record is cut in half")
def test_a_record_that_is_cut_in_half(attack: Attack) -> None:
    assert attack("run", *FAST, "--methods", "ce").status == 0
    (path,) = Store().root.glob("records/*.json")
    path.write_bytes(path.read_bytes()[:200])
    attack.shown(attack("leaderboard"), 2, "is not a record of ltbench")

"""The cells of a plan, divided among machines so that no stage is trained twice."""

from collections.abc import Iterable, Sequence

from ltbench.plan.expand import Planned


def shard(cells: Sequence[Planned], part: int, parts: int) -> tuple[Planned, ...]:
    """The cells of one part; the same on every machine that has the same plan.

    Cells that share a stage are in the same part. The longest group goes first to the part with the least work, so a
    part is empty where there are fewer groups than parts.

    Args:
        cells: all cells of the plan, done or not.
        part: from 1 to ``parts``.
    """
    loads, mine = [0.0] * parts, set[str]()
    for group in sorted(_groups(cells), key=lambda group: (-_work(group), group[0].cell.id)):
        least = loads.index(min(loads))
        loads[least] += _work(group)
        if least == part - 1:
            mine |= {planned.cell.id for planned in group}
    return tuple(planned for planned in cells if planned.cell.id in mine)


def _groups(cells: Iterable[Planned]) -> list[list[Planned]]:
    """Cells that share stages, directly or through others."""
    groups: list[tuple[set[str], list[Planned]]] = []
    for planned in cells:
        stages, members = {stage.id for stage in planned.stages}, [planned]
        apart = []
        for group in groups:
            if stages.isdisjoint(group[0]):
                apart.append(group)
            else:
                stages, members = stages | group[0], group[1] + members
        groups = [*apart, (stages, members)]
    return [members for _, members in groups]


def _work(group: Iterable[Planned]) -> float:
    """The work of a group, with each stage once."""
    return sum({stage.id: stage.work for planned in group for stage in planned.stages}.values())

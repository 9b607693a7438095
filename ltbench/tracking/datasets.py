"""The data sets of a run: the long-tailed training split and the split that is reported, each with its source."""

import json
from typing import NamedTuple

from ltbench.data.sources import is_own
from ltbench.errors import InputError
from ltbench.plan.cell import digest
from ltbench.plan.repeat import request_of
from ltbench.results.record import Record

HOMES = {
    "digits": "https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_digits.html",
    "fashion-mnist": "https://github.com/zalandoresearch/fashion-mnist",
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar.html",
    "cifar100": "https://www.cs.toronto.edu/~kriz/cifar.html",
    "imagenet-lt": "https://liuziwei7.github.io/projects/LongTail.html",
    "places-lt": "https://liuziwei7.github.io/projects/LongTail.html",
    "inaturalist2018": "https://github.com/visipedia/inat_comp/tree/master/2018",
    "tiny-imagenet": "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
}
"""Where the official data sets are published."""


class Data(NamedTuple):
    """A split of a data set, as MLflow stores it.

    Attributes:
        context: ``train``, ``validation`` or ``test``.
        digest: hash of its images.
        kind: ``http``, ``hugging_face`` or ``local``, MLflow's kind of the source.
        source: where the images are from, as JSON.
        profile: the number of images of each class, as JSON.
    """

    context: str
    name: str
    digest: str
    kind: str
    source: str
    profile: str


def splits_of(record: Record) -> tuple[Data, ...]:
    """The splits that a cell was trained on and, where it is finished, measured on."""
    kind, source = _source(record)
    result = record.result
    cut = digest([record.fingerprint, record.imbalance, record.subset_seed, record.holdout])
    counts = result.class_counts if result else ()
    train = Data("train", f"{record.dataset}, {record.imbalance}", cut, kind, source, _profile(counts))
    if result is None:
        return (train,)
    measured = digest([record.fingerprint, result.measured_on, *([] if result.measured_on == "test" else [cut])])
    context = "test" if result.measured_on == "test" else "validation"
    return train, Data(context, f"{record.dataset}, {context}", measured, kind, source, _profile(result.test_counts))


def _profile(counts: tuple[int, ...]) -> str:
    return json.dumps({"images": sum(counts), "classes": list(counts) or None})


def _source(record: Record) -> tuple[str, str]:
    """Where the images of a cell are from: the place that its command names, or where they are published."""
    name = record.dataset.partition(" (")[0]
    try:
        request, _ = request_of(record.command)
    except InputError:  # a record that was edited
        return _place(name)
    (dataset,) = request.datasets or (name,)
    return _place(request.data.get(dataset, dataset))


def _place(place: str) -> tuple[str, str]:
    kind, _, rest = place.partition(":")
    if kind == "hf":
        return "hugging_face", json.dumps({"path": rest})
    if place in HOMES:
        return "http", json.dumps({"url": HOMES[place]})
    return "local", json.dumps({"uri": rest if is_own(place) else place})

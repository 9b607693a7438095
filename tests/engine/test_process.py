"""Settings of the process."""

import os

import pytest

from ltbench.engine.process import prepare


def test_a_gpu_gets_a_queue_for_each_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_DEVICE_MAX_CONNECTIONS", raising=False)
    prepare()
    assert int(os.environ["CUDA_DEVICE_MAX_CONNECTIONS"]) >= 16
    monkeypatch.setenv("CUDA_DEVICE_MAX_CONNECTIONS", "4")
    prepare()
    assert os.environ["CUDA_DEVICE_MAX_CONNECTIONS"] == "4"

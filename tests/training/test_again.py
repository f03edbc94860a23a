"""A run is trained again from its own `config.json`."""

import numpy as np

import kd_loss
from kd_loss.networks import load_network


def test_a_run_trained_again_from_its_config_has_the_same_weights(data_folder, tmp_path):
    first = kd_loss.train_student(
        dataset="synthetic", data=data_folder, runs=tmp_path, arch="tiny", alpha=0.5, size=32, head="pooled",
        method=["none"], epochs=2, batch_size=20, validation=0.2, name="first", seed=3,
    )  # fmt: skip
    second = kd_loss.train_student(config=first / "config.json", name="second")
    assert second == first.with_name("second")
    for one, other in zip(*(load_network(run / "last.h5").model.get_weights() for run in (first, second)), strict=True):
        np.testing.assert_array_equal(one, other)
    history = [(run / "history.csv").read_text().splitlines() for run in (first, second)]
    without_seconds = [[row.rpartition(",")[0] for row in rows] for rows in history]
    assert without_seconds[0] == without_seconds[1]

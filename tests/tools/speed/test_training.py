"""The measurement of training: its parts on tiny models; the figures themselves are not for tests."""

from pathlib import Path

import keras
import numpy as np
import pytest

from kd_loss.evaluation.plots import bar_plot
from kd_loss.system.errors import UserError
from tools.speed.scenarios import Clock, load_reference
from tools.speed.training import RATIOS, loader_rate, measure_training, print_training, take_turns

ROOT = Path(__file__).parents[3]


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        return rng.normal(size=(4, 2)), rng.normal(size=(4, 1))


def fitted(clock):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", "mse", jit_compile=False)
    if clock:
        clock.watch(model)
    model.fit(Batches(workers=2), epochs=2, verbose=0, shuffle=False)
    return model.get_weights()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the clock is for TensorFlow")
def test_a_watched_training_is_the_same():
    clock = Clock()
    for plain, watched in zip(fitted(None), fitted(clock), strict=True):
        np.testing.assert_array_equal(plain, watched)
    assert len(clock.waiting) == len(clock.computing) == 6
    assert 0 < clock.share(3) < 1


def test_ways_take_turns_and_the_first_round_does_not_count():
    order = []
    times = take_turns({name: lambda name=name: order.append(name) for name in "ab"}, 2)
    assert order == list("ababab")
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 2, "b": 2}


def test_the_loader_alone(tmp_path):
    assert loader_rate(tmp_path, faces=32, rounds=1) > 0


def test_the_reference_way_is_found_and_what_is_none_is_refused(tmp_path):
    assert callable(load_reference(ROOT / "tools" / "reference.py"))
    with pytest.raises(UserError, match="no such Python file"):
        load_reference(tmp_path / "nowhere.py")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(UserError, match="has no function 'reference'"):
        load_reference(tmp_path / "empty.py")


def test_what_cannot_be_measured_is_refused(monkeypatch):
    with pytest.raises(UserError, match="at least one batch"):
        measure_training(size=32, batch_size=8, faces=4, rounds=1, reference=None)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UserError, match="measured under TensorFlow"):
        measure_training(size=32, batch_size=8, faces=8, rounds=1, reference=None)


def test_tables_and_plot(capsys):
    rates = {name: 10.0 for _, above, below, _ in RATIOS for name in (above, below)}
    results = {
        "size": 32, "batch_size": 8, "rounds": 2, "images_per_second": rates,
        "seconds": {name: [1.0, 2.0] for name in rates}, "ratios": {RATIOS[0][0]: 1.0}, "waiting_for_data": 0.01,
        "loader_images_per_core_second": 2000.0,
    }  # fmt: skip
    print_training(results)
    printed = capsys.readouterr().out
    assert "recorded teachers / bare fit" in printed
    assert "2.00" in printed
    assert "1.0%" in printed
    assert bar_plot(rates, "images a second").startswith(b"\x89PNG")

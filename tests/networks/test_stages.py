"""Stage ends found by size, in graphs small enough to be read."""

import keras
import numpy as np
import pytest

from kd_loss.networks import Card, build_network, load_network, save_network
from kd_loss.networks.architecture_registry import register_architecture
from kd_loss.networks.flops import multiply_adds
from kd_loss.networks.stages import cut_backbone, last_maps, stage_outputs
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.errors import UserError

L = keras.layers


def names(found):
    return {level: op.name for level, op in found.items()}


def strided(x, channels, name, **options):
    return L.Conv2D(channels, 3, 2, padding="same", name=name, **options)(x)


def test_the_end_of_a_stage_is_its_sum_and_the_last_map_the_next_ones_expansion():
    x = entry = keras.Input((64, 64, 3))
    x = strided(strided(x, 4, "half"), 4, "quarter")
    x = L.Add(name="sum")([x, L.Conv2D(4, 1, name="branch")(x)])
    x = L.Conv2D(24, 1, name="expand")(x)
    model = keras.Model(entry, strided(L.ZeroPadding2D(1, name="frame")(x), 8, "eighth"))
    assert names(last_maps(model)) == {"P2": "expand", "P3": "eighth"}
    assert names(stage_outputs(model)) == {"P2": "sum", "P3": "eighth", "P5": "eighth"}
    end, maps = cut_backbone(model, "P3")
    assert (end.name, names(maps)) == ("eighth", {"P2": "expand", "P3": "eighth"})
    with pytest.raises(UserError, match="has no feature map at P4, only at P2, P3, P5"):
        cut_backbone(model, "P4")


def test_what_follows_a_sum_alone_belongs_to_it_and_a_shortcut_past_it_does_not():
    entry = keras.Input((32, 32, 3))
    x = L.Conv2D(4, 4, 4, name="stem")(entry)
    x = L.ReLU(name="after")(L.Add(name="sum")([x, L.Conv2D(4, 1)(x)]))
    right = strided(x, 4, "right")
    x = L.Add(name="coarse")([strided(x, 4, "left"), right])
    relu = L.ReLU(name="inside")(x)  # the sum itself goes past it
    x = L.Add(name="out")([strided(L.Conv2D(4, 1, name="tail")(relu), 4, "down"), L.MaxPooling2D(2)(x)])
    model = keras.Model(entry, x)
    assert names(stage_outputs(model)) == {"P2": "after", "P3": "coarse", "P4": "out", "P5": "out"}
    assert names(last_maps(model)) == {"P2": "after", "P3": "coarse", "P4": "out"}


def test_squeezed_vectors_are_no_maps_and_borders_that_are_cut_off_no_halving():
    entry = keras.Input((64, 64, 3))
    x = L.Conv2D(4, 3, 2, name="half")(entry)  # 31
    x = L.Conv2D(4, 3, name="rim")(x)  # 29
    x = L.MaxPooling2D(3, 2, name="quarter")(x)  # 14
    squeezed = L.GlobalAveragePooling2D(keepdims=True)(x)
    x = L.Multiply(name="scaled")([x, L.Conv2D(4, 1)(squeezed)])
    x = L.Conv2D(4, 5, 4, name="sixteenth")(x)  # 3
    found = last_maps(keras.Model(entry, x))
    assert {level: (op.name, op.output.shape[1]) for level, op in found.items()} == {
        "P2": ("scaled", 14),
        "P4": ("sixteenth", 3),
    }


@pytest.fixture
def plus():
    """An architecture with a `+`, which is no layer, with borders cut off, and without a map at stride 8."""
    from kd_loss.networks import ARCHITECTURES

    @register_architecture("plus")
    def plus(inputs):
        x = L.Conv2D(8, 3, 2, use_bias=False)(inputs)
        x = L.Conv2D(8, 3, 2, padding="same", use_bias=False)(x)
        x = L.ReLU()(x) + x
        return L.SeparableConv2D(8, 5, 4, name="last")(x)

    yield
    del ARCHITECTURES["plus"]


@pytest.mark.usefixtures("plus")
@pytest.mark.parametrize("head", ["heatmap", "pooled"])
def test_a_network_of_such_maps_is_saved_and_loaded_with_its_taps(head, tmp_path):
    network = build_network(Card("plus", 1.0, "w300", W300.to_dict(), 64, "student", 0.15, head=head))
    taps = [tap for tap in network.taps if tap.startswith("P")]
    assert taps == ["P2", "P4"]
    save_network(network, tmp_path / "net.h5")
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    again = load_network(tmp_path / "net.h5")
    for tap in ("landmarks", *taps):
        mine, theirs = (net.tap_model([tap])(pictures)[tap] for net in (network, again))
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(mine), keras.ops.convert_to_numpy(theirs))
    # 3 x 3 maps, 25 taps for each of 8 channels and 8 x 8 between them
    model = network.tap_model(["P4"])
    assert multiply_adds(model) == 31**2 * 27 * 8 + 16**2 * 72 * 8 + 3**2 * (25 * 8 + 64)

"""Agreement is only that where the pictures matter."""

import keras
import numpy as np
import pytest

from kd_loss.importing.import_command import ImportOptions, run_import
from kd_loss.system.errors import UserError


@pytest.mark.parametrize("level", [0.0, 1e-7])
def test_a_network_that_does_not_look_is_not_imported(tmp_path, level):
    """A head of zeros, or nearly: old and new network answer alike whatever the picture is."""
    keras.utils.set_random_seed(0)
    backbone = keras.applications.MobileNetV2(
        input_shape=(64, 64, 3), alpha=0.35, include_top=False, weights=None, pooling="avg"
    )  # fmt: skip
    head = keras.layers.Dense(136)
    model = keras.Model(backbone.input, head(backbone.output))
    kernel, bias = head.get_weights()
    head.set_weights([level * kernel, np.linspace(-0.3, 0.3, len(bias))])
    model.save(tmp_path / "old.h5")
    options = ImportOptions(
        old=str(tmp_path / "old.h5"), dataset="w300", convention="native", range="signed", output=tmp_path / "new.h5"
    )
    with pytest.raises(UserError, match="returns the same landmarks for every image"):
        run_import(options)
    assert [p.name for p in tmp_path.iterdir()] == ["old.h5"]

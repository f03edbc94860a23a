import json
import sys

import keras
import numpy as np
import pytest

from kd_loss.schemes.point_map import fit_point_map
from kd_loss.system.errors import UserError
from kd_loss.training.teachers.foreign import RuntimeCard, decode, encode, in_other_runtime, open_teacher

CROPS = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3)).astype(np.uint8)


def test_which_files_are_foreign():
    assert in_other_runtime("mesh.tflite")
    assert in_other_runtime("net.onnx")
    assert in_other_runtime("mine.py:find")
    assert not in_other_runtime("best.h5")


def test_encoding():
    white = np.full((1, 20, 20, 3), 255, np.uint8)
    batch = encode(white, RuntimeCard(5, 16, range=(-1, 1), layout="nchw", context=1.5))
    assert batch.shape == (1, 3, 16, 16)
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch, 1.0)
    np.testing.assert_allclose(encode(0 * white, RuntimeCard(5, 16, range=(-1, 1))), -1.0)


@pytest.mark.parametrize(
    ("unit", "given", "expected"),
    [
        ("centred", (0.25, -0.5), (0.25, -0.5)),
        ("unit", (0.75, 0.0), (0.25, -0.5)),
        ("pixels", (11.5, -0.5), (0.25, -0.5)),  # (11.5 + 0.5) / 16 - 0.5
    ],
)
def test_decoding(unit, given, expected, tmp_path):
    card = RuntimeCard(2, 16, unit=unit)
    output = np.array([[[*given, 9.0], [*given, 9.0]]], np.float32)  # with a depth, which is dropped
    other = np.zeros((1, 1), np.float32)
    np.testing.assert_allclose(decode([other, output], card, tmp_path)[0], [expected] * 2)
    with pytest.raises(UserError, match=r"no output of .* has 2 points; their shapes are \(1, 1\)"):
        decode([other], card, tmp_path)


def test_a_python_function(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def find(images): return images[:, :4, :2, 0] / 255\n"
        "def more(images): return {'landmarks': images[:, :4, :2, 0], 'embedding': images[:, 0, :5, 1]}\n"
        "def flat(images): return images[:, 0, 0, 0]\n"
        "def nan(images): return np.full((len(images), 3, 2), np.nan)\n"
    )
    file = tmp_path / "mine.py"
    np.testing.assert_allclose(open_teacher(f"{file}:find")(CROPS)["landmarks"], CROPS[:, :4, :2, 0] / 255, rtol=1e-6)
    assert open_teacher(f"{file}:more")(CROPS)["embedding"].shape == (3, 5)
    for name, message in (("flat", r"not landmarks \(B, M, 2\)"), ("nan", "value that is not finite")):
        with pytest.raises(UserError, match=message):
            open_teacher(f"{file}:{name}")(CROPS)
    with pytest.raises(UserError, match=r"no function 'none'; give it as mine.py:function"):
        open_teacher(f"{file}:none")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nowhere_at_all\ndef find(i): return i", "mine.py, line 1: does not import: ModuleNotFoundError"),
        ("def find(i:\n", "mine.py: does not import: SyntaxError"),
        ("def find(i):\n    return i['a']", "mine.py, line 2: fails on faces: IndexError"),
    ],
)
def test_a_python_function_that_fails(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UserError, match=message):
        open_teacher(f"{tmp_path / 'mine.py'}:find")(CROPS)


def write_card(path, **values):
    path.with_suffix(".json").write_text(json.dumps({"points": 4, "size": 16, "range": [0, 1], **values}))


def network():
    """A tiny network whose four points are mean colours of the crop."""
    inputs = keras.Input((16, 16, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    outputs = keras.layers.Dense(8, name="points")(pooled)
    return keras.Model(inputs, outputs)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the file is made with TensorFlow")
def test_tflite(tmp_path):
    import tensorflow as tf

    model = network()
    path = tmp_path / "net.tflite"
    model.export(str(tmp_path / "saved"), verbose=False)
    path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved")).convert())
    write_card(path)
    card = RuntimeCard.read(path)
    expected = model(encode(CROPS, card)).numpy().reshape(3, 4, 2)
    np.testing.assert_allclose(open_teacher(str(path))(CROPS)["landmarks"], expected, atol=1e-5)
    write_card(path, output="nowhere")
    with pytest.raises(UserError, match="unknown output of"):
        open_teacher(str(path))(CROPS)


def test_onnx(tmp_path):
    from onnx import TensorProto, helper, save

    path = tmp_path / "net.onnx"
    kernel = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["embedding"]),
            helper.make_node("MatMul", ["embedding", "kernel"], ["points"]),
        ],
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", c]) for n, c in (("embedding", 3), ("points", 8))],
        [helper.make_tensor("kernel", TensorProto.FLOAT, kernel.shape, kernel.ravel())],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    write_card(path, layout="nchw", taps={"embedding": "embedding"})
    taps = open_teacher(str(path))(CROPS)
    pooled = encode(CROPS, RuntimeCard.read(path)).mean(axis=(2, 3))
    np.testing.assert_allclose(taps["embedding"], pooled, rtol=1e-5)
    np.testing.assert_allclose(taps["landmarks"], (pooled @ kernel).reshape(3, 4, 2), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"size": 0}, "malformed"),
        ({"points": "four"}, "malformed"),
        ({"range": [1]}, "malformed"),
        ({"layout": "hwc"}, "unknown layout"),
        ({"unit": "metres"}, "unknown unit"),
        ({"sise": 16}, "did you mean 'size'"),
    ],
)
def test_bad_cards(tmp_path, card, message):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"")
    write_card(path, **card)
    with pytest.raises(UserError, match=message):
        open_teacher(str(path))


def test_bad_files(tmp_path, monkeypatch):
    path = tmp_path / "net.onnx"
    with pytest.raises(UserError, match="no such teacher"):
        open_teacher(str(path))
    path.write_bytes(b"not a network")
    with pytest.raises(UserError, match="has no card net.json"):
        open_teacher(str(path))
    write_card(path)
    with pytest.raises(UserError, match="does not load"):
        open_teacher(str(path))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="pip install onnxruntime"):
        open_teacher(str(path))


def test_a_linear_relation_between_schemes_is_found():
    rng = np.random.default_rng(2)
    theirs = rng.normal(0, 0.3, (60, 7, 2))
    kernel = rng.normal(0, 0.3, (14, 10))
    truth = (theirs.reshape(60, 14) @ kernel + 0.1).reshape(60, 5, 2)
    found = fit_point_map(theirs[:50], truth[:50])
    np.testing.assert_allclose(found(theirs[50:]), truth[50:], atol=2e-3)
    with pytest.raises(UserError, match="at least 10 training faces"):
        fit_point_map(theirs[:9], truth[:9])


def test_noise_is_answered_with_a_stronger_ridge():
    rng = np.random.default_rng(3)
    theirs, noise = rng.normal(0, 0.3, (40, 15, 2)), rng.normal(0, 0.3, (40, 2, 2))
    clean = fit_point_map(theirs, theirs[:, :2])
    assert fit_point_map(theirs, noise).strength > clean.strength

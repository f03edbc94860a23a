"""Exports of a tiny network: what is in the files, that they agree, and that one that does not is refused."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from kd_loss.export import export_command as command
from kd_loss.export.convert import to_onnx
from kd_loss.export.export_command import ExportOptions, run_export
from kd_loss.export.verification import Faces, difference
from kd_loss.inference.predictor import LandmarkPredictor
from kd_loss.networks import Card, build_network, save_network
from kd_loss.networks.graft import graft
from kd_loss.runtimes.crop_network import open_network, read_card
from kd_loss.runtimes.files import embed_card, embedded_card
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.errors import UserError
from kd_loss.system.overwrite_guard import RECORD, claim


def make(arch, alpha, data_folder, synthetic, folder, head="pooled"):
    """A network of random weights for 48-px crops of the drawn faces, whose predictions vary."""
    mean = synthetic.split("train").landmarks.mean(axis=0)
    cut = "P5" if head == "pooled" else "P4"
    card = Card(arch, alpha, "synthetic", W300.to_dict(), 48, "student", 0.15, head, cut)
    network = build_network(card, mean_shape=mean)
    network.model.compile("sgd", "mse")
    split = synthetic.split("train")
    images = np.stack([split.crop(i) for i in range(32)])
    network.model.fit(images, np.zeros((32, 68, 2)), epochs=0)
    for _ in range(6):  # averages of batch normalisation as after a training
        network.model(images.astype(np.float32), training=True)
    save_network(network, folder / "best.h5")
    return ExportOptions(weights=str(folder / "best.h5"), data=data_folder, calibration=16)


@pytest.fixture(scope="module")
def options(data_folder, synthetic, tmp_path_factory):
    """Such a network, quick to convert."""
    return make("tiny", 1.0, data_folder, synthetic, tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="module")
def rows(options):
    every = dataclasses.replace(
        options, format=["litert", "onnx", "saved_model"], precision=["fp32", "fp16", "int8"], tolerance=3.0
    )
    return {(row["format"], row["precision"]): row for row in run_export(every)}


def test_every_format_agrees(rows, options):
    assert len(rows) == 8  # Keras itself, three LiteRT, three ONNX, one SavedModel
    for (kind, precision), row in rows.items():
        assert row["max"] < {"fp32": 1e-3, "fp16": 0.1, "int8": 5}[precision], (kind, row)
        assert row["nme"] == pytest.approx(rows["keras", "fp32"]["nme"], rel={"int8": 0.1}.get(precision, 1e-3))
    sizes = {precision: rows["litert", precision]["bytes"] for precision in ("fp32", "fp16", "int8")}
    assert sizes["int8"] < 0.75 * sizes["fp16"] < 0.5 * sizes["fp32"]
    written = json.loads((read_folder(options) / "export.json").read_text())
    assert {file["name"] for file in written["files"]} >= {"best-int8.tflite", "best-fp32.onnx", "best-fp32"}


@pytest.mark.slow
def test_the_students_backbone_agrees_too(data_folder, synthetic, tmp_path):
    """Depthwise convolutions and linear bottlenecks, which the tiny network has not."""
    options = make("mobileNetV2", 0.35, data_folder, synthetic, tmp_path)
    every = dataclasses.replace(options, format=["litert", "onnx"], precision=["fp32", "fp16", "int8"], tolerance=3.0)
    rows = {(row["format"], row["precision"]): row for row in run_export(every)}
    assert len(rows) == 7
    for (kind, precision), row in rows.items():
        assert row["max"] < {"fp32": 1e-3, "fp16": 0.1, "int8": 5}[precision], (kind, row)
        assert row["nme"] == pytest.approx(rows["keras", "fp32"]["nme"], rel={"int8": 0.1}.get(precision, 1e-3))


@pytest.mark.parametrize("head", ["simcc", "pip"])
def test_heads_of_coordinates_agree_too(data_folder, synthetic, tmp_path, head):
    """Landmarks and spread; an int8 file takes and gives real numbers, its softmax and sums are no integers."""
    options = make("tiny", 1.0, data_folder, synthetic, tmp_path, head)
    every = dataclasses.replace(options, format=["litert", "onnx"], precision=["fp32", "fp16", "int8"], tolerance=3.0)
    rows = {(row["format"], row["precision"]): row for row in run_export(every)}
    assert len(rows) == 7
    for (kind, precision), row in rows.items():
        assert row["max"] < {"fp32": 1e-3, "fp16": 0.1, "int8": 5}[precision], (kind, row)
    crops = np.stack([synthetic.split("test").crop(i) for i in range(4)])
    landmarks, wide = open_network(tmp_path / "best.h5").predict_with_spread(crops)
    for name, limit in (("fp32.tflite", 1e-4), ("fp32.onnx", 1e-4), ("int8.tflite", 0.05), ("int8.onnx", 0.05)):
        other = [open_network(read_folder(options) / f"best-{name}").predict_with_spread(crop[None]) for crop in crops]
        np.testing.assert_allclose(np.concatenate([answer for answer, _ in other]), landmarks, atol=limit)
        np.testing.assert_allclose(np.concatenate([spread for _, spread in other]), wide, atol=limit)


def read_folder(options):
    return Path(options.weights).parent / "export"


@pytest.mark.usefixtures("rows")
def test_the_predictor_needs_only_the_export(options, tmp_path, synthetic):
    face = synthetic.split("test").images[0]
    reference = LandmarkPredictor.load(options.weights).predict_crop(face).landmarks
    for name in ("best-fp32.tflite", "best-fp32.onnx"):
        alone = tmp_path / name
        alone.write_bytes((read_folder(options) / name).read_bytes())
        predictor = LandmarkPredictor.load(alone, threads=1)
        assert predictor.card.margin == 0.15
        np.testing.assert_allclose(predictor.predict_crop(face).landmarks, reference, atol=1e-3)
        np.testing.assert_allclose(predictor.predict_many([face, face])[1].landmarks, reference, atol=1e-3)


@pytest.mark.usefixtures("rows")
def test_int8_is_integers_throughout(options):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(read_folder(options) / "best-int8.tflite"))
    interpreter.allocate_tensors()
    assert interpreter.get_input_details()[0]["dtype"] is np.uint8
    assert interpreter.get_output_details()[0]["dtype"] is np.int8
    kinds = {np.dtype(t["dtype"]) for t in interpreter.get_tensor_details()}
    assert np.dtype(np.float32) not in kinds


@pytest.mark.usefixtures("rows")
def test_the_terms_of_the_weights_stand_in_every_file(options, tmp_path):
    terms = "for research only"
    chosen = dataclasses.replace(options, format=["litert", "onnx"], precision=["fp32"], license=terms)
    run_export(dataclasses.replace(chosen, output=str(tmp_path)))
    cards = [embedded_card(path) for path in (*tmp_path.glob("*.tflite"), *tmp_path.glob("*.onnx"))]
    assert [card["license"] for card in cards] == [terms, terms]
    assert all("exported_from_sha256" in card["training"] for card in cards)


def test_a_card_inside_is_replaced_and_checked(options, tmp_path):
    for name in ("best-fp16.tflite", "best-fp16.onnx"):
        path = tmp_path / name
        path.write_bytes((read_folder(options) / name).read_bytes())
        assert read_card(path).size == 48
        embed_card(path, {"size": 64})
        assert embedded_card(path) == {"size": 64}
        with pytest.raises(UserError, match=f"the card inside .*{name} lacks alpha"):
            open_network(path)


@pytest.mark.usefixtures("rows")
def test_a_card_of_another_size_is_one_line(options, tmp_path):
    path = tmp_path / "other.onnx"
    path.write_bytes((read_folder(options) / "best-fp32.onnx").read_bytes())
    embed_card(path, {**embedded_card(path), "size": 32})
    with pytest.raises(UserError, match="does not run on crops of 32 pixels"):
        open_network(path)


def test_what_differs_too_much_is_refused_and_an_earlier_file_kept(options, tmp_path, monkeypatch):
    to_litert = command.convert.to_litert

    def shifted(network, path, precision, calibration):
        kernel, bias = network.head_weights()
        network.model.get_layer("head").set_weights([kernel, bias + 0.01])  # half a pixel of 48
        to_litert(network, path, precision, calibration)
        network.model.get_layer("head").set_weights([kernel, bias])

    monkeypatch.setattr(command.convert, "to_litert", shifted)
    claim(tmp_path, ["best-fp32.tflite"])
    (tmp_path / "best-fp32.tflite").write_text("earlier")
    with pytest.raises(UserError, match=r"not written.*best-fp32.tflite \(mean 0.679 px, allowed 0.01\)"):
        run_export(dataclasses.replace(options, output=str(tmp_path)))
    assert sorted(p.name for p in tmp_path.iterdir()) == [RECORD, "best-fp32.tflite", "export.json"]
    assert (tmp_path / "best-fp32.tflite").read_text() == "earlier"


def test_a_page_whose_network_differs_is_not_left_behind(options, tmp_path, monkeypatch):
    """And one that agrees has a row of the table."""
    from kd_loss.export import web

    (tmp_path / "dist").mkdir()
    for name in web.RUNTIME:
        (tmp_path / "dist" / name).write_text("")
    asked = dataclasses.replace(
        options, format=["web"], precision=["fp32"], web_runtime=str(tmp_path), output=str(tmp_path / "out")
    )
    rows = run_export(asked)
    assert rows[1]["name"] == "best-web/model.onnx"
    assert rows[1]["mean"] < 0.01
    to_onnx = web.to_onnx

    def shifted(network, path, precision, calibration):
        kernel, bias = network.head_weights()
        network.model.get_layer("head").set_weights([kernel, bias + 0.01])
        to_onnx(network, path, precision, calibration)
        network.model.get_layer("head").set_weights([kernel, bias])

    monkeypatch.setattr(web, "to_onnx", shifted)
    with pytest.raises(UserError, match=r"not written.*best-web \(mean 0.679 px, allowed 0.01\)"):
        run_export(dataclasses.replace(asked, output=str(tmp_path / "second")))
    assert not (tmp_path / "second" / "best-web").exists()


@pytest.mark.parametrize("name", ["best-fp32", "best-web", "best-fp32.tflite", "export.json"])
def test_what_an_export_did_not_write_is_not_replaced(options, tmp_path, name):
    """A folder or file of the user's that has the name of an export."""
    mine = tmp_path / name / "thesis.txt" if "." not in name else tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(UserError, match=f"{name} already exists, and kd-loss did not write it"):
        run_export(dataclasses.replace(options, output=str(tmp_path), format=["litert", "saved_model", "web"]))
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [mine]
    assert mine.read_text() == "mine"


def test_a_file_that_the_user_put_into_an_export_stays(options, tmp_path):
    once = dataclasses.replace(options, output=str(tmp_path), format=["saved_model"])
    for _ in range(2):  # its own may be replaced
        run_export(once)
    (tmp_path / "best-fp32" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"best-fp32 holds notes.txt, which kd-loss did not write"):
        run_export(once)
    assert (tmp_path / "best-fp32" / "notes.txt").read_text() == "mine"


def test_difference_by_hand():
    a = np.zeros((1, 2, 2))
    b = np.array([[[0.03, 0.04], [0.0, 0.0]]])  # 0.05 of 100 pixels, and nothing
    assert difference(W300, a, b, 100) == pytest.approx((5.0, 2.5))
    assert Faces(np.zeros((1, 8, 8, 3), np.uint8), None).error(a) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": ""}, "give the weights"),
        ({"weights": "none.h5"}, "no such weights"),
        ({"format": ["onx"]}, "did you mean 'onnx'"),
        ({"precision": ["int4"]}, "int8"),
        ({"calibration": 0}, "--calibration"),
        ({"data": "nowhere", "precision": ["int8"]}, "int8 is calibrated on training crops"),
    ],
)
def test_bad_options_are_one_line(options, tmp_path, changes, message):
    if "data" in changes:
        changes = {**changes, "data": Path(changes["data"]), "output": str(tmp_path)}
    with pytest.raises(UserError, match=message):
        run_export(dataclasses.replace(options, **changes))
    assert not list(tmp_path.iterdir())


def test_convnexts_convolutions_and_gelu_reach_onnx(tmp_path):
    import onnxruntime

    inputs = keras.Input((32, 32, 3), name="image")
    theirs = keras.src.applications.convnext.ConvNeXt(
        depths=[1, 1, 1, 1], projection_dims=[4, 4, 8, 8], include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    card = Card("ConvNeXtTiny", 1.0, "w300", W300.to_dict(), 32, "student", 0.15)
    to_onnx(
        SimpleNamespace(card=card, export_model=lambda: graft(theirs, inputs, "ConvNeXt")),
        tmp_path / "net.onnx", "fp32", None,
    )  # fmt: skip
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    [found] = onnxruntime.InferenceSession(tmp_path / "net.onnx").run(None, {"image": pictures})
    np.testing.assert_allclose(found, theirs.predict(pictures, verbose=0), atol=1e-5)

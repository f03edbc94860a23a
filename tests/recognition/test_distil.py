"""A small student of a recogniser, of a function and of an exported file; exports and their parity."""

import dataclasses

import numpy as np
import pytest

from kd_loss.inference.weights import default_weights
from kd_loss.networks import load_network
from kd_loss.recognition.card import RecogniserCard
from kd_loss.recognition.dataset import open_persons
from kd_loss.recognition.distil import EmbeddingTeacher, RecogniserDistiller, parse_method
from kd_loss.recognition.embedders import as_embedder
from kd_loss.recognition.export import run_export_recogniser
from kd_loss.recognition.margins import MarginHead
from kd_loss.recognition.options import RecogniserExportOptions, RecogniserOptions
from kd_loss.recognition.prepare import PersonsOptions, run_prepare_persons
from kd_loss.recognition.recogniser import load_recogniser, new_recogniser, save_recogniser
from kd_loss.recognition.train import run_train_recogniser
from kd_loss.system.errors import UserError
from tests.recognition.test_commands import rows_of


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("all")
    run_prepare_persons(PersonsOptions(dataset="drawn", size=32, persons=12, pictures=3, folds=2, data=folder / "data"))
    small = {"units": [1, 1, 1, 1], "alpha": 0.125, "embedding": 16, "epochs": 1, "batch_size": 8, "scale": 16.0}
    return RecogniserOptions(dataset="drawn", data=folder / "data", runs=folder / "runs", validation=0.0, **small)


@pytest.fixture(scope="module")
def teacher(given):
    return run_train_recogniser(dataclasses.replace(given, name="teacher"))


@pytest.mark.parametrize(
    ("methods", "terms"),
    [
        (["rkd", "pkt:2", "imitation"], {"rkd.distance", "rkd.angle", "pkt.transfer", "imitation.imitation"}),
        (["imitation"], {"imitation"}),
        (["rkd"], {"distance", "angle"}),
        (["srrl"], {"features", "regression"}),
    ],
)
def test_a_step_of_distillation_has_the_margin_and_the_methods_terms(methods, terms):
    rng = np.random.default_rng(0)
    student = new_recogniser(RecogniserCard("ir", 0.125, 32, 16, (1, 1, 1, 1)))
    centres = rng.normal(size=(16, 7)).astype(np.float32) if "srrl" in methods else None
    teacher = EmbeddingTeacher(
        as_embedder(lambda crops: crops[:, ::8, ::16].reshape(len(crops), -1)[:, :16] + 1.0), 32, centres
    )
    distiller = RecogniserDistiller(
        student, MarginHead(5, 16, scale=16.0), [parse_method(text) for text in methods], {"teacher": teacher}
    )
    distiller.compile("adam", run_eagerly=True)
    batch = {"image": rng.integers(0, 255, (6, 32, 32, 3)).astype(np.uint8)}
    logs = distiller.train_on_batch(batch, {"label": np.arange(6) % 5, "cluster": -np.ones(6)}, return_dict=True)
    assert set(logs) == {"loss", "margin", "accuracy"} | terms
    total = logs["margin"]
    for method, weight in zip(distiller.methods, distiller._weights_of_methods, strict=True):
        for name in method.distilling_terms:
            total += weight * method.weights_of_terms.get(name, 1.0) * logs[distiller._key(method, name)]
    assert logs["loss"] == pytest.approx(total, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("method", [["rkd", "pkt:2", "imitation"], ["srrl"]])
def test_a_student_learns_from_a_recogniser(given, teacher, method):
    student = run_train_recogniser(
        dataclasses.replace(given, teacher=str(teacher), method=method, name="-".join(method)[:3])
    )
    history = rows_of(student)[-1]
    terms = {"rkd.distance", "rkd.angle", "pkt.transfer", "imitation.imitation"}
    assert (terms if len(method) > 1 else {"features", "regression"}) | {"margin", "accuracy"} <= set(history)
    assert all(np.isfinite(value) for value in history.values())
    card = load_recogniser(student).card
    assert (card.landmark_card, card.training["method"]) == (None, method)


@pytest.mark.slow
def test_exports_agree_with_keras_and_are_teachers(given, teacher):
    files = run_export_recogniser(RecogniserExportOptions(weights=str(teacher)))
    assert sorted(path.name for path in files) == ["best-fp32.onnx", "best-fp32.tflite"]
    assert max(files.values()) < 1e-5
    crops = np.asarray(open_persons("drawn", given.data).split("test").images[:3])
    wanted = load_recogniser(teacher).embed(crops)
    for path in files:
        embedder = as_embedder(path)
        assert embedder.align is True
        assert len(embedder.persons) == 12
        np.testing.assert_allclose(embedder.embed(crops), wanted, atol=1e-4)
    onnx = next(str(path) for path in files if path.suffix == ".onnx")
    student = run_train_recogniser(dataclasses.replace(given, teacher=onnx, name="of-onnx"))
    assert rows_of(student)[-1]["transfer"] >= -1e-6


@pytest.mark.slow
def test_exports_hold_the_landmark_network(tmp_path):
    """32 px are enlarged to the landmark network's 128, its maps shrunk to the 16, 8 and 4 px of the stages."""
    card = RecogniserCard("ir", 0.125, 32, 16, (1, 1, 1, 1), heatmaps="h2+", features="bl")
    save_recogniser(new_recogniser(card, load_network(default_weights())), tmp_path / "best")
    for precision in ("fp32", "fp16"):
        given = RecogniserExportOptions(weights=str(tmp_path / "best.weights.h5"), precision=precision)
        files = run_export_recogniser(given)
        assert {path.suffix for path in files} == {".tflite", ".onnx"}
        assert max(files.values()) < (1e-5 if precision == "fp32" else 1e-4)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"method": ["foo"]}, "unknown method for embeddings 'foo'"),
        ({"method": ["pkt", "srrl"]}, "give --method srrl alone"),
    ],
)
def test_methods_are_refused_before_anything_is_read(tmp_path, more, message):
    with pytest.raises(UserError, match=message):
        run_train_recogniser(RecogniserOptions(dataset="none", data=tmp_path, teacher="no-such", **more))


def test_another_embedding_is_refused_by_the_card_alone(tmp_path):
    RecogniserCard("ir", 0.125, 32, 16, (1, 1, 1, 1)).write(tmp_path / "best.h5")
    (tmp_path / "best.weights.h5").touch()
    with pytest.raises(UserError, match="gives 16 numbers, the student 128: give --embedding 16"):
        run_train_recogniser(RecogniserOptions(dataset="none", data=tmp_path, teacher=str(tmp_path)))


@pytest.mark.parametrize("least", [1, pytest.param(2, marks=pytest.mark.slow)])  # at once, or in the first step
def test_a_teacher_that_raises_is_one_line(given, tmp_path, least):
    lines = ["def boom(crops):", f"    if len(crops) >= {least}: raise ValueError('no weights')"]
    (tmp_path / "f.py").write_text("\n".join([*lines, "    return crops[:, :4, :4, 0].reshape(-1, 16) + 1.0"]))
    teacher = f"{tmp_path / 'f.py'}:boom"
    with pytest.raises(UserError, match=r"f.py, line 2: fails on crops: ValueError: no weights"):
        run_train_recogniser(dataclasses.replace(given, teacher=teacher, name=f"boom{least}"))


def test_a_function_is_a_teacher():
    teacher = EmbeddingTeacher(as_embedder(lambda crops: crops.reshape(len(crops), -1)[:, :6] + 1.0), 32)
    assert teacher.shape == (3, 2)
    answer = teacher(np.full((2, 32, 32, 3), 7, np.float32))
    np.testing.assert_allclose(answer["embedding"], np.full((2, 6), 6**-0.5), rtol=1e-5)
    with pytest.raises(UserError, match="srrl reads a teacher's centres"):
        teacher.head_weights()
    with pytest.raises(UserError, match="an odd number"):
        EmbeddingTeacher(as_embedder(lambda crops: crops.reshape(len(crops), -1)[:, :5] + 1.0), 32)


def test_methods_of_embeddings():
    use = parse_method("pkt:3")
    assert (use.name, use.weight) == ("pkt", 3.0)
    assert use.method.distilling_terms == ("transfer",)
    with pytest.raises(UserError, match="unknown method for embeddings 'heatmap'"):
        parse_method("heatmap")
    with pytest.raises(UserError, match="the weight is a positive number"):
        parse_method("rkd:x")
    assert MarginHead(3, 4, "cosface").margin == 0.35


@pytest.mark.slow
def test_a_teacher_of_another_width_is_refused(given, teacher):
    with pytest.raises(UserError, match="gives 16 numbers, the student 8: give --embedding 16"):
        run_train_recogniser(dataclasses.replace(given, teacher=str(teacher), embedding=8))

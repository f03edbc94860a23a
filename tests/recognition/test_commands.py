"""The whole way on drawn persons and a tiny network: prepare, train, verify, embed."""

import csv
import dataclasses
import json
import sys
import types

import cv2
import keras
import numpy as np
import pytest

from kd_loss.recognition.dataset import PersonsDataset, open_persons
from kd_loss.recognition.embed import run_embed
from kd_loss.recognition.embedders import as_embedder
from kd_loss.recognition.loader import PersonsLoader, split_persons
from kd_loss.recognition.options import EmbedOptions, RecogniserOptions, VerifyOptions
from kd_loss.recognition.prepare import PersonsOptions, run_prepare_persons
from kd_loss.recognition.recogniser import load_recogniser
from kd_loss.recognition.train import run_train_recogniser
from kd_loss.recognition.verify import run_verify, verify_persons
from kd_loss.synthetic.persons import draw_person
from kd_loss.system.errors import UserError
from tests.lazy import run_without_keras


def rows_of(run):
    """The rows of a training's history."""
    with (run / "history.csv").open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    run_prepare_persons(PersonsOptions(dataset="drawn", size=32, persons=12, pictures=4, folds=2, data=folder))
    return folder


def options(data, runs, **more):
    given = {"units": [1, 1, 1, 1], "alpha": 0.125, "embedding": 16, "epochs": 2, "batch_size": 8, "scale": 16.0}
    return RecogniserOptions(**{"dataset": "drawn", "data": data, "runs": runs, **given, "validation": 0.2, **more})


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    return run_train_recogniser(options(data, runs, name="whole", heatmaps="h2", features="bl"))


ROUTED = {"dynamic": "dynamic", "clustering": "kmeans", "clusters": 3}


@pytest.fixture(scope="module")
def routed(data, tmp_path_factory):
    return run_train_recogniser(options(data, tmp_path_factory.mktemp("runs"), name="routed", **ROUTED))


def test_a_training_is_logged_elsewhere_as_well(data, tmp_path, monkeypatch):
    told = []
    logged = types.SimpleNamespace(log=lambda values, step: told.append((step, set(values))), finish=lambda: None)
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=lambda **settings: logged))
    run_train_recogniser(options(data, tmp_path, epochs=1, log_to=["wandb"]))
    ((step, names),) = told
    assert step == 1
    assert {"loss", "margin", "accuracy", "val_loss"} <= names


def test_a_prepared_dataset_has_crops_persons_and_pairs(data):
    dataset = open_persons("drawn", data)
    train, test = dataset.split("train"), dataset.split("test")
    assert (len(train), len(train.persons), len(test.persons)) == (48, 12, 4)
    assert train.images.shape == (48, 32, 32, 3)
    assert set(train.attributes) == {"yaw", "skin", "hair", "glasses"}
    assert [pairs.name for pairs in test.pairs] == ["drawn"]
    pairs = test.pairs[0]
    same = test.person[pairs.rows[:, 0]] == test.person[pairs.rows[:, 1]]
    np.testing.assert_array_equal(same, pairs.same)
    assert dataset.manifest["alignment"] == "five points, similarity"


def write(folder, persons, pictures=2):
    for person in persons:
        (folder / person).mkdir(parents=True)
        for number in range(pictures):
            image = draw_person(96, 0, ord(person[0]), number).image
            cv2.imwrite(str(folder / person / f"{number}.png"), image[:, :, ::-1])
    return str(folder)


@pytest.mark.parametrize(
    ("train", "test", "pictures", "message"),
    [
        (["ann", "bob"], ["bob", "cid"], 2, "bob in training and in test"),
        (["ann", "bob"], ["cid", "dan"], 1, "the training person ann has one image"),
    ],
)
def test_bad_folders_are_one_line_and_nothing_is_written(tmp_path, train, test, pictures, message):
    folders = {"train": write(tmp_path / "a", train, pictures), "test": write(tmp_path / "b", test)}
    pairs = "fold,same,first,second\n"
    for fold, (a, b) in enumerate((test, test[::-1]), start=1):
        pairs += f"{fold},1,{a}/0.png,{a}/1.png\n{fold},0,{a}/0.png,{b}/0.png\n"
    (tmp_path / "pairs.csv").write_text(pairs)
    with pytest.raises(UserError, match=message):
        run_prepare_persons(
            PersonsOptions(**folders, pairs=str(tmp_path / "pairs.csv"), data=tmp_path / "data", size=32)
        )
    assert not (tmp_path / "data" / "persons").exists()


def test_a_picture_without_a_face_is_refused_kept_or_skipped(tmp_path):
    folder = write(tmp_path / "a", ["ann", "bob"])
    cv2.imwrite(str(tmp_path / "a" / "ann" / "2.png"), np.full((60, 60, 3), 90, np.uint8))
    given = {"train": folder, "data": tmp_path / "data", "size": 32}
    with pytest.raises(UserError, match=r"1 doubtful image of 5 in train \(ann/2.png shows no faces\)"):
        run_prepare_persons(PersonsOptions(**given))
    assert not (tmp_path / "data" / "persons").exists()
    for doubtful, count in (("keep", 5), ("skip", 4)):
        manifest = run_prepare_persons(PersonsOptions(**given, doubtful=doubtful))
        assert manifest["counts"]["train"]["pictures"] == count
        assert manifest["counts"]["train"]["no_face"] == 1


def test_a_person_with_one_image_left_is_left_out_and_broken_images_are_skipped(tmp_path, caplog):
    folder = write(tmp_path / "a", ["ann", "bob", "cid"])
    (tmp_path / "a" / "ann" / "1.png").write_bytes(b"no image")
    given = {"train": folder, "data": tmp_path / "data", "size": 32}
    with pytest.raises(UserError, match=r"a/ann/1.png does not decode as an image; .* --doubtful skip"):
        run_prepare_persons(PersonsOptions(**given, doubtful="keep"))
    counts = run_prepare_persons(PersonsOptions(**given, doubtful="skip"))["counts"]["train"]
    assert counts == {
        **{"persons": 2, "pictures": 4, "no_face": 0, "several_faces": 0},
        **{"unreadable": 1, "skipped": 1, "persons_left_out": 1},
    }
    assert open_persons("persons", tmp_path / "data").split("train").persons == ["bob", "cid"]
    assert "1 person with one image left" in caplog.text


def test_two_persons_at_least_are_held_out(data):
    persons = open_persons("drawn", data).split("train")
    _, held = split_persons(persons, 0.01)
    assert len(set(persons.person[held])) == 2
    assert len(split_persons(persons, 0.0)[1]) == 0
    few = np.isin(persons.person, persons.persons[:3])
    few = dataclasses.replace(persons, images=persons.images[few], person=persons.person[few])
    with pytest.raises(UserError, match="3 persons: two to train on and two to hold out are the least"):
        split_persons(few, 0.1)


def test_held_out_persons_are_whole_and_mirrored_pictures_get_mirrored_maps(data):
    persons = open_persons("drawn", data).split("train")
    train, held = split_persons(persons, 0.25)
    assert not set(persons.person[train]) & set(persons.person[held])
    assert len(set(persons.person[held])) == 3
    # 2 i of picture i, 2 i + 1 of its mirror image
    maps = np.arange(len(persons) * 2).reshape(-1, 2).astype(np.float16)
    loader = PersonsLoader(persons, train, persons.labels, batch_size=16, seed=0, maps={"m": maps}, light=0)
    x, y = loader[0]
    for image, value, label in zip(x["image"], x["m"].astype(int), y["label"], strict=True):
        stored = persons.images[value // 2]
        np.testing.assert_array_equal(image, stored[:, ::-1] if value % 2 else stored)
        assert label == persons.labels[value // 2]


def test_a_run_holds_network_card_and_history(run):
    card = json.loads((run / "best.json").read_text())
    assert (card["kind"], card["heatmaps"], card["features"]) == ("recogniser", "h2", "bl")
    assert len(card["training"]["persons"]) == 12
    assert card["maps"]["heatmaps"][-1] == 51
    history = rows_of(run)
    assert len(history) == 2
    assert {"margin", "accuracy", "val_loss"} <= set(history[0])
    assert "objective: arcface(s 16, m 0.5" in (run / "log.txt").read_text()


def test_a_loaded_recogniser_is_one_model_with_its_landmark_network(run, data):
    recogniser = load_recogniser(run)
    crops = np.asarray(open_persons("drawn", data).split("test").images[:5])
    found = recogniser.embed(crops)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    whole = keras.ops.convert_to_numpy(recogniser.export_model()(crops.astype(np.float32), training=False))
    np.testing.assert_allclose(whole, found, atol=1e-5)
    np.testing.assert_allclose(
        recogniser.embed(crops, mirror=True), recogniser.embed(crops[:, :, ::-1], True), atol=1e-5
    )
    assert np.abs(recogniser.embed(crops, other_maps=True) - found).max() > 1e-3


def test_a_finished_training_is_not_repeated(data, routed):
    again = options(data, routed.parents[1], name="routed", **ROUTED, resume=True)
    before = (routed / "last.weights.h5").stat().st_mtime_ns
    assert run_train_recogniser(again) == routed
    assert (routed / "last.weights.h5").stat().st_mtime_ns == before


def test_clusters_of_the_routing_are_learned_and_reported(data, routed, tmp_path, capsys):
    assert 0 < rows_of(routed)[-1]["clusters"] < 3
    result = run_verify(
        VerifyOptions(weights=str(routed), dataset="drawn", data=data, output=str(tmp_path), clusters=3)
    )
    figures = result["protocols"]["drawn"]["mirrored"]
    assert figures["pairs"] == 32
    assert 0 <= figures["accuracy"] <= 1
    assert figures["tar_at_far"]["0.01"] is None
    assert json.loads((tmp_path / "verify.json").read_text()) == json.loads(json.dumps(result))
    page = (tmp_path / "verify.html").read_text()
    assert "not measurable" in page
    assert "five points" in page
    assert page.count("data:image/png") == 3
    assert "rank 1" in capsys.readouterr().out
    assert set(result["clusters"]) == {"embedding", "routing"}
    for own in result["clusters"].values():
        assert {"yaw", "skin", "hair"} <= set(own)
        assert all(f["purity"] >= f["largest"] - 1e-9 and f["ami"] <= 1 for f in own.values())
    assert cv2.imread(str(tmp_path / "clusters.png")).shape == (3 * 64, 12 * 64, 3)


def test_a_known_person_is_refused(data):
    test = open_persons("drawn", data).split("test")
    embedder = as_embedder(lambda crops: crops.reshape(len(crops), -1))
    known = dataclasses.replace(embedder, persons=("drawn0003", test.persons[0]))
    with pytest.raises(UserError, match=f"{test.persons[0]} in training and in test"):
        verify_persons(known, test)
    with pytest.raises(UserError, match="no pairs"):
        verify_persons(embedder, open_persons("drawn", data).split("train"))


def test_verify_takes_a_function(data):
    test = open_persons("drawn", data).split("test")
    embedder = as_embedder(lambda crops: crops.reshape(len(crops), -1).astype(np.float32) + 1)
    protocols, identified = verify_persons(embedder, test)
    assert protocols[0].scores.shape == (32,)
    assert identified["gallery"] == 2
    with pytest.raises(UserError, match="not embeddings"):
        as_embedder(lambda crops: crops).embed(test.images[:2])


@pytest.fixture
def function(tmp_path):
    """A function that gives embeddings, as a command names it."""
    code = "def mean(crops):\n    return crops.mean(axis=(1, 2)) + 1.0\n"
    (tmp_path / "mine.py").write_text(code)
    return f"{tmp_path / 'mine.py'}:mean"


def test_a_function_that_raises_is_one_line(data, tmp_path, monkeypatch):
    (tmp_path / "b.py").write_text("def boom(crops):\n    raise ValueError('no weights')\n")
    with pytest.raises(UserError, match=r"b.py, line 2: fails on crops: ValueError: no weights"):
        run_verify(VerifyOptions(weights=f"{tmp_path / 'b.py'}:boom", dataset="drawn", data=data))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^b.py, line 2: fails"):
        run_verify(VerifyOptions(weights="b.py:boom", dataset="drawn", data=data))


def test_each_network_has_its_report_and_each_protocol_its_sheet(data, function, tmp_path, monkeypatch, capsys):
    persons = open_persons("drawn", data).split("test")
    twice = dataclasses.replace(
        persons, pairs=tuple(dataclasses.replace(persons.pairs[0], name=n) for n in ("F/F", "P"))
    )
    monkeypatch.setattr(PersonsDataset, "split", lambda self, name: twice)
    (tmp_path / "mine.py").write_text(
        (tmp_path / "mine.py").read_text() + "def other(crops):\n    return mean(crops)\n"
    )
    for name in ("mean", "other"):
        weights = function.replace("mean", name)
        found = run_verify(VerifyOptions(weights=weights, dataset="drawn", data=data, clusters=500))
        folder = tmp_path / f"verify-drawn-mine-{name}"
        assert json.loads((folder / "verify.json").read_text())["network"] == weights
        assert {p.name for p in folder.glob("worst*")} == {"worst-pairs-1-F_F.png", "worst-pairs-2-P.png"}
        assert "Worst pairs of F/F" in (folder / "verify.html").read_text()
        assert found["training_persons"] == "unknown"
        told = capsys.readouterr().out
        assert "training persons unknown" in told
        assert "none of the training" not in told
        assert "16 clusters beside" in told


def test_embed_writes_arrays_and_tables(function, tmp_path):
    folder = write(tmp_path / "album", ["ann", "bob"], 1)
    found = run_embed(EmbedOptions(pictures=[folder], weights=function, output=str(tmp_path / "e.npy")))
    assert found.shape == (2, 3)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.load(tmp_path / "e.npy"), found)
    assert len((tmp_path / "e.txt").read_text().splitlines()) == 2
    run_embed(EmbedOptions(pictures=[folder], weights=function, output=str(tmp_path / "e.csv")))
    rows = (tmp_path / "e.csv").read_text().splitlines()
    assert (len(rows), rows[0]) == (3, "picture,e0,e1,e2")
    np.testing.assert_allclose([float(v) for v in rows[1].split(",")[1:]], found[0], atol=1e-5)


def test_embed_skips_what_does_not_decode(function, tmp_path, capsys):
    folder = write(tmp_path / "album", ["ann"], 1)
    (tmp_path / "album" / "broken.png").write_bytes(b"no image")
    given = {"pictures": [folder], "weights": function, "output": str(tmp_path / "e.npy")}
    with pytest.raises(UserError, match=r"broken.png does not decode as an image; leave it out, or give --skip-bad"):
        run_embed(EmbedOptions(**given))
    assert len(run_embed(EmbedOptions(**given, skip_bad=True))) == 1
    assert "1 image left out" in capsys.readouterr().out


def test_embed_says_which_picture_has_no_face(function, tmp_path):
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((60, 60, 3), 90, np.uint8))
    with pytest.raises(UserError, match=r"wall.png: no face is found"):
        run_embed(EmbedOptions(pictures=[str(tmp_path)], weights=function, output=str(tmp_path / "e.npy")))
    assert not (tmp_path / "e.npy").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"units": [1, 1]}, "--units gives 2 numbers"),
        ({"embedding": 15}, "--embedding 15 is odd"),
        ({"arch": "mobile", "heatmaps": "h2"}, "--arch mobile takes no"),
        ({"clustering": "kmeans"}, "--clustering is of dynamic convolutions"),
        ({"other_maps": True}, "no landmark network's maps are used"),
        ({"validation": 0.0, "patience": 3}, "--patience waits"),
    ],
)
def test_options_that_exclude_each_other(more, message):
    with pytest.raises(UserError, match=message):
        RecogniserOptions(**more).check()


def test_what_trains_nothing_imports_no_keras(data, tmp_path):
    """Prepared, verified and embedded with a function; the shipped landmark network runs as its export."""
    (tmp_path / "pixels.py").write_text("def pixels(crops):\n    return crops.reshape(len(crops), -1)[:, ::97]\n")
    cv2.imwrite(str(tmp_path / "a.png"), draw_person(128, 0, 3, 0).image[..., ::-1])
    commands = [
        ["prepare-persons", "--persons", "12", "--pictures", "2", "--folds", "2", "--size", "32"],
        ["verify", "pixels.py:pixels", "--dataset", "drawn", "--data", str(data), "--clusters", "2"],
        ["embed", "a.png", "--weights", "pixels.py:pixels", "--size", "32", "--skip-bad"],
    ]
    run_without_keras(commands, tmp_path)
    assert (tmp_path / "verify-drawn-pixels-pixels" / "verify.json").is_file()
    assert len(np.load(tmp_path / "embeddings.npy")) == 1

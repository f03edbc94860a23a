"""Folders of persons, and the pairs of CFP, of LFW and of one's own."""

import cv2
import numpy as np
import pytest

from kd_loss.recognition.persons import (
    Pair,
    check_folds,
    draw_persons,
    drawn_pairs,
    find_pairs,
    persons_of,
    read_pairs,
    read_persons,
)
from kd_loss.system.errors import UserError

pytestmark = pytest.mark.quick

NAMES = [f"{person}/{person}_{number:04d}.jpg" for person in ("Ann", "Bob", "Cid", "Dan") for number in (1, 2)]


def write(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), np.zeros((8, 8, 3), np.uint8))
    return folder


@pytest.mark.parametrize(
    ("names", "persons"),
    [
        (["Ann/1.jpg", "Ann/2.jpg", "Bob/x.png"], ["Ann", "Ann", "Bob"]),
        (
            ["images/001/frontal/01.jpg", "images/001/profile/01.jpg", "images/002/frontal/01.jpg"],
            ["001", "001", "002"],
        ),
        (["images/Ann_Lee_00.jpg", "images/Ann_Lee_01.jpg", "images/Bob_00.jpg"], ["Ann_Lee", "Ann_Lee", "Bob"]),
        (["Ann_Lee_00.jpg", "Bob_00.jpg"], ["Ann_Lee", "Bob"]),
    ],
)
def test_persons_of_a_layout(tmp_path, names, persons):
    assert [picture.person for picture in read_persons(write(tmp_path, names))] == persons


def test_cfp_says_which_faces_are_profiles(tmp_path):
    names = ["images/001/frontal/01.jpg", "images/001/profile/01.jpg"]
    assert [dict(p.attributes) for p in read_persons(write(tmp_path, names))] == [{"profile": 0.0}, {"profile": 1.0}]


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no images"):
        read_persons(tmp_path)


def test_pairs_of_cfp(tmp_path):
    file = tmp_path / "protocol" / "pairs.csv"
    file.parent.mkdir()
    rows = [f"FP,{fold},{same},{NAMES[0]},{NAMES[2 - same]}" for fold in (1, 2) for same in (1, 0)]
    file.write_text("protocol,fold,same,first,second\n" + "\n".join(rows) + "\n")
    assert find_pairs(tmp_path) == file
    pairs = read_pairs(file, NAMES)
    assert pairs[0] == Pair(NAMES[0], NAMES[1], True, 1, "FP")
    assert [(pair.same, pair.fold) for pair in pairs] == [(True, 1), (False, 1), (True, 2), (False, 2)]


def test_pairs_of_lfw(tmp_path):
    file = tmp_path / "pairs.txt"
    file.write_text("2\t1\nAnn\t1\t2\nAnn\t1\tBob\t2\nCid\t1\t2\nCid\t1\tDan\t2\n")
    pairs = read_pairs(file, NAMES)
    assert pairs[1] == Pair("Ann/Ann_0001.jpg", "Bob/Bob_0002.jpg", False, 1, "LFW")
    assert [(pair.same, pair.fold) for pair in pairs] == [(True, 1), (False, 1), (True, 2), (False, 2)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 1\nAnn 1 2\nAnn 1 Bob 2\nCid 1 2\n", "has 3 pairs; its first line says 2 × 2 × 1"),
        ("2 1\nAnn 1 2\nAnn 1 Bob 2\nCid 1 Dan 1\nCid 1 Dan 2\n", "line 4: not name n1 n2"),
        ("2 1\nAnn 1 3\nAnn 1 Bob 2\nCid 1 2\nCid 1 Dan 2\n", "a pair names Ann/Ann_0003.jpg, which is no image"),
        ("who knows\n", "is no pairs file"),
        ("", "is no pairs file"),
        (f"fold,same,first,second\n1,2,{NAMES[0]},{NAMES[1]}\n", "line 2: fold is a number from 1 and same is 0 or 1"),
        (f"fold,same,first,second\n1,1,{NAMES[0]},{NAMES[1]}\n", "1 pair in folds 1; folds are numbered from 1"),
        (f"fold,same,first,second\n7,1,{NAMES[0]},{NAMES[1]}\n8,0,{NAMES[0]},{NAMES[2]}\n", "2 pairs in folds 7, 8"),
    ],
)
def test_bad_pairs_are_one_line(tmp_path, text, message):
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(UserError, match=message) as raised:
        read_pairs(tmp_path / "pairs.txt", NAMES)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,1,Ann/1.jpg,Bob/1.jpg", r"line 2: a pair of one person, but Ann/1.jpg shows Ann and Bob/1.jpg Bob"),
        ("1,0,Ann/1.jpg,Ann/2.jpg", r"line 2: a pair of two persons, but Ann/1.jpg shows Ann and Ann/2.jpg Ann"),
        ("1,1,Ann/1.jpg,Ann/1.jpg", r"line 2: Ann/1.jpg is paired with itself"),
    ],
)
def test_pairs_that_contradict_the_folders_are_refused(tmp_path, row, message):
    pictures = read_persons(write(tmp_path / "a", ["Ann/1.jpg", "Ann/2.jpg", "Bob/1.jpg"]))
    (tmp_path / "pairs.csv").write_text(f"fold,same,first,second\n{row}\n")
    with pytest.raises(UserError, match=message):
        read_pairs(tmp_path / "pairs.csv", [p.name for p in pictures], persons_of(pictures))


def test_a_file_without_a_number_may_show_anybody(tmp_path):
    names = [
        "ann_1.jpg",
        "cfp/images/001/frontal/01.jpg",
        "images/Bob_01.jpg",
        "images/x.jpg",
        "old.jpg",
        "Cid/new.jpg",
    ]
    found = persons_of(read_persons(write(tmp_path, names)))
    assert sorted(set(names) - set(found)) == ["images/x.jpg", "old.jpg"]
    assert found["ann_1.jpg"] == "ann"
    (tmp_path / "pairs.csv").write_text(
        "fold,same,first,second\n"
        + "".join(f"{fold},1,old.jpg,images/x.jpg\n{fold},0,old.jpg,ann_1.jpg\n" for fold in (1, 2))
    )
    assert len(read_pairs(tmp_path / "pairs.csv", names, found)) == 4


def test_unequal_folds_and_one_kind_are_refused():
    def pairs(*kinds):
        return [Pair("a", "b", same, fold) for fold, same in kinds]

    check_folds(pairs((1, True), (1, False), (2, True), (2, False)), "pairs")
    with pytest.raises(UserError, match="fold 1 has 1 same and 1 different pairs, fold 2 has 2 and 0"):
        check_folds(pairs((1, True), (1, False), (2, True), (2, True)), "pairs")
    with pytest.raises(UserError, match="all pairs are of one person"):
        check_folds(pairs((1, True), (2, True)), "pairs")


def test_drawn_pairs_have_folds_of_different_persons():
    pictures = draw_persons(4, 2, 32, seed=0)
    pairs = drawn_pairs(pictures, 2, seed=0)
    check_folds(pairs, "drawn")
    where = {fold: {p.first[:9] for p in pairs if p.fold == fold} for fold in (1, 2)}
    assert not where[1] & where[2]
    for pair in pairs:
        assert pair.same == (pair.first[:9] == pair.second[:9])
    with pytest.raises(UserError, match="4 persons for 3 folds"):
        drawn_pairs(pictures, 3, seed=0)

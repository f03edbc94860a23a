"""Points that nobody annotated, and truths that are minima."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from kd_loss.distillation import METHODS, get_method
from kd_loss.distillation.imitation import minimum
from kd_loss.distillation.partial import ANNOTATED
from kd_loss.training.distiller import Distiller
from kd_loss.training.teachers.teacher import LiveTeacher
from tests.distillation.test_contract import CARD, IMAGES, SPEC, TRUTH, numpy, student_and_teachers

NAN = np.float32("nan")


@pytest.fixture(scope="module")
def pooled():
    return student_and_teachers()


def half_annotated():
    truth = TRUTH.copy()
    truth[1, 2:] = NAN
    return truth


def distiller_of(names, networks, **options):
    student, teachers = networks
    for teacher in teachers.values():
        teacher.training_errors = np.array([0.01, 0.02, 0.11])
    methods = {get_method(name): 1.0 for name in names}
    wanted = {r for m in methods for r in (teachers if m.any_teachers else m.teacher_roles)}
    chosen = {role: teachers[role] for role in teachers if role in wanted}
    return Distiller(student=student, methods=methods, teachers=chosen, scheme=SPEC, **options)


def loss(distiller, truth):
    y = {"landmarks": ops.convert_to_tensor(truth)}
    return float(distiller.compute_loss(IMAGES, y, distiller(IMAGES, training=False)))


@pytest.fixture(scope="module")
def with_maps():
    return student_and_teachers(head="heatmap", cut="P4")


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_is_finite_on_partly_annotated_faces(name, pooled, with_maps):
    networks = with_maps if "heatmaps" in METHODS[name].student_taps else pooled
    distiller = distiller_of([name], networks, partial=True)
    assert np.isfinite(loss(distiller, half_annotated()))
    assert np.isfinite(float(distiller.trackers["nme"].result()))


def test_a_missing_point_adds_nothing_to_the_truths_term(pooled):
    distiller = distiller_of(["none"], pooled, partial=True)
    predicted = numpy(distiller(IMAGES, training=False)["landmarks"])
    error = np.abs(predicted - half_annotated())
    error[1, 2:] = 0  # each annotated coordinate weighs as much as on a whole face
    assert loss(distiller, half_annotated()) == pytest.approx(error.mean(), rel=1e-4)
    # without missing points the answer is that of a distiller that knows of none
    assert loss(distiller, TRUTH) == pytest.approx(loss(distiller_of(["none"], pooled), TRUTH), rel=1e-6)


def test_the_teachers_answer_stands_for_a_missing_point_in_distilling_terms(pooled):
    distiller = distiller_of(["kd_loss"], pooled, partial=True)
    student, teachers = (
        numpy(distiller(IMAGES, training=False)["landmarks"]),
        {role: numpy(teacher(IMAGES)["landmarks"]) for role, teacher in pooled[1].items()},
    )
    observed = np.where(np.isnan(half_annotated()), np.mean(list(teachers.values()), axis=0), half_annotated())
    own = np.where(np.isnan(half_annotated()), student, half_annotated())
    method = get_method("kd_loss")
    taps = {role: {"landmarks": points} for role, points in teachers.items()}
    main = numpy(method.terms(own, {"landmarks": student}, taps)["main"]).mean()
    terms = method.terms(observed, {"landmarks": student}, taps)
    expected = 2.5 * main + numpy(terms["tough"]).mean() + numpy(terms["tolerant"]).mean()
    assert loss(distiller, half_annotated()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("roles", [("tough",), ("tough", "tolerant")])
def test_a_teachers_error_is_that_of_the_annotated_points(roles):
    """Two points of four are annotated, where each teacher errs by 0.2 on both axes: e² = 0.04, η = 0.05, Φ = 0.2.

    Taken as right about the others, whose truth is the teachers' mean answer, a lone one would have Φ = 0.6.
    """
    truth = np.zeros((1, 4, 2), np.float32)
    observed = {role: {"landmarks": truth + np.float32(side)} for role, side in zip(roles, (0.2, -0.2), strict=False)}
    truth[:, 2:] = np.mean([taps["landmarks"][:, 2:] for taps in observed.values()], axis=0)
    student = {
        "landmarks": np.concatenate([np.full((1, 2, 2), 0.15), truth[:, 2:]], axis=1).astype(np.float32),
        ANNOTATED: np.array([[1, 1, 0, 0]], np.float32),
        "embedding": np.zeros((1, 3), np.float32),
    }
    ail, aht, bound = (get_method(name) for name in ("ail", "aht", "bound"))
    ail.etas = aht.etas = dict.fromkeys(roles, 0.05)
    aht.connectors = dict.fromkeys(roles, lambda features: features)
    for role, taps in observed.items():
        plain = np.square(student["landmarks"] - taps["landmarks"]).mean()
        assert numpy(ail.teacher_terms(role, truth, student, taps)["imitation"]) == pytest.approx(0.2 * plain, rel=1e-4)
        taps["embedding"] = np.ones((1, 3), np.float32)  # 1 away in its own units, but for the thousandth
        assert numpy(aht.teacher_terms(role, truth, student, taps)["imitation"]) == pytest.approx(0.2 / 1.001, rel=1e-4)
        # the student errs by 0.15 where the truth is known: no teacher is better
        assert numpy(bound.teacher_terms(role, truth, student, taps)["imitation"]) == pytest.approx(0)
        student["landmarks"][:, :2] = 0.25
        assert numpy(bound.teacher_terms(role, truth, student, taps)["imitation"]) > 0
        student["landmarks"][:, :2] = 0.15


def test_the_distiller_marks_the_annotated_points(pooled):
    distiller = distiller_of(["ail"], pooled, partial=True)
    [method] = distiller.methods
    seen = []
    method.teacher_terms = lambda role, y_true, student, teacher: (
        seen.append(numpy(student[ANNOTATED])) or {"imitation": ops.zeros(len(TRUTH))}
    )
    loss(distiller, half_annotated())
    np.testing.assert_array_equal(seen[-1], ~np.isnan(half_annotated()).any(axis=-1))


def test_pseudo_labels_by_hand():
    method = get_method("pseudo", {"limit": 0.02})
    truth = np.array([[[0.0, 0.0], [0.1, 0.1]]] * 2, np.float32)
    # what the Distiller hands over: the teacher's own answer where there is no truth, here at the second point
    answers = truth + np.array([[[0.01, 0.01], [0, 0]], [[0.05, 0.05], [0, 0]]], np.float32)
    student = {"landmarks": truth + np.float32(0.2)}
    values = numpy(method.terms(truth, student, {"t": {"landmarks": answers}})["main"])
    # the first teacher errs by 0.01 on the annotated point and is believed about the other: (0.2 · 4) / 4
    # the second errs by 0.05 and is not: (0.2 · 2) / 4
    np.testing.assert_allclose(values, [0.2, 0.1], rtol=1e-5)


def test_with_other_methods_pseudo_labels_come_from_its_own_teacher(pooled):
    """The tolerant teacher, whom KD-Loss hears alone, has no part in them; the tough one errs and is not believed."""
    distiller = distiller_of(["kd_loss", "pseudo"], pooled, partial=True)
    student = numpy(distiller(IMAGES, training=False)["landmarks"])
    tough = numpy(pooled[1]["tough"](IMAGES)["landmarks"])
    observed = np.where(np.isnan(half_annotated()), tough, half_annotated())
    alone = get_method("pseudo").terms(observed, {"landmarks": student}, {"tough": {"landmarks": tough}})["main"]
    loss(distiller, half_annotated())
    assert float(distiller.trackers["pseudo.main"].result()) == pytest.approx(numpy(alone).mean(), rel=1e-4)


def test_a_second_head_learns_nothing_where_nothing_is_annotated():
    method = get_method("auxiliary")
    method.head = lambda maps, training: maps["P2"]
    student = {
        "landmarks": np.zeros((1, 2, 2), np.float32),
        "P2": np.full((1, 2, 2), 0.1, np.float32),
        "P3": 0,
        "P4": 0,
    }
    truth = np.array([[[0.3, 0.3], [0.0, 0.0]]], np.float32)  # the student's own answer at the second point
    values = method.terms(truth, student, {})
    assert numpy(values["main"])[0] == pytest.approx(0.15)
    assert numpy(values["auxiliary"])[0] == pytest.approx(0.1)


def test_the_normaliser_has_to_be_annotated_for_a_face_to_count_in_the_nme(pooled):
    distiller = distiller_of(["none"], pooled, partial=True)
    truth = TRUTH.copy()
    truth[0, 0] = NAN  # an eye corner
    predicted = numpy(distiller(IMAGES, training=False)["landmarks"])
    loss(distiller, truth)
    distance = np.linalg.norm(TRUTH[1:, 0] - TRUTH[1:, 1], axis=1)
    expected = 100 * (np.linalg.norm(predicted - TRUTH, axis=2)[1:].mean(axis=1) / distance).mean()
    assert float(distiller.trackers["nme"].result()) == pytest.approx(expected, rel=1e-3)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["kd_loss", "kd", "min", "imitation", "bound", "ail", "none", "pseudo"]),
    error=st.floats(0, 0.1),
    step=st.floats(1e-3, 0.1),
    direction=st.integers(0, 2**32 - 1),
)
def test_the_truth_is_a_minimum_where_the_teachers_are_right(name, error, step, direction):
    """Away from the truth no objective is smaller; KD-Loss even where its teachers err (d far above their error)."""
    method = get_method(name)
    if name != "ail":
        method.attach(None, {})
    truth = TRUTH[:1]
    rng = np.random.default_rng(direction)
    teachers = {
        role: {"landmarks": truth + (error * rng.choice([-1, 1], truth.shape) if name == "kd_loss" else 0)}
        for role in ("tough", "tolerant")
    }
    away = truth + step * rng.uniform(-1, 1, truth.shape)
    here, there = (
        float(numpy(method(truth, {"landmarks": points.astype("float32")}, teachers))[0]) for points in (truth, away)
    )
    assert there >= here - 1e-6


def test_a_main_weight_of_two_has_its_minimum_off_the_truth():
    """What the default was: at d = 0.1 t the paper's form with main = 2 is below its value at the truth."""
    truth = np.zeros((1, 1, 2), np.float32)
    taps = {role: {"landmarks": truth + 0.1} for role in ("tough", "tolerant")}

    def value(main, d):
        return float(numpy(get_method("kd_loss", {"main": main})(truth, {"landmarks": truth + np.float32(d)}, taps))[0])

    assert value(2.0, 0.01) < value(2.0, 0.0)
    assert value(2.5, 0.01) > value(2.5, 0.0)


def test_heatmaps_of_one_network_agree_with_themselves():
    student, teachers = student_and_teachers(head="heatmap", cut="P4")
    method = get_method("heatmap")
    chosen = {"tough": LiveTeacher(student, ("landmarks", "heatmaps"))}
    method.attach(student, chosen)
    taps = dict(student.tap_model(("landmarks", "heatmaps"))(IMAGES, training=False))
    same = method.terms(TRUTH, taps, {"tough": chosen["tough"](IMAGES)})
    np.testing.assert_allclose(numpy(same["divergence"]), 0, atol=1e-4)
    other = method.terms(TRUTH, taps, {"tough": teachers["tough"](IMAGES)})
    assert (numpy(other["divergence"]) > 1e-6).all()
    # rendered about the teacher's landmarks, it needs no maps
    rendered = get_method("heatmap", {"sigma": 0.05})
    assert rendered.teacher_taps == ("landmarks",)
    rendered.attach(student, chosen)
    values = rendered.terms(TRUTH, taps, {"tough": {"landmarks": TRUTH}})
    assert np.isfinite(numpy(values["divergence"])).all()


def test_an_auxiliary_head_is_trained_and_not_saved(pooled):
    student = pooled[0]
    distiller = Distiller(student=student, methods={get_method("auxiliary"): 1.0}, scheme=SPEC)
    assert len(distiller.trainable_variables) > len(student.model.trainable_variables)
    assert not [layer.name for layer in student.model.layers if "decoder" in layer.name]
    assert dataclasses.replace(CARD).head == "pooled"


def test_annotated_points_decide_which_is_nearer():
    """`min`: where nobody annotated, another teacher's answer stands for the truth and must not decide."""
    student = np.zeros((1, 2, 2), np.float32)
    truth = np.array([[[0.2, 0.2], [0.0, 0.0]]], np.float32)  # the second point is not annotated
    teacher = np.array([[[0.1, 0.1], [0.5, 0.5]]], np.float32)
    # over all points 0.02 and 0.13; at the annotated one 0.04 and 0.01: the teacher is nearer
    assert float(minimum(truth, student, teacher)[0]) == pytest.approx(0.02)
    assert float(minimum(truth, student, teacher, np.array([[1.0, 0.0]]))[0]) == pytest.approx(0.13)

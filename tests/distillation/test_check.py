"""What is wrong with a method is said in one line before a training has begun."""

import textwrap

import keras
import numpy as np
import pytest
from keras import ops

from kd_loss.distillation import METHODS, DistillationMethod, get_method, per_sample, register
from kd_loss.distillation.base import parameters_of
from kd_loss.networks import Card, build_network
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError
from kd_loss.training.distiller import Distiller
from kd_loss.training.method_specs import load_plugins, parse_methods

SPEC = LandmarkScheme("five", 5, normalisers={"eyes": ((0,), (1,))})


@pytest.fixture(scope="module")
def student():
    return build_network(Card("tiny", 1.0, "five", SPEC.to_dict(), 32, "student", 0.15))


class Sound(DistillationMethod):
    """The error."""

    name_on_command_line = "sound"

    def terms(self, y_true, student, teachers):
        return {"main": per_sample(ops.abs(student["landmarks"] - y_true))}


class Unnamed(Sound):
    def terms(self, y_true, student, teachers):
        return {**super().terms(y_true, student, teachers), "more": 0.0}


class Missing(Sound):
    term_names = ("main", "more")


class Typo(Sound):
    weights_of_terms = {"mian": 2.0}  # noqa: RUF012


class Metric(Sound):
    term_names = ("nme",)


class Scalar(Sound):
    def terms(self, y_true, student, teachers):
        return {"main": ops.mean(ops.abs(student["landmarks"] - y_true))}


class Infinite(Sound):
    def terms(self, y_true, student, teachers):
        return {"main": per_sample(1.0 / (y_true * 0))}


class Broken(Sound):
    def terms(self, y_true, student, teachers):
        return {"main": student["P9"]}


class Attach(Sound):
    def attach(self, student, teachers):
        student.chanels("P4")


class NotInGraph(Sound):
    """Right as long as its values can be read."""

    def terms(self, y_true, student, teachers):
        if ops.max(y_true) > 1:
            y_true = y_true / 2
        return super().terms(y_true, student, teachers)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Unnamed, "returns main, more; its term_names are: main"),
        (Missing, "returns main; its term_names are: main, more"),
        (Typo, "gives a weight to 'mian'; its terms are: main"),
        (Metric, "names a term 'nme', which is a reserved key"),
        (Scalar, r"returns \(\) as 'main' of two faces"),
        (Infinite, "returns a 'main' that is not finite"),
        (Broken, r"on two faces \(test_check.py, line \d+\): KeyError: P9; the taps that it names are student"),
        (Attach, r"fails in attach \(test_check.py, line \d+\): AttributeError: .*'chanels'"),
        (NotInGraph, r"fails when it is compiled \(test_check.py, line \d+\): .*(bool|boolean)"),
    ],
)
def test_a_method_is_checked_once_on_two_faces(kind, message, student):
    if kind is NotInGraph and keras.backend.backend() == "torch":
        pytest.skip("PyTorch reads values while it trains")
    with pytest.raises(UserError, match=message):
        Distiller(student=student, methods={kind(): 1.0}, scheme=SPEC)


def test_a_valid_one_passes(student):
    assert Distiller(student=student, methods={Sound(): 1.0}, scheme=SPEC).objective == "1·main"


def test_a_name_is_not_taken_twice():
    with pytest.raises(UserError, match="Sound cannot be registered as the method 'kd': PlainKD is"):
        register("kd")(Sound)
    assert METHODS["kd"].__name__ == "PlainKD"
    register("kd")(METHODS["kd"])  # the same one again, as when a file is imported twice


PLUGIN = """
from keras import layers, ops
from kd_loss.distillation import TeacherMean, per_sample, register


@register("mine{n}")
class Mine(TeacherMean):
    '''`|S − y| + pull·|r(S) − T|`: landmarks (B, K, 2); result (B,).'''

    term_names = ("main", "pull")

    def __init__(self, power: int, squared: bool = False, levels: list = (1, 2), pull: float = 0.5, **kwargs):
        super().__init__(**kwargs)
        self.power, self.squared, self.levels, self.pull = power, squared, list(levels), pull
        self.connector = None

    @property
    def weights_of_terms(self):
        return {{"pull": self.pull}}

    def attach(self, student, teachers):
        super().attach(student, teachers)
        self.connector = layers.Dense(2)  # no word of float32
        self.connector.build((None, None, 2))

    def terms(self, y_true, student, teachers):
        points = student["landmarks"]
        moved = self.connector(points)
        return {{
            "main": per_sample(ops.abs(points - y_true)),
            "pull": self.over_teachers(teachers, lambda _, taps: per_sample(ops.abs(moved - taps["landmarks"]))),
        }}

"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "mine.py"
    path.write_text(textwrap.dedent(PLUGIN.format(n="")))
    return path


def test_a_method_of_a_plugin_file(plugin):
    load_plugins([str(plugin)])
    load_plugins([str(plugin)])  # once is enough
    assert [kind.__name__ for kind, _ in parameters_of(METHODS["mine"]).values()] == ["int", "bool", "list", "float"]
    [(method, _, _)] = parse_methods(["mine@tough"], ["mine.power=2", "mine.squared=True", "mine.levels=[3, 4]"])
    assert (method.power, method.squared, method.levels, method.pull) == (2, True, [3, 4], 0.5)
    again = type(method).from_config(method.get_config())
    assert again.get_config() == method.get_config()
    assert (again.power, again.squared, again.levels, again.pull) == (2, True, [3, 4], 0.5)
    with pytest.raises(UserError, match="the method mine requires its parameter: --method-arg mine.power="):
        get_method("mine")
    for key, value, kind in (
        ("power", 1.5, "a whole number"),
        ("squared", 1, "True or False"),
        ("levels", 3, "a list"),
    ):
        with pytest.raises(UserError, match=f"mine.{key} = {value} is not {kind}"):
            get_method("mine", {"power": 1, key: value})


def test_its_connectors_compute_in_float32_under_mixed_precision(plugin, student):
    load_plugins([str(plugin)])
    teacher = build_network(Card("tiny", 0.5, "five", SPEC.to_dict(), 32, "tough", 0.15))
    from kd_loss.training.teachers.teacher import LiveTeacher

    method = get_method("mine", {"power": 1})
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        Distiller(student=student, methods={method: 1.0}, teachers={"tough": LiveTeacher(teacher)}, scheme=SPEC)
        assert method.connector.compute_dtype == "float32"
    finally:
        keras.mixed_precision.set_global_policy("float32")


def test_a_plugin_that_does_not_import_is_one_line(tmp_path):
    with pytest.raises(UserError, match="--plugin .*none.py: no such Python file"):
        load_plugins([str(tmp_path / "none.py")])
    (tmp_path / "bad.py").write_text("import nowhere_at_all")
    with pytest.raises(UserError, match="bad.py does not import: ModuleNotFoundError: No module"):
        load_plugins([str(tmp_path / "bad.py")])


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (["srrl@"], "no teacher is named after the @"),
        (["kd_loss@good"], "it uses its own teachers .tough, tolerant"),
        (["none@tough"], "it uses its own teachers .none"),
    ],
)
def test_teachers_used_by_a_method(methods, message):
    with pytest.raises(UserError, match=message):
        parse_methods(methods, [])


class Counts(Sound):
    """How many faces it is asked about at once."""

    relational = True

    def terms(self, y_true, student, teachers):
        count = ops.shape(y_true)[0]
        return {"main": per_sample(ops.zeros_like(y_true)) + ops.cast(count, "float32")}


def test_a_relational_method_sees_one_kind_of_faces_at_a_time(student):
    distiller = Distiller(student=student, methods={Counts(): 1.0}, scheme=SPEC, kinds=3, mix_weight=1.0)
    images = np.zeros((6, 32, 32, 3), np.float32)
    kind = np.array([2, 0, 1, 1, 0, 2], np.float32)
    taps = {"landmarks": np.zeros((6, 5, 2), np.float32)}
    [method] = distiller.methods
    values = distiller._terms(method, taps["landmarks"], taps, {}, ops.convert_to_tensor(kind))["main"]
    # asked about two faces each time; mixtures get nothing
    np.testing.assert_array_equal(ops.convert_to_numpy(values), [0, 2, 2, 2, 2, 0])
    assert images.shape[0] == len(kind)


def test_a_plugin_that_registers_nothing_is_one_line(tmp_path):
    (tmp_path / "forgot.py").write_text("from kd_loss.distillation import register\n")
    with pytest.raises(UserError, match=r"forgot.py registers no method: does it have a class with @register"):
        load_plugins([str(tmp_path / "forgot.py")])


def test_a_parameter_that_is_not_kept():
    class Careless(Sound):
        def __init__(self, share: float = 0.5, **kwargs):
            super().__init__(**kwargs)

    with pytest.raises(UserError, match=r"sound does not keep its parameter: self.share = share in the constructor"):
        Careless().get_config()


def test_a_constructor_that_forgets_the_layers_own(monkeypatch):
    class Forgetful(Sound):
        def __init__(self, share: float = 0.5):
            self.share = share

    monkeypatch.setitem(METHODS, "forgetful", Forgetful)
    with pytest.raises(UserError, match=r"forgetful does not call super\(\).__init__"):
        get_method("forgetful")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("@register(3)\nclass A(DistillationMethod): pass", "a method's name is made of letters, digits, _ and -"),
        ("@register('a:b(c)')\nclass A(DistillationMethod): pass", "a method's name is made of letters"),
        ("@register('a+b')\nclass A(DistillationMethod): pass", "a method's name is made of letters"),
        ("@register('')\nclass A(DistillationMethod): pass", "a method's name is made of letters"),
        ("@register('mine')\ndef mine(): pass", "decorates a subclass of DistillationMethod; mine is not one"),
        ("@register('mine')\nclass Mine: pass", "decorates a subclass of DistillationMethod; Mine is not one"),
        ("class E(Exception):\n  def __str__(self): return 1 / 0\nraise E", "does not import: E: E"),
    ],
)
def test_a_plugin_that_registers_no_method_is_one_line(tmp_path, code, message):
    path = tmp_path / "mine.py"
    path.write_text(f"from kd_loss.distillation import DistillationMethod, register\n{code}\n")
    with pytest.raises(UserError, match=message):
        load_plugins([str(path)])


@pytest.mark.parametrize("value", ["9" * 400, "-" + "9" * 30])
def test_a_parameter_of_excessive_size_is_one_line(value):
    with pytest.raises(UserError, match=r"kd.imitation: a whole number of \d+ digits is out of range"):
        parse_methods([f"kd(imitation={value})"], [])

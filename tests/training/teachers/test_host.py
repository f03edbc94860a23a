"""A function of NumPy arrays inside a step."""

import keras
import numpy as np
import pytest

from kd_loss.system.errors import UserError
from kd_loss.training.teachers.host import call_on_host, own_errors


class Asks(keras.Model):
    """Its answers are those of a function of NumPy arrays."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, images):
        return call_on_host(self.function, images, {"landmarks": (2,)})["landmarks"]


def refuse(_images):
    raise UserError("f.py, line 2: fails on faces: ValueError: no weights")


def test_a_function_answers_in_a_compiled_step():
    model = Asks(lambda images: {"landmarks": images[:, 0, 0, :2] + 1})
    np.testing.assert_allclose(model.predict(np.zeros((3, 4, 4, 3), np.float32), verbose=0), np.ones((3, 2)))


def test_a_functions_own_error_is_no_error_of_a_backend():
    model = Asks(refuse)
    with pytest.raises(UserError, match=r"^f.py, line 2: fails on faces"), own_errors():
        model.predict(np.zeros((3, 4, 4, 3), np.float32), verbose=0)


def test_an_earlier_error_is_not_that_of_a_later_step():
    with pytest.raises(UserError), own_errors():
        Asks(refuse).predict(np.zeros((1, 4, 4, 3), np.float32), verbose=0)
    with pytest.raises(ZeroDivisionError), own_errors():
        raise ZeroDivisionError

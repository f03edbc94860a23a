import pytest

from kd_loss.system.errors import UserError, choose, first_line

pytestmark = pytest.mark.quick


def test_the_nearest_name_is_offered():
    with pytest.raises(UserError, match="unknown dataset 'w30': did you mean 'w300'"):
        choose("w30", ["w300", "cofw", "wflw"], "dataset")


def test_all_valid_names_are_listed():
    with pytest.raises(UserError, match="valid: a, b"):
        choose("zzzz", ["a", "b"], "thing")


@pytest.mark.parametrize("text", ["mobileNetV2", "mobilenetv2", "MOBILENETV2"])
def test_case_does_not_matter(text):
    assert choose(text, ["mobileNetV2"], "architecture") == "mobileNetV2"


def test_the_first_line_of_a_third_party_error():
    assert first_line(ValueError("  no such layer: x\nTraceback …")) == "no such layer: x"
    assert first_line(KeyError("Unable to open object (object 'a' doesn't exist)")).startswith("Unable to open")
    assert first_line(MemoryError()) == "MemoryError"
    assert first_line(OSError("x" * 500)) == "x" * 160

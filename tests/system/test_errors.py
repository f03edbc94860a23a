import pytest

from kd_loss.system.errors import UserError, choose

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

import pytest

from kd_loss.datasets.contact_sheets import DRAWINGS
from kd_loss.evaluation.registry import CONTENT
from kd_loss.evaluation.result import RESULTS
from kd_loss.inference.pose import PREDICTORS
from kd_loss.schemes.benchmarks import W300
from kd_loss.schemes.pose import POSES
from kd_loss.schemes.registry import landmark_scheme, scheme_of
from kd_loss.system.errors import UserError

pytestmark = pytest.mark.quick

POSE = next(iter(POSES.values()))


@pytest.mark.parametrize(
    "table", [DRAWINGS, CONTENT, RESULTS, PREDICTORS], ids=["drawings", "content", "results", "use"]
)
def test_every_kind_of_scheme_is_in_every_table(table):
    assert set(table) == {type(W300), type(POSE)}


@pytest.mark.parametrize("scheme", [W300, POSE])
def test_a_scheme_comes_back_from_its_plain_values(scheme):
    assert scheme_of(scheme.to_dict(), "here") == scheme


def test_a_missing_landmark_scheme_is_one_line():
    assert landmark_scheme(W300, "never") is W300
    with pytest.raises(UserError, match="not for poses"):
        landmark_scheme(POSE, "not for poses")

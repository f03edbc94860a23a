"""What the readers of all archives do."""

import pytest

from kd_loss.archives.cofw import read_cofw
from kd_loss.archives.w300 import read_w300
from kd_loss.archives.wflw import read_wflw
from kd_loss.system.errors import UserError

pytestmark = pytest.mark.quick


@pytest.mark.parametrize("read", [read_w300, read_wflw, read_cofw])
def test_a_missing_and_an_empty_folder_are_one_line(tmp_path, read):
    with pytest.raises(UserError, match="no such folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is empty"):
        read(tmp_path)
    (tmp_path / "other.txt").write_text("x")
    with pytest.raises(UserError, match="no annotated face"):
        read(tmp_path)

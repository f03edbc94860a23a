"""`python -m tools.finder`: train the face finder that `predict` uses."""

from kd_loss.cli import run_tool
from tools.finder.command import run_train_finder
from tools.finder.options import FinderOptions

run_tool(FinderOptions, run_train_finder, "python -m tools.finder")

"""`python -m kd_loss` is the command `kd-loss`."""

from kd_loss.cli import main

main()

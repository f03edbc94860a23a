"""Test a network: `python test.py --dataset w300 --weights runs/w300/student-kd_loss/best.h5`."""

from kd_loss.cli import run_command

if __name__ == "__main__":
    run_command("test")

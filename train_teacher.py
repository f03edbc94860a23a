"""Train the teachers of a dataset: `python train_teacher.py --dataset w300`."""

from kd_loss.cli import run_command

if __name__ == "__main__":
    run_command("train-teacher")

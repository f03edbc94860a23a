"""Train a student: `python train_student.py --arch mobileNetV2`."""

from kd_loss.cli import run_command

if __name__ == "__main__":
    run_command("train-student")

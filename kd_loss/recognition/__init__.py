"""Faces told apart with the help of landmarks: FAN-Face, CondFace and their distillation."""

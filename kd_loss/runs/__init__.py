"""The files of a training: the run folder, its history and the state to resume from."""

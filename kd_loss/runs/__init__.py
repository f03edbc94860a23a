"""What a training leaves on disk: the run folder, its history and the state to resume from."""

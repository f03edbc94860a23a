"""Training of teachers and students: options, run folder, resume."""

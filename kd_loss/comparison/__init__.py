"""Methods on equal terms: trainings, paired differences, the table of methods."""

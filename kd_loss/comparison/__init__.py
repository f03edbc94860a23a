"""Methods on equal terms: training all of them, paired differences, tables."""

"""Teachers: found, loaded, called in every step or recorded once."""

"""Training of the embedded face finder on composed images."""

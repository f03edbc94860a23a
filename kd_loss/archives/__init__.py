"""Archives of annotated faces, each read into samples; the registry names the readers."""

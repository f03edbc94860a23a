"""What every command rests on: errors, options, files, the terminal, sandboxed reading."""

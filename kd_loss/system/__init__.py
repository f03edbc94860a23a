"""The foundations of every command: errors, options, files, the terminal, sandboxed reading."""

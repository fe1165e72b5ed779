"""The command lines: one module a command, with its parser and one call of the rooms below."""

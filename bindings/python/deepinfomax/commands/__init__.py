"""The subcommands of `dim`, one module each: add_arguments(parser) and run(arguments) -> exit code."""


class UsageError(Exception):
    """The command cannot do what its arguments ask for; the message says why. Exit code 2."""

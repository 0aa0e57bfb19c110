"""The package's own exceptions: each message names the cause and the fix."""


class DendrotwinError(Exception):
    """Base of every error that a user can cause; the command line prints it in one line and exits 2."""


class CellError(DendrotwinError):
    """A cell is unknown, or cannot be built on this machine."""


class FileError(DendrotwinError, OSError):
    """A file or folder is missing, incomplete, of another cell, or in the way."""


class InputError(DendrotwinError, ValueError):
    """Input events, injected currents or options do not fit the cell, the duration or the data."""


class MissingPackageError(InputError, ImportError):
    """A package that not everybody needs is not installed."""


class CircuitError(DendrotwinError):
    """A network of twins cannot be run, or its run cannot go on."""


class TwinError(DendrotwinError):
    """A twin's folder is incomplete or altered, or a training run cannot go on."""


class InputWarning(UserWarning):
    """Input that can be used, but that may not mean what it says; the command line prints it in one line."""


def in_one_line(error: BaseException) -> str:
    """What somebody else's code raised, for a message of one line: its type and its text.

    Args:
        error: what was raised; NEURON puts whole tracebacks into its text, of which the last line counts.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    traceback = any(line.startswith("Traceback (most recent") for line in lines)
    return f"{type(error).__name__}: {lines[-1] if traceback else ' '.join(lines)}" if lines else type(error).__name__

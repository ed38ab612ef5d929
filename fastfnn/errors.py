"""Errors that a user can cause. Each also derives from the builtin that callers would expect to catch."""


class FastfnnError(Exception):
    """Base class of every error that fastfnn raises on purpose."""


class ConfigError(FastfnnError, ValueError):
    """A configuration names an unknown field, or a value that is out of range or contradicts another."""


class DataError(FastfnnError, ValueError):
    """A data or model file, or an array, is not what its format or its companions require."""


class StoreError(FastfnnError, OSError):
    """A sweep's store cannot be opened, read or written."""


class MissingPackageError(FastfnnError, ImportError):
    """Something needs a package that is not installed; the message says which, and how to install it."""


def suggestion(name: str, known: list[str]) -> str:
    """`"; did you mean 'x'?"` for the known name closest to `name`, or an empty string."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""

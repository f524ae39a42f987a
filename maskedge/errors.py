"""Exceptions, named for what the caller can do about them.

Each carries one sentence for the person at the keyboard (what, where and the cure) and the
sysexits(3) code with which a command that meets it ends.
"""

EX_OK = 0
EX_USAGE = 64
EX_NOINPUT = 66
EX_UNAVAILABLE = 69
EX_CONFIG = 78


class MaskedgeError(Exception):
    """Base of all errors that a user can cause and a user can cure."""

    exit_code: int = EX_UNAVAILABLE


class UsageError(MaskedgeError):
    """The command line asks for something that isn't there: correct the command."""

    exit_code = EX_USAGE


class ConfigError(MaskedgeError):
    """The configuration is wrong: correct the file, then start or reload again."""

    exit_code = EX_CONFIG


class ModelError(MaskedgeError):
    """A network's file is missing, damaged or of the wrong shape: install another file."""

    exit_code = EX_NOINPUT


class StoreError(MaskedgeError):
    """The folder of installed networks can't be read or changed: mend it, or take other rights."""


class InputError(MaskedgeError):
    """A picture, video or folder can't be read: go on with the next, or give another."""

    exit_code = EX_NOINPUT


class CameraError(MaskedgeError):
    """The camera gave no frame: close it, wait, open it again."""


class EndOfStream(CameraError):
    """A file source came to its end: nothing is wrong, no more frames follow."""


class AcceleratorError(MaskedgeError):
    """The Edge TPU can't be used now: run on the CPU, try again later."""


class BrokerError(MaskedgeError):
    """The MQTT broker can't be reached or refuses us: events stay in the outbox."""


class OutboxError(MaskedgeError):
    """The outbox can't be read or written: mend the disk or its permissions."""


class ResourceError(MaskedgeError):
    """The system has no thread to give now: go on without, try again later."""


class WebError(MaskedgeError):
    """A page can't be served: choose another address or port, or install what is missing."""


class ReviewError(MaskedgeError):
    """The kept faces can't be read or written: mend the disk, the folder or its permissions."""

"""Every error that Sonde raises on purpose. The message is one line and says what to do next.

SondeError                   exit code 1
    UsageError               exit code 2: a flag, setting or argument is wrong
        ConfigError          a configuration file or variable is wrong
    KernelError              the kernel cannot do, or refuses, what was asked
        ProbeError           one probe failed to compile, load or attach
    SpoolError               the agent's spool is in use by another agent
    WireError                a batch or column cannot be decoded
    StoreError               the store cannot be opened, read or written
    JournalError             the aggregator's journal cannot be opened or written
    RecordingError           a recording cannot be written or replayed
    CertificateError         a key or certificate cannot be made, read or used
"""


class SondeError(Exception):
    """Base of all errors that Sonde raises on purpose."""

    exit_code = 1


class UsageError(SondeError):
    """A flag, a setting or an argument is wrong."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration file or an environment variable is wrong."""


class KernelError(SondeError):
    """The kernel cannot do, or refuses, what was asked."""


class ProbeError(KernelError):
    """One probe failed to compile, load or attach."""


class SpoolError(SondeError):
    """The agent's spool is in use by another agent."""


class WireError(SondeError):
    """A batch or a column cannot be decoded."""


class StoreError(SondeError):
    """The store cannot be opened, read or written."""


class JournalError(SondeError):
    """The aggregator's journal cannot be opened or written."""


class RecordingError(SondeError):
    """A recording cannot be written or replayed."""


class CertificateError(SondeError):
    """A key or a certificate cannot be made, read or used."""

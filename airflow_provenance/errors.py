"""Every error of ours, one class per thing a caller can do about it.

::

    ProvenanceError              one line that says what to do; the command line prints just that
    ├── SettingsError            a setting is missing or cannot be used: change the setting
    ├── CheckError               a check of a dataset cannot work as it is: mend the check
    ├── PolicyError              a promise cannot be kept track of as it is: mend the promise
    ├── SubjectError             a run, dataset or version was asked for that cannot be found
    ├── RequestError             a request that cannot be answered as it was asked: ask otherwise
    │   ├── TooLargeError          its body is over a limit: send less at a time
    │   └── BusyError              somebody else asks the same, which is dear: ask again later
    ├── AuthenticationError      nobody is known by these credentials: bring a valid token
    ├── AccessError              somebody known may not do this: ask for the right to
    ├── EventError               an event that cannot be ingested: it goes to the quarantine
    ├── EventRefusedError        an event that a backend does not take: it is set aside
    ├── FeedUnavailableError     a backend does not answer, or not to us: try again later
    ├── NoticeRefusedError       a notice that a channel does not take: it is given up
    ├── ChannelUnavailableError  a channel does not answer, or not to us: try again later
    └── StoreError               the store cannot be used as it is
        ├── StoreMigrationError    its schema is missing, older or newer: ``db migrate``, upgrade
        └── StoreUnavailableError  it cannot be reached or written: check disk, rights, server
"""

from __future__ import annotations


class ProvenanceError(Exception):
    """Something a user can mend; its text is one line that says how."""


class SettingsError(ProvenanceError):
    """A setting is missing or cannot be used."""


class CheckError(ProvenanceError):
    """A check of a dataset is declared, or run, in a way that cannot work."""


class PolicyError(ProvenanceError, ValueError):
    """A promise is declared in a way that cannot work; a `ValueError`, as msgspec wants it."""


class SubjectError(ProvenanceError):
    """A run, dataset or version was asked for that the store does not know, or knows twice."""


class RequestError(ProvenanceError):
    """A request over HTTP that cannot be answered as it was asked."""


class TooLargeError(RequestError):
    """The body of a request is over a limit."""


class BusyError(RequestError):
    """A request that costs much while another such is being answered."""


class AuthenticationError(ProvenanceError):
    """Nobody is known by the credentials of a request, or it has none."""


class AccessError(ProvenanceError):
    """Somebody who is known may not do what was asked."""


class EventError(ProvenanceError):
    """An event or note that cannot be ingested.

    Attributes:
        reason: a short code, stable for scripts: one of `REASONS`.
    """

    REASONS = (
        "invalid_json",
        "invalid_event",
        "no_time_zone",
        "too_large",
        "too_late",
        "torn_line",
        "bad_checksum",
    )

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class EventRefusedError(ProvenanceError):
    """A backend does not take an event, and will not if it is sent again."""


class FeedUnavailableError(ProvenanceError):
    """A feed cannot deliver now: its backend is away, busy, or does not let us in.

    Attributes:
        may_be_the_event: whether it answered, in a way that one event alone can bring about.
        retry_after_s: how long it asks us to wait.
    """

    def __init__(
        self, message: str, *, may_be_the_event: bool = False, retry_after_s: float = 0.0
    ) -> None:
        super().__init__(message)
        self.may_be_the_event = may_be_the_event
        self.retry_after_s = retry_after_s


class NoticeRefusedError(ProvenanceError):
    """A channel does not take a notice, and will not if it is sent again."""


class ChannelUnavailableError(ProvenanceError):
    """A channel cannot deliver now.

    Attributes:
        retry_after_s: how long it asks us to wait.
    """

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoreError(ProvenanceError):
    """The store cannot be used as it is."""


class StoreMigrationError(StoreError):
    """The schema of the store is missing, older or newer than this release."""


class StoreUnavailableError(StoreError):
    """The store cannot be reached or written."""

"""A role, again and again: back-off after a failure, one line for each, and what health shows."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from airflow_provenance import wiring
from airflow_provenance.errors import ProvenanceError

if TYPE_CHECKING:
    from airflow_provenance.service.roles import Role, Step
    from airflow_provenance.store.base import Store

_log = logging.getLogger(__name__)
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
# A step that takes longer is taken for stuck: batches are small, and every request has a timeout.
STUCK_SECONDS = 300.0
_LEASE_PAUSE_SECONDS = 5.0
# A service ends within 8 s, whatever a backend does.
_CLOSE_SECONDS = 5.0
# One that goes on while a laptop sleeps, where there is one: a lease ends in the store meanwhile.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Lease(NamedTuple):
    """How a role that runs once across hosts is held.

    Attributes:
        holder: who holds it.
        seconds: a leader that hangs is followed after this; one that works has renewed by then.
    """

    holder: str
    seconds: float


class Loop:
    """One role in a thread.

    Args:
        role: what is done.
        store_url: where; None for the setting's.
        lease: for a role that runs once across hosts.
        stop: set when the service is to end; a step ends at the next point where it may.
    """

    def __init__(
        self, role: Role, store_url: str | None, lease: Lease, stop: threading.Event
    ) -> None:
        self.role = role
        self.counts: Counter[str] = Counter()
        self.gauges: dict[tuple[str, str], float] = {}  # by name and labels
        self.busy_seconds = 0.0
        self.steps = 0
        self.errors = 0
        self.last_error_at: float | None = None
        self.failure: str | None = "it has not begun yet"
        self.trouble: str | None = None  # what a step says goes wrong, while it goes on
        self.is_leader = not role.once_across_hosts
        self._store_url, self._lease, self._stop = store_url, lease, stop
        self._step_began: float | None = None
        self._lease_until = 0.0
        self._store: Store | None = None
        self._step: Step | None = None
        self._pause = FIRST_PAUSE_SECONDS
        self._thread = threading.Thread(target=self._run, name=role.name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, seconds: float) -> bool:
        """Wait for the end; return whether it came."""
        self._thread.join(max(seconds, 0.0))
        return not self._thread.is_alive()

    @property
    def problem(self) -> str | None:
        """Why the role does not do its work, if it does not."""
        began = self._step_began
        if began is not None and time.monotonic() - began > STUCK_SECONDS:
            return f"stuck for {time.monotonic() - began:.0f} s"
        if not self._thread.is_alive():
            return "it has ended"
        return self.failure or self.trouble

    def _run(self) -> None:
        while not self._stop.is_set():
            self._stop.wait(self._once())
        self._close()

    def _once(self) -> float:
        """Do one step; return how long to wait for the next."""
        began = self._step_began = time.monotonic()
        try:
            if not self._may_lead():
                self.failure = None
                self.gauges.clear()
                return min(_LEASE_PAUSE_SECONDS, self._lease.seconds / 3)
            was_busy = self._opened().do(self._should_stop, self)
        except Exception as error:  # noqa: BLE001 - a service goes on, whatever it is
            return self._failed(error)
        else:
            if self.failure is not None and self.errors:
                _log.info("works again", extra={"role": self.role.name})
            self.failure, self._pause = None, FIRST_PAUSE_SECONDS
            return self.role.busy_pause_seconds if was_busy else self.role.idle_pause_seconds
        finally:
            self._step_began = None
            self.steps += 1
            self.busy_seconds += time.monotonic() - began

    @property
    def is_stopping(self) -> bool:
        """Whether the service is to end."""
        return self._stop.is_set()

    def leads(self) -> bool:
        """Whether this process alone does this role now; asks nobody, so any thread may call it."""
        return not self.role.once_across_hosts or time.clock_gettime(_CLOCK) < self._lease_until

    def _opened(self) -> Step:
        if self._step is None:
            needs_store = self.role.needs_store(self._store_url)
            self._step = self.role.open(self._open_store() if needs_store else None)
        return self._step

    def _open_store(self) -> Store:
        if self._store is None:
            self._store = wiring.open_store(self._store_url, create=True)
        return self._store

    def _may_lead(self) -> bool:
        """Renew the lease where it is time; return whether this process has it."""
        if not self.role.once_across_hosts:
            return True
        name, seconds = f"role:{self.role.name}", self._lease.seconds
        asked = time.clock_gettime(_CLOCK)
        # Renewed early enough that a step as long as two thirds of the lease cannot lose it.
        if asked < self._lease_until - seconds * 2 / 3:
            return True
        store = self._open_store()
        leads = store.acquire_lease(name, self._lease.holder, int(seconds * 1e6))
        self._lease_until = asked + seconds if leads else 0.0
        if leads != self.is_leader:
            _log.info(
                "leads now" if leads else "another host leads", extra={"role": self.role.name}
            )
        self.is_leader = leads
        return leads

    def _should_stop(self) -> bool:
        """Whether a step must end at the next point: the service ends, or the lease is lost."""
        if self._stop.is_set():
            return True
        return not self._may_lead()

    def _failed(self, error: Exception) -> float:
        self.errors += 1
        self.last_error_at = time.time()
        text = str(error) or type(error).__name__
        if not isinstance(error, ProvenanceError):
            text = f"{type(error).__name__}: {text}"
        self.failure = " ".join(text.split())
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        _log.error(
            "%s; trying again in %.0f s", self.failure, pause, extra={"role": self.role.name}
        )
        return pause

    def _close(self) -> None:
        has_ended = self._step is None or self._step.close(self, _CLOSE_SECONDS)
        if self._store is None:
            return
        try:
            # Whoever follows must not begin while a request of ours is still on its way.
            if self.role.once_across_hosts and self.is_leader and has_ended:
                self._store.release_lease(f"role:{self.role.name}", self._lease.holder)
            self._store.close()
        except ProvenanceError as error:
            _log.warning("%s", error, extra={"role": self.role.name})

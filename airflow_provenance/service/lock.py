"""One service per host: a ``flock`` on a file in the spool's folder.

The kernel lets go of it when the service dies, however it dies, so nothing has to be tidied up.
The file holds an id of this spool's own: a service that follows a killed one goes on with its lease
in the store, as it alone can be the holder, and need not wait for the end of it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAME = "service.lock"
# As the spool's: the service and tasks may be different users of one group.
_FILE_MODE, _DIRECTORY_MODE = 0o660, 0o770
_ID = re.compile(rb"[0-9a-f]{32}")


class HostLock:
    """The right to be this host's service."""

    def __init__(self, spool_dir: Path) -> None:
        self.path = spool_dir / NAME
        self.holder = _holder(uuid.uuid4().hex)
        self._fd = -1

    def take(self) -> bool:
        """Take the lock if it is free. Raises `OSError` where the folder cannot be used."""
        self.path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise
        if os.fstat(fd).st_nlink == 0:  # removed between the opening and the lock
            os.close(fd)
            return False
        self._fd = fd
        self._take_name()
        return True

    def _take_name(self) -> None:
        """Be the holder that this spool's last service was; by the first, the id is written."""
        try:
            known = os.pread(self._fd, 64, 0)
            if _ID.fullmatch(known):
                self.holder = _holder(known.decode())
                return
            # In one write: half of an id is none, and is written anew.
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, self.holder.rpartition(":")[2].encode(), 0)
        except OSError:
            return  # a full disk: after a kill the next one waits for the end of the lease

    def release(self) -> None:
        """Let the next one lead."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _holder(id_: str) -> str:
    # With the host's name, should somebody copy the folder to another host.
    return f"{socket.gethostname()}:{id_}"


def is_held(spool_dir: Path) -> bool:
    """Whether a service runs on this host; shared, so that who asks at once is told the same."""
    try:
        fd = os.open(spool_dir / NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False

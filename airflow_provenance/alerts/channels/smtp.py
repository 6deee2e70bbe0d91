"""Mail by SMTP. What belongs to one incident is one thread: the first Message-ID is its own."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple

from airflow_provenance.errors import ChannelUnavailableError, NoticeRefusedError

if TYPE_CHECKING:
    from airflow_provenance.alerts.message import Message

_PERMANENT = 500


class Server(NamedTuple):
    """A mail server, and how to log in."""

    host: str
    port: int = 25
    user: str | None = None
    password: str | None = None
    security: str = "none"  # none, starttls, tls
    timeout_seconds: float = 10.0

    def __repr__(self) -> str:
        return f"Server({self.host!r}, {self.port!r})"


class SmtpChannel:
    """See `base.Channel`."""

    def __init__(self, server: Server, sender: str, to: tuple[str, ...]) -> None:
        self._server, self._sender, self._to = server, sender, to

    def send(self, message: Message) -> None:
        """Send a mail."""
        mail = self._mail(message)
        where = f"{self._server.host}:{self._server.port}"
        try:
            with self._connected() as smtp:
                smtp.send_message(mail)
        except smtplib.SMTPRecipientsRefused as error:
            codes = {code for code, _ in error.recipients.values()}
            said = f"{where} refuses all recipients ({', '.join(map(str, sorted(codes)))})"
            if min(codes) >= _PERMANENT:
                raise NoticeRefusedError(f"{said}: check the channel's to") from None
            raise ChannelUnavailableError(said) from None
        except smtplib.SMTPAuthenticationError as error:
            raise ChannelUnavailableError(
                f"{where} does not let us in ({error.smtp_code}): check user and password"
            ) from None  # some servers answer with what they were sent
        except smtplib.SMTPSenderRefused as error:
            raise ChannelUnavailableError(
                f"{where} refuses the sender ({error.smtp_code}): check the channel's from"
            ) from None
        except smtplib.SMTPResponseException as error:
            said = f"{where} answered {error.smtp_code}"
            if isinstance(error, smtplib.SMTPDataError) and error.smtp_code >= _PERMANENT:
                raise NoticeRefusedError(said) from None
            raise ChannelUnavailableError(said) from None
        except (OSError, smtplib.SMTPException) as error:
            raise ChannelUnavailableError(
                f"{where} does not take mail ({type(error).__name__})"
            ) from None

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        context = ssl.create_default_context()
        smtp: smtplib.SMTP
        if server.security == "tls":
            smtp = smtplib.SMTP_SSL(
                server.host, server.port, timeout=server.timeout_seconds, context=context
            )
        else:
            smtp = smtplib.SMTP(server.host, server.port, timeout=server.timeout_seconds)
        try:
            if server.security == "starttls":
                smtp.starttls(context=context)
            if server.user is not None:
                smtp.login(server.user, server.password or "")
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"] = " ".join(message.title.split())
        mail["From"], mail["To"] = self._sender, ", ".join(self._to)
        mail["Date"] = formatdate(message.at_us / 1e6)
        mail["Message-ID"] = f"<{message.id}@airflow-provenance>"
        mail["References"] = f"<{message.incident}@airflow-provenance>"
        mail["X-Airflow-Provenance-Incident"] = message.incident
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        return mail

    def close(self) -> None:
        """Nothing stays open."""

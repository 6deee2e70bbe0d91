"""``service``: drain, and what else is to be done all the time, until told to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provenance.cli.output import add_common, count

if TYPE_CHECKING:
    import argparse


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "service", help="bring what tasks spool into the store, all the time; one per host"
    )
    parser.add_argument("--roles", metavar="LIST", help="with commas; all by default")
    parser.add_argument("--health-port", type=count, metavar="PORT", help="on loopback")
    parser.add_argument("--log-json", action="store_true", help="log lines as JSON")
    parser.add_argument(
        "--no-standby",
        action="store_true",
        help="end where another runs on this host, instead of waiting to take over",
    )
    parser.add_argument("--child-of", type=count, metavar="PID", help="end with this process")
    add_common(parser, with_json=False)
    parser.set_defaults(function=_run)


def _run(options: argparse.Namespace) -> int:
    from airflow_provenance.service import logs, roles, run

    chosen = roles.named(options.roles or roles.usual(options.store))
    logs.set_up(as_json=options.log_json)
    return run.run(
        run.Options(
            roles=chosen,
            store_url=options.store,
            health_port=options.health_port,
            stands_by=not options.no_standby,
            parent=options.child_of,
        )
    )

"""``serve``: the HTTP interface without Airflow."""

from __future__ import annotations

import argparse
from typing import Any

from airflow_provenance import wiring
from airflow_provenance.cli.output import say, say_json, tell
from airflow_provenance.errors import SettingsError

_SCOPES = ("read", "ingest", "admin", "act")


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "serve", help="serve OpenLineage ingestion and answers over HTTP, without Airflow"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=_port, default=8090, help="port to listen on (8090)")
    parser.add_argument("--store", metavar="URL", help="instead of [provenance] store")
    parser.add_argument(
        "--new-token", metavar="NAME", help="make a token, and the entry for api_tokens, and end"
    )
    parser.add_argument("--scope", action="append", choices=_SCOPES, help="of the new token")
    parser.add_argument(
        "--namespace", action="append", metavar="NAME", help="that the new token may ingest into"
    )
    parser.add_argument("--dag", action="append", metavar="ID", help="that it may read (all)")
    parser.set_defaults(function=_run)


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    if options.new_token is not None:
        return _new_token(options)
    if options.scope or options.namespace or options.dag:
        raise SettingsError("--scope, --namespace and --dag are for --new-token")
    import uvicorn

    app = wiring.open_api(options.store)
    server = uvicorn.Server(
        uvicorn.Config(app, options.host, options.port, server_header=False, log_level="info")
    )
    server.run()
    return 0 if server.started else 1


def _new_token(options: argparse.Namespace) -> int:
    import msgspec

    from airflow_provenance.api.tokens import new_token

    secret, token = new_token(
        options.new_token, options.scope or ["read"], options.namespace or [], options.dag or []
    )
    tell("This token is shown once; add the entry to the list [provenance] api_tokens:")
    say(secret)
    say_json(msgspec.to_builtins(token))
    return 0

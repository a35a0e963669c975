"""``tokens``: make, list and revoke join tokens."""

import argparse
import hashlib
import ssl
import sys
from pathlib import Path

from pydantic import TypeAdapter

from linkbell_collector import values
from linkbell_collector.clock import Clock, SystemClock, from_us
from linkbell_collector.commands import common
from linkbell_collector.domain import Token
from linkbell_collector.errors import UsageError
from linkbell_collector.secret import digest, new_id, new_token
from linkbell_collector.store.interface import Store
from linkbell_wire import join_token
from linkbell_wire.fields import Name, Text

_BEGIN, _END = ssl.PEM_HEADER, ssl.PEM_FOOTER
MAX_USES = 1_000_000
_NAME: TypeAdapter[str] = TypeAdapter(Name)
_TEXT: TypeAdapter[str] = TypeAdapter(Text)
_EPILOG = """\
Examples:
  linkbell-collector tokens create --school s-100                       one box, within 7 days
  linkbell-collector tokens create --school s-100 --uses 3 --json
  linkbell-collector tokens create --region Almaty --uses 200 --expires 2026-09-01
  linkbell-collector tokens create --school s-100 --certificate /etc/ssl/collector.pem
  linkbell-collector tokens list
  linkbell-collector tokens revoke token-0123456789ab

A token is shown once; only its hash is kept. One of a school makes agents of that school, active at once; the school
is made if it is not known. One of a region makes agents of any school of that region, and unknown schools wait for
approval (agents list, agents approve).
With --certificate the token carries the fingerprint of the certificate that agents are to see: a box then enrols with
this collector and no other, and a certificate that no authority vouches for will do.
"""


def add_to(subparsers: common.Subparsers, parent: argparse.ArgumentParser) -> None:
    """Add the commands."""
    parser = common.add_command(subparsers, "tokens", "make, list or revoke join tokens", _EPILOG)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    create = common.add_command(actions, "create", "make a join token and print it, this once", _EPILOG, [parent])
    scope = create.add_mutually_exclusive_group(required=True)
    scope.add_argument("--school", metavar="ID", help="for agents of this school, which is made if it is not known")
    scope.add_argument("--region", metavar="NAME", help="for agents of any school of this region")
    create.add_argument("--uses", type=int, default=1, metavar="N", help="how many agents may join with it (default 1)")
    create.add_argument(
        "--expires", default="7d", metavar="WHEN", help="after 90m, 24h, 7d, 2w, or on a date (default 7d)"
    )
    create.add_argument(
        "--certificate", metavar="FILE", type=Path, help="TLS certificate (PEM) of this collector or its proxy"
    )
    common.add_json(create)
    create.set_defaults(run=run_create)
    listing = common.add_command(actions, "list", "list join tokens, without their secrets", _EPILOG, [parent])
    common.add_json(listing)
    listing.set_defaults(run=run_list)
    revoke = common.add_command(actions, "revoke", "make a join token useless", _EPILOG, [parent])
    revoke.add_argument("id", metavar="ID", help="as shown by: tokens list")
    revoke.set_defaults(run=run_revoke)


def run_create(parsed: argparse.Namespace) -> int:
    """Make a token and print it."""
    token = _token(parsed, SystemClock())
    secret = new_token()
    shown = join_token.join(secret, None if parsed.certificate is None else _fingerprint(parsed.certificate))

    async def work(store: Store) -> bool:
        return await store.add_token(token, digest(secret))

    created = common.with_store(common.effective(parsed).settings, work, make=True)
    if created:
        print(f"school {token.school} was not known and is made now", file=sys.stderr)
    if parsed.json:
        common.print_json({"token": shown, **_row(token)})
    else:
        print(shown)
        print(
            f"{token.id}: for {_scope(token)}, {token.uses} use(s), until {common.iso(token.expires_us)}",
            file=sys.stderr,
        )
    return 0


def run_list(parsed: argparse.Namespace) -> int:
    """Print all tokens."""

    async def work(store: Store) -> list[Token]:
        return list(await store.tokens())

    now_us = SystemClock().now_us()
    found = common.with_store(common.effective(parsed).settings, work)
    rows = [{**_row(token), "state": _state(token, now_us)} for token in found]
    if parsed.json:
        common.print_json(rows)
    else:
        common.print_table(
            ("id", "school", "region", "used", "uses", "expires_at", "state"),
            rows,
            "no join tokens; make one: tokens create --school ID",
        )
    return 0


def run_revoke(parsed: argparse.Namespace) -> int:
    """Revoke a token. Agents that joined with it stay."""
    now_us = SystemClock().now_us()

    async def work(store: Store) -> None:
        await store.revoke_token(parsed.id, now_us)

    common.with_store(common.effective(parsed).settings, work)
    print(f"join token {parsed.id} is revoked; agents that joined with it stay (agents revoke ends those)")
    return 0


def _token(parsed: argparse.Namespace, clock: Clock) -> Token:
    if not 1 <= parsed.uses <= MAX_USES:
        raise UsageError(f"--uses: {parsed.uses} is not between 1 and {MAX_USES}")
    now_us = clock.now_us()
    try:
        expires_us = values.moment_us(parsed.expires, from_us(now_us))
    except ValueError as error:
        raise UsageError(f"--expires: {error}") from error
    return Token(
        id=new_id("token"),
        school=None if parsed.school is None else common.checked("--school", _NAME, parsed.school, common.A_NAME),
        region=None if parsed.region is None else _region(parsed.region),
        uses=parsed.uses,
        used=0,
        expires_us=expires_us,
        created_us=now_us,
    )


def _fingerprint(file: Path) -> bytes:
    """Return the SHA-256 of the first certificate in ``file``, which is the server's own."""
    try:
        text = file.read_text(encoding="ascii")
    except OSError as error:
        raise UsageError(f"--certificate: {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--certificate: {file} is not PEM, which is text") from error
    _, found, rest = text.partition(_BEGIN)
    body, ends, _ = rest.partition(_END)
    try:
        if not (found and ends):
            raise ValueError
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(_BEGIN + body + _END)).digest()
    except ValueError as error:
        raise UsageError(f"--certificate: {file} holds no certificate (-----BEGIN CERTIFICATE-----)") from error


def _row(token: Token) -> dict[str, object]:
    return {
        "id": token.id,
        "school": token.school,
        "region": token.region,
        "uses": token.uses,
        "used": token.used,
        "expires_at": common.iso(token.expires_us),
    }


def _scope(token: Token) -> str:
    return f"school {token.school}" if token.school is not None else f"schools of region {token.region}"


def _state(token: Token, now_us: int) -> str:
    if token.revoked:
        return "revoked"
    if now_us >= token.expires_us:
        return "expired"
    return "used up" if token.used >= token.uses else "usable"


def _region(text: str) -> str:
    if not text.strip():
        raise UsageError("--region is empty")
    return common.checked("--region", _TEXT, text, common.A_TEXT)

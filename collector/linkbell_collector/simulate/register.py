"""Making the schools of a simulation known to a collector, and keeping away from real ones."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from linkbell_collector.domain import Directory, School, Token
from linkbell_collector.errors import RefusedError
from linkbell_collector.secret import digest, new_id, new_token
from linkbell_collector.simulate.client import Client
from linkbell_collector.simulate.fleet import TIMEZONE, Site
from linkbell_collector.store.interface import Store

TOKEN_LASTS_US = 366 * 86_400_000_000
_INFO = "linkbell_school_info{"
_BESIDE = "simulate into another folder, or say --beside-real-schools: they stay marked, and can be removed all at once"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Join tokens by region, and their ids to make them useless afterwards."""

    secrets: dict[str, str]
    ids: list[str]


def school_of(site: Site) -> School:
    """Return a simulated school as the registry has it."""
    return School(
        site.id,
        name=site.name,
        region=site.region,
        district=site.district,
        provider=site.provider,
        technology=site.line.technology.name,
        latitude=site.latitude,
        longitude=site.longitude,
        timezone=TIMEZONE,
        download_floor_bps=site.line.technology.floor_bps,
        simulated=True,
    )


def refuse_beside_real(directory: Directory) -> None:
    """Raise :class:`RefusedError` if there is a real school."""
    real = [school.id for school in directory.schools.values() if not school.simulated]
    if real:
        raise RefusedError(f"this collector has {len(real)} real schools, such as {real[0]}", _BESIDE)


def refuse_taken_ids(directory: Directory, wanted: Iterable[str]) -> None:
    """Raise :class:`RefusedError` if a real school has an id that the simulation would take."""
    for school_id in wanted:
        known = directory.schools.get(school_id)
        if known is not None and not known.simulated:
            raise RefusedError(f"{school_id} is a real school's id", "choose another --prefix")


async def register(
    store: Store, fleet: Sequence[Site], unenrolled: Collection[str], now_us: int, *, beside_real: bool
) -> Tokens:
    """Add the schools, approved, and make join tokens for regions with ``unenrolled`` ones. Raises ``RefusedError``."""
    directory = await store.directory()
    ids = [site.id for site in fleet]
    refuse_taken_ids(directory, ids)
    if not beside_real:
        refuse_beside_real(directory)
    await store.add_schools([school_of(site) for site in fleet], now_us)
    tokens = Tokens({}, [])
    wanted = Counter(site.region for site in fleet if site.id in unenrolled)
    for region, uses in sorted(wanted.items()):
        secret = new_token()
        token = Token(new_id("token"), None, region, uses, 0, now_us + TOKEN_LASTS_US, now_us)
        await store.add_token(token, digest(secret))
        tokens.secrets[region] = secret
        tokens.ids.append(token.id)
    return tokens


async def refuse_where_nobody_answers(url: str) -> None:
    """Raise :class:`RefusedError` if there is no collector at ``url``."""
    async with Client(url) as client:
        reply = await client.get("/healthz", {})
    if reply.status == 0:
        raise RefusedError(
            f"no collector answers at {url} ({reply.trouble})",
            "start one with linkbell-collector serve, say where it is with --url, or have one run with --serve",
        )


async def refuse_real_schools_at(url: str) -> None:
    """Look at what a distant collector exports. Raises ``RefusedError`` if it has real schools, or will not say."""
    async with Client(url) as client:
        reply = await client.get("/metrics/schools", {})
    if reply.status != 200:
        why = reply.trouble or f"it answered {reply.status}"
        raise RefusedError(f"whether there are real schools at {url} cannot be seen: {why}", _BESIDE)
    lines = [line for line in reply.body.decode(errors="replace").splitlines() if line.startswith(_INFO)]
    real = [line for line in lines if 'simulated="true"' not in line]
    if real:
        raise RefusedError(f"the collector at {url} has {len(real)} real schools", _BESIDE)

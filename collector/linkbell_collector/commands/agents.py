"""``agents``: list, approve and revoke agents."""

import argparse
from collections.abc import Sequence

from linkbell_collector.commands import common
from linkbell_collector.domain import Agent, AgentState
from linkbell_collector.errors import RefusedError
from linkbell_collector.store.interface import Store

_EPILOG = """\
Examples:
  linkbell-collector agents list --state pending
  linkbell-collector agents approve agent-0123456789ab
  linkbell-collector agents approve --school s-100            all agents of the school that wait
  linkbell-collector agents revoke agent-0123456789ab         a stolen box, for instance

A running collector takes notice within two seconds.
"""


def add_to(subparsers: common.Subparsers, parent: argparse.ArgumentParser) -> None:
    """Add the commands."""
    parser = common.add_command(subparsers, "agents", "list, approve or revoke agents", _EPILOG)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = common.add_command(actions, "list", "list agents", _EPILOG, [parent])
    listing.add_argument("--state", choices=[state.value for state in AgentState])
    common.add_json(listing)
    listing.set_defaults(run=run_list)
    approve = common.add_command(actions, "approve", "approve an agent and its school", _EPILOG, [parent])
    which = approve.add_mutually_exclusive_group(required=True)
    which.add_argument("id", metavar="ID", nargs="?", help="as shown by: agents list")
    which.add_argument("--school", metavar="ID", help="all agents of this school that wait")
    approve.set_defaults(run=run_approve)
    revoke = common.add_command(actions, "revoke", "refuse an agent's credential from now on", _EPILOG, [parent])
    revoke.add_argument("id", metavar="ID", help="as shown by: agents list")
    revoke.set_defaults(run=run_revoke)


def run_list(parsed: argparse.Namespace) -> int:
    """Print agents."""
    found = common.with_store(common.effective(parsed).settings, _agents)
    rows = [_row(agent) for agent in found if parsed.state in (None, agent.state.value)]
    if parsed.json:
        common.print_json(rows)
    else:
        common.print_table(("id", "school", "name", "state", "version", "last_report"), rows, "no such agents")
    return 0


def run_approve(parsed: argparse.Namespace) -> int:
    """Approve one agent, or all of a school that wait."""

    async def work(store: Store) -> list[Agent]:
        ids = [parsed.id]
        if parsed.school is not None:
            ids = [
                agent.id
                for agent in await _agents(store)
                if agent.school == parsed.school and agent.state is AgentState.PENDING
            ]
        return [await store.approve(agent_id) for agent_id in ids]

    approved = common.with_store(common.effective(parsed).settings, work)
    if not approved:
        raise RefusedError(f"no agent of school {parsed.school} waits", "list them with: agents list --state pending")
    for agent in approved:
        print(f"agent {agent.id} of school {agent.school} is approved, and its results are shown")
    return 0


def run_revoke(parsed: argparse.Namespace) -> int:
    """Revoke one agent."""

    async def work(store: Store) -> Agent:
        return await store.revoke_agent(parsed.id)

    agent = common.with_store(common.effective(parsed).settings, work)
    print(f"agent {agent.id} of school {agent.school} is revoked; what it delivered stays")
    return 0


async def _agents(store: Store) -> Sequence[Agent]:
    return sorted((await store.directory()).agents.values(), key=lambda agent: (agent.school, agent.enrolled_us))


def _row(agent: Agent) -> dict[str, object]:
    report = agent.report
    return {
        "id": agent.id,
        "school": agent.school,
        "name": agent.name,
        "state": agent.state.value,
        "version": report.version if report else None,
        "spooled": report.spooled if report else None,
        "dropped": report.dropped if report else None,
        "clock_offset_s": report.clock_offset_s if report else None,
        "last_report": common.iso(report.received_us) if report else None,
    }

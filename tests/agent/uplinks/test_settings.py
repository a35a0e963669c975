"""Several uplinks in the settings: what is understood, and what is refused with words that help."""

from pathlib import Path

import pytest

from linkbell_agent.app import build_context, build_plan
from linkbell_agent.net import Uplink
from linkbell_agent.sections import Settings
from linkbell_agent.settings import SettingsError, load
from linkbell_wire.words import BudgetProfile, UplinkRole

TWO = """
[[uplinks]]
name = "fibre"
device = "eth0"

[[uplinks]]
name = "4g"
device = "wwan0"
budget = { profile = "metered", bytes_per_month = 500_000_000 }
"""


def loaded(folder: Path, text: str, environment: dict[str, str] | None = None) -> Settings:
    file = folder / "agent.toml"
    file.write_text(text, encoding="utf-8")
    return load(file, environment=environment or {}).settings


def test_the_first_of_the_list_is_primary_and_the_others_are_backups(tmp_path: Path) -> None:
    fibre, mobile = loaded(tmp_path, TWO).ways
    assert (fibre.name, fibre.device, fibre.role) == ("fibre", "eth0", UplinkRole.PRIMARY)
    assert (mobile.name, mobile.device, mobile.role) == ("4g", "wwan0", UplinkRole.BACKUP)
    assert mobile.budget is not None
    assert mobile.budget.profile is BudgetProfile.METERED


def test_a_role_that_is_set_is_kept(tmp_path: Path) -> None:
    text = TWO.replace('device = "wwan0"', 'device = "wwan0"\nrole = "primary"')
    assert [way.role for way in loaded(tmp_path, text).ways] == [UplinkRole.PRIMARY, UplinkRole.PRIMARY]


def test_one_uplink_is_said_in_the_short_form(tmp_path: Path) -> None:
    (way,) = loaded(tmp_path, '[uplink]\nname = "fibre"\ndevice = "eth0"\n').ways
    assert (way.name, way.device, way.role) == ("fibre", "eth0", UplinkRole.PRIMARY)
    (way,) = loaded(tmp_path, "").ways
    assert (way.name, way.device, way.source) == ("main", None, None)


def test_a_list_of_one_is_the_short_form_and_needs_no_device(tmp_path: Path) -> None:
    settings = loaded(tmp_path, '[[uplinks]]\nname = "fibre"\nresolvers = ["192.0.2.53"]\n')
    assert not settings.has_several
    assert build_context(settings).uplink == Uplink("fibre")
    plan = build_plan(settings, None, None)
    assert (plan.binding, plan.layers.resolvers, plan.layers.asks_system) == (None, ("192.0.2.53",), True)


def test_one_device_may_be_two_uplinks_that_differ_by_their_address(tmp_path: Path) -> None:
    text = "".join(
        f'[[uplinks]]\nname = "{name}"\ndevice = "eth0"\nsource = "{source}"\n'
        for name, source in (("a", "192.0.2.1"), ("b", "192.0.2.2"))
    )
    assert len(loaded(tmp_path, text).ways) == 2


REFUSED = [
    (TWO + '[uplink]\ndevice = "eth1"\n', "uplink and uplinks are both set: put all of them into uplinks, or leave"),
    (TWO.replace('"4g"', '"fibre"'), "two uplinks are called fibre: give each a name of its own"),
    (
        TWO.replace('device = "wwan0"', ""),
        "4g is bound to nothing: give it a device, such as eth0, or a source address",
    ),
    (TWO.replace('"wwan0"', '"eth0"'), "fibre and 4g have the same device, eth0: give each a source as well"),
    (
        TWO.replace('device = "eth0"', 'source = "192.0.2.1"').replace('device = "wwan0"', 'source = "192.0.2.1"'),
        "fibre and 4g have the same source, 192.0.2.1: nothing tells them apart",
    ),
    (TWO.replace("device =", "devise =", 1), "uplinks.0.devise is not a setting. Did you mean device?"),
    (TWO.replace("profile =", "profil ="), "uplinks.1.budget.profil is not a setting. Did you mean profile?"),
    (TWO.replace('name = "4g"', ""), "uplinks.1.name: field required"),
    (TWO.replace('"eth0"', '"eth0"\nrole = "spare"'), "uplinks.0.role: input should be 'primary' or 'backup'"),
    (TWO * 5, "at most 8 items"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[row[1][:30] for row in REFUSED])
def test_uplinks_that_cannot_be_told_apart_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(tmp_path, text)
    assert message in str(refused.value)


def test_a_variable_that_names_the_one_uplink_contradicts_a_list(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="both set"):
        loaded(tmp_path, TWO, {"LINKBELL_AGENT_UPLINK_DEVICE": "eth0"})
    with pytest.raises(SettingsError, match="only the file can hold"):
        loaded(tmp_path, "", {"LINKBELL_AGENT_UPLINKS": "[]"})

"""The examples in docs/: whole, and of parts that exist."""

import json
import re
from pathlib import Path

import yaml

EXAMPLES = Path(__file__).parents[1] / "docs/examples"
NODE_RED_CORE = {"tab", "mqtt-broker", "mqtt in", "function", "switch", "rbe", "debug"}


class Tolerant(yaml.SafeLoader):
    """Knows Home Assistant's ``!input``."""


Tolerant.add_constructor("!input", lambda loader, node: f"!input {loader.construct_scalar(node)}")


def test_the_node_red_flow_has_only_core_nodes_all_of_them_wired():
    flow = json.loads((EXAMPLES / "node-red-flow.json").read_text())
    nodes = {node["id"]: node for node in flow}
    assert len(nodes) == len(flow)
    assert {node["type"] for node in flow} == NODE_RED_CORE
    reached = {"maskedge-tab"}
    for node in flow:
        targets = {target for wires in node.get("wires", []) for target in wires}
        assert targets <= set(nodes)
        reached |= targets
        if node["type"] == "mqtt in":
            reached.add(node["id"])
            reached.add(node["broker"])
            # What is retained comes anyway, and would drive violations out of the broker's queue.
            assert node["qos"] == ("1" if node["topic"].endswith("/violation") else "0")
            assert node["topic"].split("/")[:2] == ["maskedge", "+"]
    assert reached == set(nodes)
    code = "".join(node.get("func", "") for node in flow)
    assert set(re.findall(r"context\.\w+\((.)", code)) == {"'"}  # a unit's name is no such key
    broker = nodes["maskedge-broker"]
    assert broker["clientid"]
    assert broker["cleansession"] is False


def test_the_blueprint_uses_each_of_its_inputs():
    text = (EXAMPLES / "home-assistant-blueprint.yaml").read_text()
    blueprint = yaml.load(text, Tolerant)  # noqa: S506 - a SafeLoader that knows one tag more
    assert blueprint["blueprint"]["domain"] == "automation"
    for name in blueprint["blueprint"]["input"]:
        assert f"!input {name}\n" in text
    (trigger,) = blueprint["triggers"]  # by what no two events share, however close they come
    assert trigger["attribute"] == "event_id"


def test_the_automations_watch_entities_of_the_documentation():
    text = (EXAMPLES / "home-assistant-automations.yaml").read_text()
    documented = (EXAMPLES.parent / "home-assistant.md").read_text()
    for automation in yaml.safe_load(text):
        for trigger in automation["triggers"]:
            entity = trigger["entity_id"]
            assert entity in documented or f"…_{entity.partition('door_')[2]}`" in documented


def test_the_lamp_goes_off_when_the_unit_is_gone():
    text = (EXAMPLES / "home-assistant-automations.yaml").read_text()
    lamp = next(one for one in yaml.safe_load(text) if one["id"] == "maskedge_door_lamp")
    off = [trigger for trigger in lamp["triggers"] if trigger["id"] == "off"]
    assert "unavailable" in [trigger.get("to") for trigger in off]

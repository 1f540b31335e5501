"""The broker's policies: their shape, and that they reach the queues that they are for."""

import json
import re
import tomllib

from .report import Context, Findings

# What a policy of quorum queues may set, and the type; from RabbitMQ's documentation of 4.x.
KEYS = {
    "max-length": int, "max-length-bytes": int, "overflow": str, "delivery-limit": int, "message-ttl": int,
    "expires": int, "dead-letter-exchange": str, "dead-letter-routing-key": str, "dead-letter-strategy": str,
    "target-group-size": int, "queue-leader-locator": str,
}  # fmt: skip


def policies(context: Context, findings: Findings) -> str:
    policies = json.loads(context.text("deploy/engines/rabbitmq/policies.json"))["policies"]
    queues, _ = topology(context)
    for policy in policies:
        name = policy["name"]
        for key in ("vhost", "pattern", "apply-to", "definition", "priority"):
            if key not in policy:
                findings.add(f"{name} has no {key}")
        if policy.get("apply-to") != "quorum_queues":
            findings.add(f"{name} is not for quorum queues")
        for key, value in policy["definition"].items():
            if key not in KEYS or not isinstance(value, KEYS[key]):
                findings.add(f"{name}: {key} = {value!r} is nothing that a policy of quorum queues may set")
        if "max-length-bytes" in policy["definition"] and policy["definition"].get("overflow") != "reject-publish":
            findings.add(f"{name}: a full queue has to refuse what comes; it would drop what it holds")
        if not any(re.search(policy["pattern"], queue) for queue in queues):
            findings.add(f"{name}: {policy['pattern']} fits no queue")
    for queue in sorted(queues):
        fitting = [policy["name"] for policy in policies if re.search(policy["pattern"], queue)]
        if len(fitting) != 1:
            findings.add(f"{queue} has {len(fitting)} policies: {', '.join(fitting)}")
    return f"{len(policies)} policies, one for each of {len(queues)} queues"


def topology(context: Context) -> tuple[set[str], set[str]]:
    """The queues and the exchanges that the migrations declare, with the default namespace."""
    queues, exchanges = set(), set()
    for file in sorted((context.root / "migrations" / "rabbitmq").glob("*.toml")):
        step = tomllib.loads(file.read_text("utf-8"))
        queues |= {f"turnpike.{queue['name']}" for queue in step.get("queues", [])}
        exchanges |= {f"turnpike.{exchange['name']}" for exchange in step.get("exchanges", [])}
        levels = {f"turnpike.delay.{level}" for level in range(step.get("delays", {}).get("levels", 0))}
        queues |= levels
        exchanges |= levels
    if not queues:
        raise ValueError("migrations/rabbitmq declares no queue")
    return queues, exchanges


def configuration(context: Context, findings: Findings) -> str:
    lines = context.text("deploy/engines/rabbitmq/rabbitmq.conf").splitlines()
    settings = [line for line in lines if line and not line.startswith("#")]
    for line in settings:
        if not re.fullmatch(r"[a-z0-9_.]+ = \S+", line):
            findings.add(f"rabbitmq.conf: {line!r} is no setting")
    plugins = context.text("deploy/engines/rabbitmq/enabled_plugins")
    if not re.fullmatch(r"\[[a-z_]+(,[a-z_]+)*\]\.\s*", plugins):
        findings.add("enabled_plugins is not a list in Erlang's notation, with a full stop")
    return f"{len(settings)} settings, and the plugins"


CHECKS = [("rabbitmq policies", policies), ("rabbitmq configuration", configuration)]

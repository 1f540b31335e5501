"""Alerts and dashboards: their rules and queries by promtool, and that each alert is explained."""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml

from .report import Context, Findings, Skipped

ALERTS = "deploy/monitoring/alerts.yaml"


def promtool(context: Context) -> str:
    own = context.tools / "promtool"
    found = str(own) if own.exists() else shutil.which("promtool")
    if not found:
        raise Skipped("promtool is not there")
    return found


def rules(context: Context, findings: Findings) -> str:
    program = promtool(context)
    for command in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]):
        done = subprocess.run(
            [program, *command], cwd=context.deploy / "monitoring", capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            findings.add(" ".join((done.stdout + done.stderr).split()))
    groups = yaml.safe_load(context.text(ALERTS))["groups"]
    return f"{sum(len(group['rules']) for group in groups)} alerts, and their tests, by promtool"


def same_rules(context: Context, findings: Findings) -> str:
    plain = yaml.safe_load(context.text(ALERTS))
    operator = yaml.safe_load(context.text("deploy/monitoring/rules.yaml"))
    if operator["spec"] != plain:
        findings.add(f"deploy/monitoring/rules.yaml holds other rules than {ALERTS}")
    return f"rules.yaml has the rules of {ALERTS}"


def explained(context: Context, findings: Findings) -> str:
    book = context.text("docs/OPERATIONS.md")
    alerts = [rule["alert"] for group in yaml.safe_load(context.text(ALERTS))["groups"] for rule in group["rules"]]
    for alert in alerts:
        if f"`{alert}`" not in book:
            findings.add(f"docs/OPERATIONS.md does not say what to do about {alert}")
    for alert in set(re.findall(r"`(Turnpike[A-Z]\w+)`", book)) - set(alerts):
        findings.add(f"docs/OPERATIONS.md explains {alert}, which is no alert")
    return f"{len(alerts)} alerts have a row in docs/OPERATIONS.md"


def dashboards(context: Context, findings: Findings) -> str:
    """Shape and queries of the dashboards; PromQL is parsed by promtool where it is."""
    queries = []
    for file in sorted((context.deploy / "monitoring" / "dashboards").glob("*.json")):
        board = json.loads(file.read_text("utf-8"))
        for key in ("uid", "title", "panels", "templating", "schemaVersion"):
            if key not in board:
                findings.add(f"{file.name} has no {key}")
        ids, places = set(), []
        for panel in board["panels"]:
            if panel["id"] in ids:
                findings.add(f"{file.name}: two panels have the id {panel['id']}")
            ids.add(panel["id"])
            at = panel["gridPos"]
            if at["x"] + at["w"] > 24:
                findings.add(f"{file.name}: {panel['title']} is wider than the page")
            for title, other in places:
                apart = (at["x"] >= other["x"] + other["w"] or other["x"] >= at["x"] + at["w"]
                         or at["y"] >= other["y"] + other["h"] or other["y"] >= at["y"] + at["h"])  # fmt: skip
                if not apart:
                    findings.add(f"{file.name}: {panel['title']} lies over {title}")
            places.append((panel["title"], at))
            targets = panel.get("targets", [])
            if panel["type"] != "row" and not targets:
                findings.add(f"{file.name}: {panel['title']} asks for nothing")
            queries += [(f"{file.name}: {panel['title']}", target["expr"]) for target in targets]
    parsed = "unparsed, since promtool is not there"
    try:
        parse(promtool(context), queries, findings)
        parsed = "parsed by promtool"
    except Skipped:
        pass
    return f"{len(queries)} queries, {parsed}"


def parse(program: str, queries: list[tuple[str, str]], findings: Findings) -> None:
    """Has each query parsed, as a rule that would record it."""
    made = []
    for number, (_, query) in enumerate(queries):
        plain = query.replace("$__rate_interval", "1m").replace("$namespace", ".*")
        made.append({"record": f"query:{number}", "expr": plain})
    with tempfile.TemporaryDirectory() as work:
        file = Path(work) / "queries.yaml"
        file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": made}]}), "utf-8")
        done = subprocess.run([program, "check", "rules", file], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        for number in re.findall(r'query:(\d+)', done.stdout + done.stderr) or ["0"]:
            findings.add(f"{queries[int(number)][0]}: {queries[int(number)][1]} is not PromQL")


def scrape(context: Context, findings: Findings) -> str:
    """prometheus.yml, by promtool, with the rules where it looks for them."""
    program = promtool(context)
    with tempfile.TemporaryDirectory() as work:
        text = context.text("deploy/monitoring/prometheus.yml").replace("/etc/prometheus/", f"{work}/")
        (Path(work) / "prometheus.yml").write_text(text, "utf-8")
        shutil.copyfile(context.root / ALERTS, Path(work) / "alerts.yaml")
        command = [program, "check", "config", f"{work}/prometheus.yml"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        findings.add(" ".join((done.stdout + done.stderr).split()))
    services = yaml.safe_load(context.text("deploy/compose.yaml"))["services"]
    for job in yaml.safe_load(context.text("deploy/monitoring/prometheus.yml"))["scrape_configs"]:
        targets = [target.split(":")[0] for part in job.get("static_configs", []) for target in part["targets"]]
        targets += [name for part in job.get("dns_sd_configs", []) for name in part["names"]]
        for target in targets:
            if target not in services:
                findings.add(f"deploy/monitoring/prometheus.yml asks {target}, which is no service of compose.yaml")
    return "prometheus.yml by promtool, its targets by compose.yaml"


CHECKS = [
    ("monitoring rules", rules),
    ("monitoring operator", same_rules),
    ("monitoring explained", explained),
    ("monitoring dashboards", dashboards),
    ("monitoring scrape", scrape),
]

"""compose.yaml: its schema, and that what it refers to is there."""

import re
import subprocess

import yaml

from .report import Context, Findings, Skipped

FILE = "deploy/compose.yaml"


def schema(context: Context, findings: Findings) -> str:
    program = context.tools / "venv" / "bin" / "check-jsonschema"
    if not program.exists():
        raise Skipped("check-jsonschema is not there")
    command = [program, "--builtin-schema", "vendor.compose-spec", "--color", "never", FILE]
    done = subprocess.run(command, cwd=context.root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        findings.add(" ".join((done.stdout + done.stderr).split()))
    return f"{FILE} by the Compose specification"


def references(context: Context, findings: Findings) -> str:
    text = context.text(FILE)
    compose = yaml.safe_load(text)
    services = compose["services"]
    for name, service in services.items():
        needs = service.get("depends_on", {})
        for needed, how in (needs.items() if isinstance(needs, dict) else ((n, {}) for n in needs)):
            if needed not in services:
                findings.add(f"{FILE}: {name} depends on {needed}, which is no service")
            elif how.get("condition") == "service_healthy" and not is_checked(services[needed]):
                findings.add(f"{FILE}: {name} waits until {needed} is healthy, which nothing checks")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                if not (context.deploy / source).exists():
                    findings.add(f"{FILE}: {name} mounts {source}, which is not there")
            elif source not in compose["volumes"]:
                findings.add(f"{FILE}: {name} mounts the volume {source}, which is not declared")
        if not re.search(r":[^:/]*\d", service.get("image", "").replace("${TURNPIKE_IMAGE:-turnpike:local}", ":0")):
            findings.add(f"{FILE}: the image of {name} has no version")
    mounted = [volume for service in services.values() for volume in service.get("volumes", [])]
    for gateway in (name for name, service in services.items() if "gateway" in service.get("command", [])):
        own = [volume for volume in services[gateway].get("volumes", []) if volume.endswith(":/var/lib/turnpike")]
        if len(own) != 1 or mounted.count(own[0]) != 1:
            findings.add(f"{FILE}: {gateway} needs a volume of its own for its data directory")
        if services[gateway].get("deploy", {}).get("replicas", 1) != 1:
            findings.add(f"{FILE}: copies of {gateway} would share its data directory")
    example = context.text("deploy/.env.example")
    for variable in sorted(set(re.findall(r"(?<!\$)\$\{(\w+)", text))):
        if not re.search(rf"^#?{variable}=", example, re.MULTILINE):
            findings.add(f"{FILE} reads {variable}, which deploy/.env.example does not explain")
    for variable in re.findall(r"^#?(\w+)=", example, re.MULTILINE):
        if not re.search(rf"\b{variable}\b", text):
            findings.add(f"deploy/.env.example sets {variable}, which {FILE} does not read")
    return f"{len(services)} services, with their volumes, variables and what they wait for"


def is_checked(service: dict) -> bool:
    """Turnpike's own image carries its health check."""
    return "healthcheck" in service or "TURNPIKE_IMAGE" in service.get("image", "")


def grace(context: Context, findings: Findings) -> str:
    """A container that is stopped has the time that a shutdown takes."""
    compose = yaml.safe_load(context.text(FILE))
    for name, service in compose["services"].items():
        if "serve" in service.get("command", []):
            given = int(re.fullmatch(r"(\d+)s", service.get("stop_grace_period", "10s")).group(1))
            if given < shutdown_seconds(context):
                findings.add(f"{FILE}: {name} is given {given} s to stop, and may need {shutdown_seconds(context)} s")
    return f"at least {shutdown_seconds(context)} s to stop"


def shutdown_seconds(context: Context) -> int:
    """What a process of all roles may take between SIGTERM and its end: streams, spool, jobs, and a last report."""
    settings, gateway = context.text("src/config/default.toml"), context.text("src/roles/gateway.rs")
    streams = re.search(r"^shutdown_grace_s = (\d+)", settings, re.MULTILINE)
    spool = re.search(r"\bDRAIN: Duration = Duration::from_secs\((\d+)\)", gateway)
    webhooks = re.search(r"^deadline_s = (\d+)", settings, re.MULTILINE)
    writing = re.search(r"\bWRITING: Duration = Duration::from_secs\((\d+)\)", context.text("src/jobs/deliver.rs"))
    parts = [streams, spool, webhooks, writing]
    if not all(parts):
        raise ValueError("how long a shutdown takes is not found in src")
    return sum(int(part.group(1)) for part in parts) + 5


CHECKS = [("compose schema", schema), ("compose references", references), ("compose shutdown", grace)]

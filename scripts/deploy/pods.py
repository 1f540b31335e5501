"""What this service needs of its pods: no privileges, probes that exist, time to stop, room to move."""

from .compose import shutdown_seconds
from .kustomize import containers, pod
from .report import Context, Findings

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def check(who: str, resource: dict, context: Context, findings: Findings) -> None:
    spec = pod(resource)["spec"]
    security = spec.get("securityContext", {})
    if not security.get("runAsNonRoot") or security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        findings.add(f"{who}: must not run as root, and with the runtime's seccomp profile")
    if spec.get("automountServiceAccountToken") is not False or spec.get("enableServiceLinks") is not False:
        findings.add(f"{who}: needs neither the cluster's token nor variables of its services")
    for container in containers(resource):
        check_container(f"{who}: {container['name']}", container, findings)
    for container in spec["containers"]:
        if serves(container):
            check_probes(f"{who}: {container['name']}", container, context, findings)
            check_shutdown(who, spec, container, context, findings)
            if not spec.get("topologySpreadConstraints"):
                findings.add(f"{who}: its pods may all be on one machine")


def serves(container: dict) -> bool:
    """Whether it is a gateway or a worker."""
    return "serve" in container.get("args", [])


def check_container(who: str, container: dict, findings: Findings) -> None:
    security = container.get("securityContext", {})
    dropped = security.get("capabilities", {}).get("drop")
    if security.get("allowPrivilegeEscalation") is not False or dropped != ["ALL"]:
        findings.add(f"{who} keeps privileges")
    if "memory" not in container.get("resources", {}).get("limits", {}):
        findings.add(f"{who} has no limit on memory")
    if ":" not in container["image"] or container["image"].endswith(":latest"):
        findings.add(f"{who}: the image {container['image']} has no version")


def check_probes(who: str, container: dict, context: Context, findings: Findings) -> None:
    routes = context.sources()
    for probe in PROBES:
        path = container.get(probe, {}).get("httpGet", {}).get("path")
        if not path:
            findings.add(f"{who} has no {probe}")
        elif f'"{path}"' not in routes:
            findings.add(f"{who}: {probe} asks for {path}, which is no route")


def check_shutdown(who: str, spec: dict, container: dict, context: Context, findings: Findings) -> None:
    given = spec.get("terminationGracePeriodSeconds", 30)
    before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    needed = before + shutdown_seconds(context)
    if given < needed:
        findings.add(f"{who}: {given} s to stop; it may need {needed} s")


def check_budget(who: str, resource: dict, resources: list[dict], findings: Findings) -> None:
    if not any(serves(container) for container in containers(resource)):
        return
    labels = pod(resource)["metadata"]["labels"]
    budgets = [other["spec"]["selector"] for other in resources if other["kind"] == "PodDisruptionBudget"]
    if not any(selector["matchLabels"].items() <= labels.items() for selector in budgets):
        findings.add(f"{who}: no PodDisruptionBudget covers it")

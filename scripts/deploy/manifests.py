"""The Kubernetes manifests: put together, checked by schema, and that what refers to something finds it."""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import pods
from .kustomize import Failure, build, built_by_program, containers, pod
from .report import UNTRACKED, Context, Findings, Skipped

OVERLAYS = ["trial", "production"]
# Resources that are made by hand, as the overlay's comment says.
GIVEN = {"production": {("Secret", "turnpike-engines"), ("Secret", "turnpike-tls")}, "trial": set()}
VERSIONS = ["1.32", "1.37"]
# What custom.mjs ends with when its packages want another version of node.
UNUSABLE = 3


def overlays(context: Context) -> dict[str, list[dict]]:
    """Each overlay put together, with the examples of files that people fill in."""
    with tempfile.TemporaryDirectory() as work:
        copy = copied(context, Path(work))
        return {name: build(copy / "kubernetes" / "overlays" / name) for name in OVERLAYS}


def copied(context: Context, work: Path) -> Path:
    copy = work / "deploy"
    shutil.copytree(context.deploy, copy, ignore=shutil.ignore_patterns(*UNTRACKED))
    for example in copy.rglob("*.env.example"):
        if example.parent.name in OVERLAYS:
            shutil.copyfile(example, example.with_suffix(""))
    return copy


def put_together(context: Context, findings: Findings) -> str:
    with tempfile.TemporaryDirectory() as work:
        copy = copied(context, Path(work))
        by_program = 0
        for name in OVERLAYS:
            folder = copy / "kubernetes" / "overlays" / name
            try:
                own = build(folder)
                real = built_by_program(folder)
            except Failure as failure:
                findings.add(str(failure).replace(f"{work}/", "").replace(str(Path(work).resolve()) + "/", ""))
                continue
            if real is not None:
                by_program += 1
                differ = set(map(identity, own)) ^ set(map(identity, real))
                for kind, resource in sorted(differ):
                    findings.add(f"{name}: only one of kustomize and scripts/deploy/kustomize.py has {kind} {resource}")
    how = "by kustomize itself, with the same outcome as ours" if by_program else "by scripts/deploy/kustomize.py alone"
    return f"overlays {', '.join(OVERLAYS)} {how}"


def identity(resource: dict) -> tuple[str, str]:
    """Kind and name, without the hash of what was generated."""
    return resource["kind"], re.sub(r"-[a-z0-9]{10}$", "", resource["metadata"]["name"])


def schemas(context: Context, findings: Findings) -> str:
    try:
        import kubernetes_validate
    except ImportError:
        raise Skipped("kubernetes-validate is not there") from None
    count = 0
    for name, resources in built(context).items():
        for resource in resources:
            if is_custom(resource):
                continue
            count += 1
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(resource, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    where = ".".join(str(part) for part in error.path)
                    findings.add(f"{name}: {resource['kind']} {resource['metadata']['name']}: {where}: {error.message}")
                    break
                except (kubernetes_validate.SchemaNotFoundError, kubernetes_validate.VersionNotSupportedError) as error:
                    findings.add(f"{name}: {error.message}")
                    break
    return f"{count} resources by the schemas of Kubernetes {' and '.join(VERSIONS)}"


def custom(context: Context, findings: Findings) -> str:
    resources = [resource for overlay in built(context).values() for resource in overlay if is_custom(resource)]
    if not shutil.which("node") or not (context.tools / "node" / "package.json.done").exists():
        raise Skipped("node or the packages with the schemas of KEDA and the Prometheus operator are not there")
    # Given as text, so that it finds its packages where it runs.
    program = Path(__file__).with_name("custom.mjs").read_text("utf-8")
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", program],
        cwd=context.tools / "node",
        input=json.dumps(resources),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode == UNUSABLE:
        raise Skipped(f"this node cannot load the schemas: {done.stderr.strip()}")
    for line in done.stdout.splitlines():
        findings.add(line)
    if done.returncode != 0:
        findings.add(f"node: {(done.stderr.strip().splitlines() or [done.returncode])[-1]}")
    return f"{len(resources)} resources by the schemas of KEDA and the Prometheus operator"


def is_custom(resource: dict) -> bool:
    return "." in resource["apiVersion"].split("/")[0] and not resource["apiVersion"].split("/")[0].endswith(".k8s.io")


def built(context: Context) -> dict[str, list[dict]]:
    try:
        return overlays(context)
    except Failure:
        raise Skipped("the overlays cannot be put together") from None


def references(context: Context, findings: Findings) -> str:
    count = 0
    for name, resources in built(context).items():
        there = {(r["kind"], r["metadata"]["name"]) for r in resources} | GIVEN[name]
        templates = [pod(resource) for resource in resources if pod(resource)]
        for resource in resources:
            who = f"{name}: {resource['kind']} {resource['metadata']['name']}"
            for wanted in wants(resource):
                count += 1
                if wanted not in there:
                    findings.add(f"{who} refers to {wanted[0]} {wanted[1]}, which is not there")
            for labels in selects(resource):
                count += 1
                if not any(labels.items() <= template["metadata"]["labels"].items() for template in templates):
                    findings.add(f"{who} selects {labels}, which no pod has")
            for port in ports(resource):
                count += 1
                selected = [t for t in templates if selects(resource)[0].items() <= t["metadata"]["labels"].items()]
                named = {p["name"] for t in selected for c in t["spec"]["containers"] for p in c.get("ports", [])}
                if port not in named:
                    findings.add(f"{who} leads to the port {port}, which its pods do not have")
            mounts(resource, who, findings)
    return f"{count} references, selectors and ports"


def wants(resource: dict) -> list[tuple[str, str]]:
    """What a resource refers to by name."""
    wanted = []
    spec = pod(resource).get("spec", {})
    for container in containers(resource):
        for source in container.get("envFrom", []):
            for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if key in source and not source[key].get("optional"):
                    wanted.append((kind, source[key]["name"]))
        for variable in container.get("env", []):
            source = variable.get("valueFrom", {})
            if "secretKeyRef" in source:
                wanted.append(("Secret", source["secretKeyRef"]["name"]))
    for volume in spec.get("volumes", []):
        if "configMap" in volume:
            wanted.append(("ConfigMap", volume["configMap"]["name"]))
    if "serviceAccountName" in spec:
        wanted.append(("ServiceAccount", spec["serviceAccountName"]))
    body = resource.get("spec", {})
    if resource["kind"] == "StatefulSet":
        wanted.append(("Service", body["serviceName"]))
    if resource["kind"] == "ScaledObject":
        wanted.append((body["scaleTargetRef"]["kind"], body["scaleTargetRef"]["name"]))
        references = [trigger.get("authenticationRef") for trigger in body["triggers"]]
        wanted += [("TriggerAuthentication", reference["name"]) for reference in references if reference]
    if resource["kind"] == "TriggerAuthentication":
        wanted += [("Secret", source["name"]) for source in body["secretTargetRef"]]
    if resource["kind"] == "Ingress":
        paths = [path for rule in body["rules"] for path in rule["http"]["paths"]]
        wanted += [("Service", path["backend"]["service"]["name"]) for path in paths]
        wanted += [("Secret", tls["secretName"]) for tls in body.get("tls", [])]
    return wanted


def selects(resource: dict) -> list[dict]:
    body = resource.get("spec", {})
    if resource["kind"] == "Service":
        return [body["selector"]]
    if resource["kind"] in ("PodDisruptionBudget", "Deployment", "StatefulSet", "PodMonitor"):
        spread = pod(resource).get("spec", {}).get("topologySpreadConstraints", [])
        return [body["selector"]["matchLabels"]] + [one["labelSelector"]["matchLabels"] for one in spread]
    return []


def ports(resource: dict) -> list[str]:
    body = resource.get("spec", {})
    if resource["kind"] == "Service":
        # Without a target the number is that of the pod; names are what can be wrong.
        return [port["targetPort"] for port in body["ports"] if isinstance(port.get("targetPort"), str)]
    if resource["kind"] == "PodMonitor":
        return [endpoint["port"] for endpoint in body["podMetricsEndpoints"]]
    return []


def mounts(resource: dict, who: str, findings: Findings) -> None:
    spec = pod(resource).get("spec", {})
    claims = resource.get("spec", {}).get("volumeClaimTemplates", [])
    volumes = {volume["name"] for volume in spec.get("volumes", [])} | {claim["metadata"]["name"] for claim in claims}
    used = {mount["name"] for container in containers(resource) for mount in container.get("volumeMounts", [])}
    for volume in sorted(used ^ volumes):
        findings.add(f"{who}: the volume {volume} is {'mounted and not declared' if volume in used else 'not used'}")


def conventions(context: Context, findings: Findings) -> str:
    """What this service needs of its pods beyond the schema."""
    count = 0
    for name, resources in built(context).items():
        for resource in resources:
            if pod(resource):
                count += 1
                pods.check(f"{name}: {resource['kind']} {resource['metadata']['name']}", resource, context, findings)
                pods.check_budget(f"{name}: {resource['metadata']['name']}", resource, resources, findings)
        targets = [r["spec"]["scaleTargetRef"] for r in resources if r["kind"] == "ScaledObject"]
        scaled = {(target["kind"], target["name"]) for target in targets}
        for resource in resources:
            if (resource["kind"], resource["metadata"]["name"]) in scaled and "replicas" in resource["spec"]:
                findings.add(f"{name}: {resource['metadata']['name']} is scaled, and its number is set all the same")
    return f"{count} workloads: privileges, probes, time to stop, budgets, spread"


CHECKS = [
    ("manifests built", put_together),
    ("manifests schema", schemas),
    ("manifests custom", custom),
    ("manifests references", references),
    ("manifests conventions", conventions),
]

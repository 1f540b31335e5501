"""Puts a kustomization together: by kubectl or kustomize where one is installed that can, else by hand.

By hand means as far as these manifests need it: resources, components, namespace, generators, JSON patches, images.
"""

import re
import shutil
import subprocess
from pathlib import Path

import yaml

KNOWN = {
    "apiVersion", "kind", "namespace", "resources", "components", "labels", "configMapGenerator", "secretGenerator",
    "images", "patches",
}  # fmt: skip


class Failure(Exception):
    """The kustomization does not hold together; the message says where."""


def build(folder: Path) -> list[dict]:
    """The resources of a kustomization."""
    resources: list[dict] = []
    collect(folder, resources)
    return resources


def built_by_program(folder: Path) -> list[dict] | None:
    """The same by the real program, or nothing where none is installed that knows components."""
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(command[0]):
            done = subprocess.run([*command, folder], capture_output=True, text=True, timeout=120, check=False)
            if done.returncode == 0:
                return [document for document in yaml.safe_load_all(done.stdout) if document]
            if is_recent(command[0]):
                raise Failure(f"{command[0]}: {done.stderr.strip().splitlines()[-1]}")
    return None


def is_recent(program: str) -> bool:
    """Whether the program has a version of kustomize that knows `components` in overlays and `labels`: 4.1."""
    command = {"kustomize": ["kustomize", "version"], "kubectl": ["kubectl", "version", "--client"]}[program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    version = re.search(r"(?:Kustomize Version: )?v(\d+)\.(\d+)", done.stdout.split("Kustomize Version")[-1])
    return bool(version) and (int(version.group(1)), int(version.group(2))) >= (4, 1)


def collect(folder: Path, resources: list[dict]) -> None:
    file = folder / "kustomization.yaml"
    if not file.exists():
        raise Failure(f"{folder} has no kustomization.yaml")
    own = yaml.safe_load(file.read_text("utf-8"))
    for key in own:
        if key not in KNOWN:
            raise Failure(f"{file}: {key} is not understood here; teach it to scripts/deploy/kustomize.py")
    for entry in own.get("resources", []):
        path = folder / entry
        if path.is_dir():
            collect(path.resolve(), resources)
        elif path.exists():
            resources += [document for document in yaml.safe_load_all(path.read_text("utf-8")) if document]
        else:
            raise Failure(f"{file}: {entry} is not there")
    for entry in own.get("components", []):
        collect((folder / entry).resolve(), resources)
    for kind, generators in (("ConfigMap", "configMapGenerator"), ("Secret", "secretGenerator")):
        for generator in own.get(generators, []):
            generate(file, kind, generator, resources)
    for patch in own.get("patches", []):
        apply(file, patch, resources)
    for image in own.get("images", []):
        rename_images(image, resources)
    if "namespace" in own:
        for resource in resources:
            if resource["kind"] != "Namespace":
                resource["metadata"]["namespace"] = own["namespace"]


def generate(file: Path, kind: str, generator: dict, resources: list[dict]) -> None:
    data = dict(literal.split("=", 1) for literal in generator.get("literals", []))
    for entry in generator.get("files", []):
        path = file.parent / entry
        if not path.exists():
            raise Failure(f"{file}: {entry} is not there")
        data[path.name] = path.read_text("utf-8")
    for entry in generator.get("envs", []):
        path = file.parent / entry
        if not path.exists():
            raise Failure(f"{file}: {entry} is not there")
        lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
        data |= dict(line.split("=", 1) for line in lines)
    existing = [r for r in resources if r["kind"] == kind and r["metadata"]["name"] == generator["name"]]
    if generator.get("behavior") == "merge":
        if not existing:
            raise Failure(f"{file}: there is no {kind} {generator['name']} to merge into")
        existing[0].setdefault("data", {}).update(data)
    elif existing:
        raise Failure(f"{file}: there are two of {kind} {generator['name']}")
    else:
        made = {"apiVersion": "v1", "kind": kind, "metadata": {"name": generator["name"]}}
        resources.append(made | {"data" if kind == "ConfigMap" else "stringData": data})


def apply(file: Path, patch: dict, resources: list[dict]) -> None:
    target = patch["target"]
    found = [r for r in resources if r["kind"] == target["kind"] and r["metadata"]["name"] == target["name"]]
    if not found:
        raise Failure(f"{file}: there is no {target['kind']} {target['name']} to patch")
    for operation in yaml.safe_load(patch["patch"]):
        *way, last = operation["path"].strip("/").split("/")
        place = found[0]
        for key in way:
            place = place[int(key)] if isinstance(place, list) else place.get(key, {})
        if operation["op"] in ("remove", "replace") and last not in place:
            raise Failure(f"{file}: {target['name']} has no {operation['path']} to {operation['op']}")
        if operation["op"] == "remove":
            del place[last]
        else:
            place[last] = operation["value"]


def rename_images(image: dict, resources: list[dict]) -> None:
    for resource in resources:
        for container in containers(resource):
            if container["image"].split(":")[0] == image["name"]:
                container["image"] = f"{image.get('newName', image['name'])}:{image['newTag']}"


def pod(resource: dict) -> dict:
    """The pod's template of a resource that has one."""
    return resource.get("spec", {}).get("template", {}) if resource["kind"] in WORKLOADS else {}


def containers(resource: dict) -> list[dict]:
    spec = pod(resource).get("spec", {})
    return spec.get("initContainers", []) + spec.get("containers", [])


WORKLOADS = {"Deployment", "StatefulSet", "DaemonSet", "Job"}

"""Every setting, metric, command, flag and queue that a file of deploy/ or the run book names exists in the sources."""

import re
import tomllib

from .rabbitmq import topology
from .report import Context, Findings

# Prometheus' own endings of a histogram's series.
ENDINGS = ("_bucket", "_sum", "_count")
# Variables for engines and providers, read by src/config/layers.rs.
VARIABLE = re.compile(r"\b(RABBITMQ_URL|MONGODB_URI|QDRANT_[A-Z_]+|(?:OPENAI|DEEPSEEK|GEMINI|QWEN)_[A-Z_]+)\b")

# Endings of files that are called turnpike.
FILES = {"toml", "env", "conf", "service", "json", "sysusers", "yaml"}


def texts(context: Context) -> dict[str, str]:
    texts = {str(file.relative_to(context.root)): file.read_text("utf-8") for file in context.files()}
    return texts | {"docs/OPERATIONS.md": context.text("docs/OPERATIONS.md")}


def settings(context: Context, findings: Findings) -> str:
    default = context.text("src/config/default.toml")
    # A setting without a default stands there as a comment.
    known = tomllib.loads(re.sub(r'^# (\w+ = "…")', r"\1", default, flags=re.MULTILINE))
    # `knowledge.updated` is written like a setting of `[knowledge]`, and is a type of event.
    events = set(re.findall(r'rename = "([a-z]+\.[a-z_]+)"', context.text("src/domain/event.rs")))
    used = 0
    for path, text in texts(context).items():
        for variable in sorted(set(re.findall(r"\bTURNPIKE__(\w+)", text))):
            used += 1
            place = known
            for key in variable.lower().split("__"):
                place = place.get(key) if isinstance(place, dict) else None
            if place is None or isinstance(place, dict):
                findings.add(f"{path}: TURNPIKE__{variable} is no setting of src/config/default.toml")
        named = re.findall(r"`(%s)\.([a-z_]+)`" % "|".join(known), text) if path.endswith(".md") else []
        for section, key in sorted(set(named)):
            used += 1
            if key not in known[section] and f"{section}.{key}" not in events:
                findings.add(f"{path}: {section}.{key} is no setting of src/config/default.toml")
        layers = context.text("src/config/layers.rs")
        for variable in sorted(set(VARIABLE.findall(text))):
            used += 1
            if f'"{variable}"' not in layers and not variable.startswith("QDRANT__"):
                findings.add(f"{path}: {variable} is not read by src/config/layers.rs")
    return f"{used} uses of settings and variables"


def metrics(context: Context, findings: Findings) -> str:
    known = set(re.findall(r'"(turnpike_[a-z_]+)"', context.sources()))
    used = 0
    for path, text in texts(context).items():
        for name in sorted(set(re.findall(r"\bturnpike_[a-z_]+[a-z]\b", text))):
            plain = next((name.removesuffix(ending) for ending in ENDINGS if name.endswith(ending)), name)
            used += 1
            if name not in known and plain not in known:
                findings.add(f"{path}: {name} is no metric of src")
    return f"{used} uses of metrics, {len(known)} in src"


def commands(context: Context, findings: Findings) -> str:
    """`turnpike …` in backticks, code and the arguments of containers."""
    cli = context.text("src/cli/mod.rs")
    known = {kebab(name) for name in re.findall(r"^    (?:///.*\n    (?:#\[.*\n    )*)(\w+)[(,]", cli, re.MULTILINE)}
    flags = set(re.findall(r"--([a-z][a-z-]+)", "\n".join(re.findall(r"--[a-z-]+", context.sources()))))
    flags |= {field.replace("_", "-") for field in re.findall(r"^ +(\w+): ", cli_sources(context), re.MULTILINE)}
    used = 0
    for path, text in texts(context).items():
        said = re.findall(r"(?:^|[`(]|(?<!-n) )turnpike ([a-z]+)((?: [^\s`|&;)]+)*)", text, re.MULTILINE)
        runs = re.findall(r"^ *(?:args|command): \[((?:migrate|serve|doctor)[^\]]*)\]", text, re.MULTILINE)
        said += [(run.split(",")[0], " " + " ".join(part.strip(' "') for part in run.split(",")[1:])) for run in runs]
        for command, rest in said:
            if path.endswith((".md", ".yaml", ".service", "Dockerfile")) and is_command(command, known, path, findings):
                used += 1
                for flag in re.findall(r" --([a-z-]+)", rest):
                    if flag not in flags:
                        findings.add(f"{path}: turnpike {command} has no --{flag}")
    return f"{used} commands with their flags"


def is_command(command: str, known: set[str], path: str, findings: Findings) -> bool:
    if command in known:
        return True
    if path.endswith(".md"):
        findings.add(f"{path}: there is no command turnpike {command}")
    return False


def cli_sources(context: Context) -> str:
    return "\n".join(file.read_text("utf-8") for file in sorted((context.root / "src" / "cli").rglob("*.rs")))


def kebab(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"-\1", name).lower()


def queues(context: Context, findings: Findings) -> str:
    queues, exchanges = topology(context)
    known = {name.split(".")[1] for name in queues | exchanges}
    used = 0
    for path, text in texts(context).items():
        for name in sorted(set(re.findall(r"(?<!Collection\(\")\bturnpike\.([a-z]+)\b(?!\()", text)) - FILES):
            used += 1
            if name not in known:
                findings.add(f"{path}: turnpike.{name} is neither a queue nor an exchange")
    return f"{used} uses of queues and exchanges"


def images(context: Context, findings: Findings) -> str:
    """One version of each engine throughout."""
    versions: dict[str, set[str]] = {}
    for path, text in texts(context).items():
        if path.endswith(".yaml"):
            for name, tag in re.findall(r"\bimage: ([\w./-]+):([\w.-]+)", text):
                versions.setdefault(name, set()).add(tag.removesuffix("-unprivileged"))
    for name, tags in sorted(versions.items()):
        if len(tags) > 1:
            findings.add(f"{name} is used in the versions {', '.join(sorted(tags))}")
    return f"{len(versions)} images, one version of each"


CHECKS = [
    ("names settings", settings),
    ("names metrics", metrics),
    ("names commands", commands),
    ("names queues", queues),
    ("names images", images),
]

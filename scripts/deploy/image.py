"""The Dockerfile: its lint, and that it sees what the build needs and nothing else."""

import fnmatch
import re
import subprocess

from .report import Context, Findings, Skipped


def lint(context: Context, findings: Findings) -> str:
    hadolint = context.tools / "venv" / "bin" / "hadolint"
    if not hadolint.exists():
        raise Skipped("hadolint is not there")
    done = subprocess.run(
        [hadolint, "--no-color", "deploy/Dockerfile"], cwd=context.root, capture_output=True, text=True, check=False
    )
    for line in (done.stdout + done.stderr).splitlines():
        findings.add(line)
    if done.returncode != 0 and not findings.lines:
        findings.add(f"hadolint ended with {done.returncode}")
    return "deploy/Dockerfile by hadolint"


def toolchain(context: Context, findings: Findings) -> str:
    channel = re.search(r'^channel = "([^"]+)"', context.text("rust-toolchain.toml"), re.MULTILINE)
    version = re.search(r"^ARG RUST_VERSION=(\S+)", context.text("deploy/Dockerfile"), re.MULTILINE)
    if not channel or not version or channel.group(1) != version.group(1):
        findings.add(
            f"deploy/Dockerfile builds with Rust {version and version.group(1)}, "
            f"rust-toolchain.toml says {channel and channel.group(1)}"
        )
    return f"Rust {channel and channel.group(1)}"


def build_context(context: Context, findings: Findings) -> str:
    """What the sources take in while they are compiled is copied, and what is copied is not ignored."""
    dockerfile = context.text("deploy/Dockerfile")
    copied = []
    for arguments in re.findall(r"^COPY ((?!--from).+)$", dockerfile, re.MULTILINE):
        parts = [part for part in arguments.split() if not part.startswith("--")]
        copied += parts[:-1]
    ignore = [line for line in context.text("deploy/Dockerfile.dockerignore").splitlines() if line and line[0] != "#"]
    for path in copied:
        if not (context.root / path).exists():
            findings.add(f"deploy/Dockerfile copies {path}, which is not there")
        if is_ignored(path, ignore):
            findings.add(f"deploy/Dockerfile copies {path}, which deploy/Dockerfile.dockerignore leaves out")
    for secret in (".env", "deploy/.env", ".git/config", ".data/store.db", "turnpike.toml"):
        if not is_ignored(secret, ignore):
            findings.add(f"deploy/Dockerfile.dockerignore lets {secret} into the build")
    taken_in = set()
    for file in sorted((context.root / "src").rglob("*.rs")):
        for macro in re.findall(r'include_(?:str|bytes|dir)!\(\s*"([^"]+)"', file.read_text("utf-8")):
            path = (
                context.root / macro.removeprefix("$CARGO_MANIFEST_DIR/")
                if macro.startswith("$")
                else file.parent / macro
            )
            taken_in.add(str(path.resolve().relative_to(context.root)))
    for path in sorted(taken_in):
        if not any(path == given or path.startswith(f"{given}/") for given in copied):
            findings.add(f"the sources take in {path}, which deploy/Dockerfile does not copy")
    return f"{len(copied)} paths copied, {len(taken_in)} files taken in by the sources"


def is_ignored(path: str, patterns: list[str]) -> bool:
    """As Docker reads the file: the last pattern that fits decides, for the path or a folder above it."""
    parts = path.split("/")
    ways = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
    ignored = False
    for pattern in patterns:
        wanted = pattern.removeprefix("!").removeprefix("**/").rstrip("/")
        if any(fnmatch.fnmatch(way, wanted) for way in ways):
            ignored = not pattern.startswith("!")
    return ignored


def runtime(context: Context, findings: Findings) -> str:
    """The last stage: not root, a health check, signals that reach the process."""
    stage = re.split(r"^FROM ", context.text("deploy/Dockerfile"), flags=re.MULTILINE)[-1]
    user = re.search(r"^USER (\d+)", stage, re.MULTILINE)
    if not user or int(user.group(1)) == 0:
        findings.add("the last stage of deploy/Dockerfile does not run as a number other than 0")
    for word in ("HEALTHCHECK", "STOPSIGNAL SIGTERM", 'ENTRYPOINT ["'):
        if not re.search(rf"^{re.escape(word)}", stage, re.MULTILINE):
            findings.add(f"the last stage of deploy/Dockerfile lacks {word}")
    for path in re.findall(r"GET (/\w+)", context.text("deploy/healthcheck.sh")):
        if f'"{path}"' not in context.sources():
            findings.add(f"deploy/healthcheck.sh asks for {path}, which is no route")
    done = subprocess.run(
        ["bash", "-n", "deploy/healthcheck.sh"], cwd=context.root, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        findings.add(done.stderr.strip())
    return f"user {user and user.group(1)}, health check, signals"


CHECKS = [
    ("image lint", lint),
    ("image toolchain", toolchain),
    ("image context", build_context),
    ("image runtime", runtime),
]

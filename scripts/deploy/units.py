"""The systemd units, by systemd-analyze."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from .compose import shutdown_seconds
from .report import Context, Findings, Skipped


def verify(context: Context, findings: Findings) -> str:
    if not shutil.which("systemd-analyze"):
        raise Skipped("systemd-analyze is not installed")
    units = sorted((context.deploy / "systemd").glob("*.service"))
    with tempfile.TemporaryDirectory() as work:
        for unit in units:
            # The binary need not be installed here: something that exists stands in for it.
            text = unit.read_text("utf-8").replace("/usr/local/bin/turnpike", "/bin/true")
            name = unit.name.replace("@.", "@gateway.")
            (Path(work) / name).write_text(text, "utf-8")
            command = ["systemd-analyze", "verify", "--man=no", str(Path(work) / name)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            for line in done.stderr.splitlines():
                # Other units of this machine are not ours to judge.
                if unit.stem.rstrip("@") in line:
                    findings.add(f"{unit.name}: {line.split(':', 1)[-1].strip() if work in line else line}")
            if done.returncode != 0 and not findings.lines:
                findings.add(f"{unit.name}: systemd-analyze ended with {done.returncode}: {done.stderr.strip()}")
    return f"{', '.join(unit.name for unit in units)} by systemd-analyze"


def stop(context: Context, findings: Findings) -> str:
    needed = shutdown_seconds(context)
    for unit in sorted((context.deploy / "systemd").glob("*.service")):
        given = re.search(r"^TimeoutStopSec=(\d+)$", unit.read_text("utf-8"), re.MULTILINE)
        if not given or int(given.group(1)) < needed:
            findings.add(f"{unit.name} is given {given and given.group(1)} s to stop; it may need {needed} s")
    return f"at least {needed} s to stop"


CHECKS = [("units verified", verify), ("units shutdown", stop)]

"""What a check says: what it looked at, what it found wrong, and what it had to leave out."""

from collections.abc import Callable
from pathlib import Path


class Skipped(Exception):
    """A check lacks something; the message says what."""


class Context:
    """The tree that is checked, and the tools."""

    def __init__(self, root: Path, tools: Path):
        self.root = root
        self.tools = tools
        self.deploy = root / "deploy"

    def text(self, path: str) -> str:
        return (self.root / path).read_text("utf-8")

    def sources(self) -> str:
        """All of src as one text, to look names up in."""
        return "\n".join(file.read_text("utf-8") for file in sorted((self.root / "src").rglob("*.rs")))

    def files(self) -> list[Path]:
        """The files of deploy/, without what people keep beside them."""
        return [file for file in sorted(self.deploy.rglob("*")) if file.is_file() and file.name not in UNTRACKED]


UNTRACKED = {".env", "engines.env", "providers.env"}


class Report:
    """Collects findings and prints as it goes."""

    def __init__(self) -> None:
        self.findings = 0
        self.skipped = 0

    def run(self, name: str, check: Callable[[Context, "Findings"], str], context: Context) -> None:
        findings = Findings()
        try:
            looked_at = check(context, findings)
        except Skipped as reason:
            self.skipped += 1
            print(f"SKIPPED  {name}: {reason}", flush=True)
            return
        except (OSError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            findings.add(f"cannot be read: {type(error).__name__}: {error}")
            looked_at = ""
        for finding in findings.lines:
            print(f"FINDING  {name}: {finding}", flush=True)
        self.findings += len(findings.lines)
        if not findings.lines:
            print(f"ok       {name}: {looked_at}", flush=True)


class Findings:
    """What one check found wrong."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        self.lines.append(line)

"""Runs the checks, one after the other: python -m deploy.check ROOT TOOLS"""

import importlib.util
import sys
from pathlib import Path

from .report import Context, Report


def main(root: str, tools: str) -> int:
    if importlib.util.find_spec("yaml") is None:
        print("SKIPPED  everything: PyYAML is not there; bring it by running scripts/check-deploy with a network")
        return 0
    from . import compose, image, manifests, monitoring, names, rabbitmq, units

    context, report = Context(Path(root), Path(tools)), Report()
    for name, check in [
        *image.CHECKS,
        *compose.CHECKS,
        *manifests.CHECKS,
        *monitoring.CHECKS,
        *rabbitmq.CHECKS,
        *units.CHECKS,
        *names.CHECKS,
    ]:
        report.run(name, check, context)
    print(f"{report.findings} findings, {report.skipped} checks skipped")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))

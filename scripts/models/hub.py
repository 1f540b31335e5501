"""Fetches an embedding model from the model hub. Run by pull.py inside its own virtual environment.

    hub.py probe REPOSITORY                       exits with 0 if the hub answers within five seconds
    hub.py fetch REPOSITORY DIMENSIONS TARGET     fills TARGET and prints the revision that it fetched

HF_ENDPOINT, HF_TOKEN and the proxy settings mean what they mean to every client of the hub.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download

TIMEOUT_SECONDS = 5
FILES = {
    "onnx/model.onnx": "model.onnx",
    "tokenizer.json": "tokenizer.json",
    "config.json": "config.json",
    "special_tokens_map.json": "special_tokens_map.json",
    "tokenizer_config.json": "tokenizer_config.json",
}


def check_hash(path: Path, expected: str) -> None:
    """The hub's own checksum of the weights, so that a download cut short is never installed."""
    actual = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            actual.update(block)
    if actual.hexdigest() != expected:
        raise SystemExit(f"{path.name} is not what the hub describes: sha256 {actual.hexdigest()}, not {expected}")


def check_runs(path: Path, dimensions: int) -> None:
    """Runs three tokens through the model where this Python has ONNX Runtime."""
    try:
        # Imported here: the probe runs before these are installed.
        import numpy as np
        import onnxruntime
    except ImportError:
        print("this Python has no ONNX Runtime: the model was checked by its hash only", file=sys.stderr)
        return
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    values = {"input_ids": [[0, 6, 2]], "attention_mask": [[1, 1, 1]], "token_type_ids": [[0, 0, 0]]}
    feed = {i.name: np.array(values[i.name], dtype=np.int64) for i in session.get_inputs()}
    output = session.run(None, feed)[0]
    if output.shape != (1, 3, dimensions) or not np.isfinite(output).all():
        raise SystemExit(f"the model from the hub is wrong: its output has the shape {output.shape}")


def fetch(repository: str, dimensions: int, target: Path) -> str:
    info = HfApi().model_info(repository, files_metadata=True, timeout=60)
    hashes = {file.rfilename: file.lfs.sha256 for file in info.siblings or [] if file.lfs}
    downloads = target / ".download"
    for name, local in FILES.items():
        path = Path(hf_hub_download(repository, name, revision=info.sha, local_dir=downloads))
        if name in hashes:
            check_hash(path, hashes[name])
        path.replace(target / local)
    shutil.rmtree(downloads)
    check_runs(target / "model.onnx", dimensions)
    return str(info.sha)


def main() -> None:
    if sys.argv[1] == "probe":
        HfApi().model_info(sys.argv[2], timeout=TIMEOUT_SECONDS)
    else:
        print(fetch(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])))


if __name__ == "__main__":
    main()

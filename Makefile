# Every command of the project. `make demo` and `make test` need nothing but Rust.

CARGO ?= cargo
# The Kubernetes version of k8s-openapi, for commands that build without dev-dependencies.
export K8S_OPENAPI_ENABLED_VERSION ?= 1.34

# What the tests are built with, the same for all of them: another choice builds the crate anew.
FEATURES ?= cli,otel
PROFILE ?= bench
# The kind cluster of the kind targets: kind or kind:NAME.
KIND ?= kind
KIND_NAME = $(patsubst kind:%,%,$(filter kind:%,$(KIND)))
# How long each target is fuzzed.
export FUZZ_SECONDS ?= 600

.PHONY: demo test test-goose test-kind suite-on-kind kind-up kind-down lab-check cases crash-gate series-gate fuzz containers fmt clippy doc features bench bench-cluster bench-load bench-vegeta bench-watched bench-documents dependent ci

demo: ## lab4 of the Chaos Toolkit demos on the embedded lab
	@$(CARGO) run --quiet --features $(FEATURES) -- demo

test: ## everything that needs no cluster
	$(CARGO) test --workspace --features $(FEATURES); code=$$?; \
	$(CARGO) run --quiet --features $(FEATURES) -- report --last || true; exit $$code

test-goose: ## goose attacks, and what else depends on what that feature brings
	$(CARGO) test --features cli,goose --lib load::goose
	$(CARGO) test --features cli,goose --test it -- goose:: network::
	$(CARGO) test --features cli,goose --doc load::goose

test-kind: ## the conformance suite and lab4 on a kind cluster, made if it is absent, and kind misused; needs Docker and kind
	@.ci/counted "on $(KIND)" $(MAKE) --no-print-directory suite-on-kind
	@STEADFAST_CLUSTER=$(KIND) .ci/counted "on a kind cluster of their own" \
	  $(CARGO) test --features $(FEATURES) --test tools -- kind::

suite-on-kind:
	STEADFAST_CLUSTER=$(KIND) $(CARGO) test --features $(FEATURES) --test conformance
	STEADFAST_CLUSTER=$(KIND) $(CARGO) test --features $(FEATURES) --test it lab4::front
	STEADFAST_CLUSTER=$(KIND) $(CARGO) test --features $(FEATURES) --test it -- --exact time::runs_on_kind_alone --include-ignored

kind-up: ## the kind cluster, made if it is absent, with the images of the witness and the shop; prints its KUBECONFIG
	@$(CARGO) run --quiet --features $(FEATURES) -- kind up $(KIND_NAME)

kind-down: ## deletes the kind cluster and what is remembered of it
	@$(CARGO) run --quiet --features $(FEATURES) -- kind down $(KIND_NAME)

lab-check: ## judged by kubectl, the official Python client, Chaos Toolkit, Prometheus, vegeta and a browser, as far as they are here; EXPRESSIONS=20000 of PromQL
	STEADFAST_EXPRESSIONS=$(or $(EXPRESSIONS),2000) $(CARGO) test --features $(FEATURES) --test tools

cases: ## documents with what the real Chaos Toolkit did with them, in the folder CASES: each is equal, or covered by a rule of docs/deviations.md
	STEADFAST_CASES=$(abspath $(or $(CASES),../shared/cases/chaostoolkit)) $(CARGO) test --features $(FEATURES) --test tools -- cases:: --nocapture

crash-gate: ## drivers killed at any request in virtual time, 10,000 times, and test processes at random instants; KILLS=1000
	STEADFAST_KILLS=$(or $(KILLS),1000)0 STEADFAST_CRASHES=$(or $(KILLS),1000) $(CARGO) test --release --features $(FEATURES) --test it -- crash --nocapture --test-threads=1

series-gate: ## verdicts on series of known truth, through the whole engine; CASES=10000
	STEADFAST_SERIES=$(or $(CASES),10000) $(CARGO) test --release --features $(FEATURES) --test it -- series:: --nocapture --test-threads=1

fuzz: ## what reads others' bytes, 10 minutes a target, with cargo-fuzz; FUZZ_SECONDS=60, ONLY=document, substitution, jsonpath, vegeta_gob, vegeta_text or journal
	fuzz/run $(ONLY)

containers: ## fixtures in containers, as far as a Docker engine answers
	$(CARGO) test --features cli,testcontainers --test containers

fmt: ## formatting, checked
	$(CARGO) fmt --all --check

clippy: ## lints
	$(CARGO) clippy --workspace --all-targets --features cli,goose,otel,testcontainers -- -D warnings

doc: ## documentation without warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --features cli,goose,otel,testcontainers

features: ## each feature by itself, without a warning
	@for f in '' kubernetes prometheus load shop lab macros insta report goose testcontainers otel cli; do \
	  echo "feature $${f:-none}"; $(CARGO) clippy --quiet --no-default-features --features "$$f" -- -D warnings || bad=1; done; [ -z "$$bad" ]

bench: ## the project's figures, of a release build; with PROFILE=dev of a debug build, all of them with STEADFAST_BENCH=full
	$(CARGO) bench --profile $(PROFILE) --features $(FEATURES) --bench figures --bench lab

bench-cluster: ## what one fault costs, on the embedded cluster and on a kind one, made if it is absent
	$(CARGO) bench --profile $(PROFILE) --bench cluster
	STEADFAST_CLUSTER=$(KIND) $(CARGO) bench --profile $(PROFILE) --bench cluster

bench-load: ## the load generator beside wrk and vegeta, as far as they are here, of a release build; ONLY=closed, open, all-sent, frozen, traced or memory
	$(CARGO) bench --bench load -- $(ONLY)

bench-watched: ## what spans that nobody hears cost, and traceparent in a load's requests, of a release build; PROFILE=dev of a debug build
	$(CARGO) bench --profile $(PROFILE) --features $(FEATURES) --bench figures -- spans
	$(CARGO) bench --profile $(PROFILE) --features $(FEATURES) --bench load -- traced

bench-vegeta: ## reports on a million results, ours and vegeta's, of a release build
	$(CARGO) bench --features cli --bench vegeta

bench-documents: ## what running a document costs, ours and Chaos Toolkit's (STEADFAST_CHAOS, else chaos), of a release build; PROFILE=dev of a debug build
	$(CARGO) bench --profile $(PROFILE) --features cli --bench documents

dependent: ## a fresh crate that depends on this one: does it build, and with how many crates?
	.ci/dependent

ci: ## what CI runs
	.ci/run

# Every task has one name, here, in CI and in the docs. `make` alone lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup test tidy loom shuttle test-long chaos chaos-writes etcd-faults durability soak golden lint audit fmt proto \
	baseline build-without-protoc bench bench-fleet bench-store bench-operate recovery instructions record-instructions demo setup-bench

export PATH := $(CURDIR)/.tools/bin:$(PATH)

# What `make demo` passes on, e.g. `make demo DEMO="--plain --seconds 12"`.
DEMO ?=

help: ## list the tasks
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 24

test: ## install what is missing, then run every check below (this is what CI runs)
	@MAKE="$(MAKE)" tools/test

setup: ## install what the checks need and the machine lacks, into .tools/
	@tools/setup test

lint: ## formatting, clippy, docs, the contract's rules, licences and banned dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --workspace --features cofferdam-tests/opentelemetry --test spans -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --lib
	RUSTDOCFLAGS="-D warnings" cargo doc --package cofferdam-cli --bins --no-deps --document-private-items
	cargo fmt --manifest-path tools/protoc/Cargo.toml --check
	cargo clippy --manifest-path tools/protoc/Cargo.toml -- -D warnings
	cargo fmt --manifest-path bench/Cargo.toml --check
	cargo clippy --manifest-path bench/Cargo.toml --no-default-features --features fleet --all-targets -- -D warnings
	buf lint
	buf format --diff --exit-code
	@test -e proto/baseline.binpb || { echo "proto/baseline.binpb is missing: see CONTRIBUTING.md, The contract" >&2; exit 1; }
	buf breaking --against proto/baseline.binpb
	cargo deny check --hide-inclusion-graph bans licenses sources

tidy: ## the rules about files that no compiler checks (tests/tidy.rs; part of the tests)
	cargo test --package cofferdam-tests --test tidy

# The model checkers' atomics are chosen by a flag that all crates see, so each has a target folder of its own.
loom: ## every order in which threads can go through the engine, up to a bound; LOOM_MAX_PREEMPTIONS=4 goes further
	RUSTFLAGS="--cfg loom" cargo test --profile models --target-dir target/loom --package cofferdam-core --lib -- tests::models

shuttle: ## many random orders of more threads; COFFERDAM_LONG=1 tries a hundred times as many
	RUSTFLAGS="--cfg shuttle" cargo test --profile models --target-dir target/shuttle --package cofferdam-core --lib -- tests::models

test-long: ## the property tests, fifty times as long; SEED=n repeats a run
	@seed=$${SEED:-$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}; echo "SEED=$$seed"; \
	COFFERDAM_LONG=1 PROPTEST_RNG_SEED=$$seed cargo test --release --package cofferdam-core --lib -- model:: agrees_with

chaos: chaos-writes ## what managers say, under faults, beside what is so, a hundred times as long; SEED=n repeats one run
	COFFERDAM_LONG=1 cargo test --release --package cofferdam-server --lib -- n_of_m_is_exact
	COFFERDAM_LONG=1 env $${SEED:+PROPTEST_RNG_SEED=$$SEED} cargo test --release --package cofferdam --lib -- disorder::
	COFFERDAM_LONG=1 env $${SEED:+COFFERDAM_TEST_SEED=$$SEED} cargo test --package cofferdam-tests --test main -- chaos:: --nocapture

chaos-writes: ## of these, writes: managers and stores are killed, paused and cut off 200 times each (minutes)
	COFFERDAM_LONG=1 env $${SEED:+COFFERDAM_TEST_SEED=$$SEED} cargo test --package cofferdam-tests --test main -- chaos_writes:: --nocapture --test-threads 1

etcd-faults: ## what happens to etcd under a manager, with history compacted under a cut watch a thousand times (an hour)
	COFFERDAM_LONG=1 cargo test --package cofferdam-tests --test main -- etcd_faults:: --nocapture

durability: ## kills, cuts and damage over the embedded store, in full; COFFERDAM_TEST_SEED=n repeats a run's kills
	COFFERDAM_LONG=1 cargo test --release --package cofferdam-server --lib -- embedded::tests::damage
	COFFERDAM_LONG=1 cargo test --release --package cofferdam-tests --test main -- store_durability::embedded --nocapture

soak: ## one manager under every kind of fault for hours, and what it holds afterwards; COFFERDAM_ROUNDS=n cycles, SEED=n repeats
	COFFERDAM_LONG=1 env $${SEED:+COFFERDAM_TEST_SEED=$$SEED} cargo test --release --package cofferdam-tests --test main -- soak:: --nocapture

golden: ## the store of this release, which later ones are held to; once, when it is made
	COFFERDAM_REGENERATE=1 cargo test --package cofferdam-tests --test main -- the_store_of_this_release_can_be_written

audit: ## known vulnerabilities and yanked crates (fetches the RustSec database from GitHub)
	cargo deny check advisories

fmt: ## format Rust and proto files
	cargo fmt --all
	cargo fmt --manifest-path tools/protoc/Cargo.toml
	cargo fmt --manifest-path bench/Cargo.toml
	buf format --write

proto: ## regenerate the committed code of proto/
	COFFERDAM_REGENERATE=1 cargo test --package cofferdam-proto --test bootstrap

baseline: ## promise the contract as it is now: what `buf breaking` compares with (CONTRIBUTING.md, The contract)
	buf build --exclude-source-info --output proto/baseline.binpb

build-without-protoc: ## prove that no protoc is needed to build
	@tools/check-without-protoc

bench: ## the cost of a protected call, ours beside its peers', into docs/performance.md (times are not asserted)
	@tools/bench docs/performance.md

bench-fleet: ## the cost of a change of policy to the manager, beside Redis and etcd, into docs/performance.md; SHORT=1 is a taste
	@tools/bench-fleet $(if $(SHORT),--short,docs/performance.md)

bench-store: ## the cost of a durable write beside a bare put of etcd, into docs/performance.md; SHORT=1 is a taste
	@tools/bench-store $(if $(SHORT),--short,docs/performance.md)

bench-operate: ## how long an operator waits for commands, metrics and a rollback, into docs/performance.md; SHORT=1 is a taste
	@tools/bench-operate $(if $(SHORT),--short,docs/performance.md)

recovery: ## how long recoveries take from lost members, managers and watches, into docs/performance.md (some minutes)
	@tools/recovery docs/performance.md

instructions: ## the instructions of the hot paths, held to the bounds in bench/instructions.toml
	@tools/check-instructions check

record-instructions: ## new bounds for the instructions, where a change of them is meant
	@tools/check-instructions record

demo: ## the live demo in the terminal
	cargo run --quiet -- demo $(DEMO)

setup-bench: ## install the load generator ghz into .tools/
	@tools/setup bench

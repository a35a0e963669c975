# Linkbell. `make help` lists what can be made.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help run simulate test test-quick check format catalogues bench-ndt7 bench-ingest bench-simulate bench-agent bench-accuracy bench-check bench-faults bench-survival bench-outage bench-import bench-short constraints clean

help: ## show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): pyproject.toml constraints.txt
	@echo "Setting up the environment in $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Linkbell needs Python 3.11 or newer, this is $$($(PYTHON) -V). Try: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "On Debian: apt-get install python3-venv"; exit 1; }
	@$(INSTALL) --upgrade -c constraints.txt pip
	@$(INSTALL) -c constraints.txt --group dev --editable '.[agent,collector,ookla]'
	@touch $(STAMP)

run: $(STAMP) ## start collector, measurement server and one agent on this machine; Ctrl-C ends them
	@$(BIN)/python -m tools.run_local $(ARGS)

simulate: $(STAMP) ## start a collector with 447 schools that do not exist, and a day of their history
	@$(BIN)/linkbell-collector simulate --data var/simulation --serve 127.0.0.1:8470 --days 1 $(ARGS)

test: $(STAMP) ## install what the tests need and run all of them
	@$(BIN)/python -m tools.test_needs
	@$(BIN)/python -m pytest $(ARGS)

test-quick: $(STAMP) ## run the tests that need nothing installed besides Python packages
	@$(BIN)/python -m pytest tests/wire tests/agent tests/collector -q $(ARGS)

check: $(STAMP) ## lint, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(STAMP) ## put the code in its usual form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench-ndt7: $(STAMP) ## speed of our ndt7 client against our server on loopback
	@$(BIN)/python -m benchmarks.ndt7 $(ARGS)

bench-ingest: $(STAMP) ## records a second that one collector makes durable; ARGS="--database postgresql" or both
	@$(BIN)/python -m benchmarks.ingest $(ARGS)

bench-simulate: $(STAMP) ## records a second that the simulation can generate
	@$(BIN)/python -m benchmarks.simulate $(ARGS)

bench-agent: $(STAMP) ## what an agent costs its box, each number beside its mark (root; an hour and a half, --only picks parts)
	@$(BIN)/python -m benchmarks.agent $(ARGS)

bench-accuracy: $(STAMP) ## error and cost of four ways of measuring, on every line (root; about an hour)
	@$(BIN)/python -m tools.test_needs
	@$(INSTALL) -c constraints.txt --group charts
	@$(BIN)/python -m benchmarks.accuracy $(ARGS)

bench-check: $(STAMP) ## how often the floor check is right, and at what cost (needs root; an hour and a half, --only picks lines)
	@$(BIN)/python -m tools.test_needs
	@$(BIN)/python -m benchmarks.check $(ARGS)

bench-faults: $(STAMP) ## every fault of the matrix ten times: is the verdict right within 90 s? (needs root; fifty minutes)
	@$(BIN)/python -m tools.test_needs
	@$(BIN)/python -m benchmarks.faults $(ARGS)

bench-survival: $(STAMP) ## kill an agent two hundred times: nothing kept is lost or doubled (twenty minutes)
	@$(BIN)/python -m benchmarks.survival $(ARGS)

bench-outage: $(STAMP) ## thirty days without a line, then how soon the present arrives and how long the history takes
	@$(BIN)/python -m benchmarks.outage $(ARGS)

bench-import: $(STAMP) ## a hundred thousand schools from a file
	@$(BIN)/python -m benchmarks.school_import $(ARGS)

bench-short: $(STAMP) ## a short form of each benchmark, so that none of them rots
	@$(BIN)/python -m tools.test_needs
	@$(BIN)/python -m benchmarks.ndt7 --short
	@$(BIN)/python -m benchmarks.ingest --short --database both
	@$(BIN)/python -m benchmarks.simulate --short
	@$(BIN)/python -m benchmarks.agent --short
	@$(BIN)/python -m benchmarks.accuracy --short
	@$(BIN)/python -m benchmarks.check --short
	@$(BIN)/python -m benchmarks.faults --short
	@$(BIN)/python -m benchmarks.survival --short
	@$(BIN)/python -m benchmarks.outage --short
	@$(BIN)/python -m benchmarks.school_import --short

catalogues: $(STAMP) ## bring the agent's messages into the catalogues of all languages, and compile them
	@$(BIN)/python -m tools.catalogues

constraints: $(STAMP) ## write down the versions now installed
	@$(BIN)/python -m pip freeze --exclude-editable --disable-pip-version-check | grep -v '^-e\|@' > constraints.txt

clean: ## remove the environment and everything under var/
	rm -rf $(VENV) var tests/browser/node_modules .mypy_cache .pytest_cache .ruff_cache

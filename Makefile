# The two lines that matter: `make compare` and `make test`. Both install what they need.
PYTHON ?= python3
BIN = .venv/bin
PACKAGES = minigrad lightning_module keras_model compare

.PHONY: install compare test test-slow test-all lint format docs results bench FORCE

install: .venv/installed

# Anew only when what is to be installed has changed; the code itself is installed in place.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, found " + sys.version.split()[0])'
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --editable '.[all,dev]'
	touch $@

compare: install
	$(BIN)/python -m compare --allow_noisy

# torch and TensorFlow must never share a process, so each package's tests run in one of their own, and Keras's in one
# for each backend; two at a time, the longest first.
TESTS = compare lightning_module keras_model:tensorflow project keras_model:torch minigrad keras_model:jax
test test-slow test-all: install
	@printf '%s\n' $(TESTS) | xargs -P 2 -I {} sh -c 'tests={}; log=.venv/tests-$$tests.log; export OMP_NUM_THREADS=1; \
		case $$tests in *:*) export KERAS_BACKEND=$${tests#*:};; esac; \
		$(BIN)/python -m pytest $(MARKS) tests/$${tests%:*} > $$log 2>&1; status=$$?; echo "== tests/$$tests"; cat $$log; \
		[ $$status = 5 ] || exit $$status'  # 5: the folder has no such tests

test: MARKS = -m "not slow"
test-slow: MARKS = -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(PACKAGES) benchmarks examples

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The documentation as a searchable site in site/, built without network access.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

# The engine, the Trainer and Keras against their peers: ratios, side by side in one run.
bench: install
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --editable '.[bench]'
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.lightning
	$(BIN)/python -m benchmarks.keras --settings
	$(BIN)/python -m benchmarks.exports
	$(BIN)/python -m benchmarks.tables

# Measure the results of README and docs again. Nothing else should run on the machine.
SIX = --contenders minigrad by_hand torch lightning keras jax
ALL = --divisions '[default, open]'
simple = $(SIX) $(ALL) --seeds 3 --widths '[10,32,100,320,1000,3200]' --batch_sizes '[128,32,512]'
advanced = $(SIX) $(ALL) --seeds 3 --sweep none
cnn = --seeds 3 --sweep none
results: $(addprefix benchmarks/results/,simple.json advanced.json cnn.json)
	$(BIN)/python -m benchmarks.tables

benchmarks/results/%.json: FORCE | install
	$(BIN)/python -m compare --config $* $($*) --out runs/results-$* --overwrite
	cp runs/results-$*/results.json $@
	cp runs/results-$*/comparison.png benchmarks/results/$*.png
	if [ -e runs/results-$*/crossover.png ]; then cp runs/results-$*/crossover.png benchmarks/results/$*-crossover.png; fi

FORCE:

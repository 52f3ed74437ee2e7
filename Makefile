# The front door: `make image` and `make test`. Works as root or through sudo, as often as you like.
PIIMAGE := .venv/bin/piimage
# Unit tests keep a processor busy, and so does an emulator: one worker for each processor.
WORKERS ?= $(shell nproc)
MACHINES ?= $(WORKERS)

# Two a processor for the tests of programs, which wait for what they started.
WAITING ?= $(shell expr 2 \* $$(nproc))

# Each worker imports every test: compiled code is kept even where the environment forbids it.
COMPILED := PYTHONDONTWRITEBYTECODE=

.PHONY: setup image test check style types unit programs system mutants format docs references docs-drivers site picture clean

setup: .venv/installed

.venv/installed: pyproject.toml scripts/setup-host.sh
	scripts/setup-host.sh
	test -x .venv/bin/python || python3 -P -m venv .venv
	.venv/bin/python -P -m pip install -q --upgrade 'pip>=25.1'
	.venv/bin/python -P -m pip install -q --editable . --group dev
	touch $@

image: setup
	$(PIIMAGE) build examples/pi4.yml -o out
	@echo
	@echo "Next: boot it here    $(PIIMAGE) run out/pi4.img"
	@echo "      see your cards  $(PIIMAGE) devices"
	@echo "      write a card    $(PIIMAGE) flash /dev/sdX examples/pi4.yml"

# Side by side, because mypy uses one processor.
check: setup
	@$(MAKE) --no-print-directory -j 3 style types unit

style: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check -q .

types: setup
	.venv/bin/mypy

unit: setup
	$(COMPILED) .venv/bin/pytest tests/unit libraries -m 'not slow' -n $(WORKERS) --dist worksteal $(EXAMPLES)

# Tests of what runs as a process of its own (the Pi's scripts, its agent, ssh, tools for disks),
# and the unit tests that take long.
programs: setup
	$(COMPILED) .venv/bin/pytest tests/programs tests/unit libraries -m slow -n $(WAITING) --dist worksteal $(EXAMPLES)

# As many emulators as processors: one thread each (docs/emulator.md).
system: export PIIMAGE_ACCELERATOR ?= tcg,thread=single
system: setup
	$(COMPILED) .venv/bin/pytest tests/system -n $(MACHINES) --dist loadfile --no-loadscope-reorder \
	  --durations 20 $(EXAMPLES)

# All examples of property tests; a quarter of them in `make check` alone.
test: export EXAMPLES = --hypothesis-profile=full
test: check programs
	@$(MAKE) --no-print-directory system

# Small changes to the code that the tests ought to notice (docs/mutants.md); not part of check.
# make mutants ROOMS="store trees" SAMPLE=40 SEED=1 JOBS=1
ROOMS ?=
SAMPLE ?= 40
SEED ?= 1
JOBS ?= 1
mutants: setup
	.venv/bin/python -P -m pip install -q --group mutants
	PYTHONPATH=. .venv/bin/python -P -m tests.mutants --sample $(SAMPLE) --seed $(SEED) --jobs $(JOBS) $(ROOMS)

format: setup
	.venv/bin/ruff check --fix -q .
	.venv/bin/ruff format -q .

# The pages that are generated from the code, and the site. Tests fail if a page was forgotten.
docs: references site

references: setup
	$(PIIMAGE) schema > docs/reference/piimage.schema.json
	$(PIIMAGE) schema --markdown > docs/reference/yaml.md
	.venv/bin/python -P -m piimage.cli.reference > docs/reference/cli.md
	.venv/bin/python -P -m piimage.cli.manual docs/man
	.venv/bin/python -P -m piimage.cli.firmware_reference > docs/reference/firmware.md
	.venv/bin/python -P -m piimage.cli.service_reference > docs/reference/services.md
	.venv/bin/python -P -m piimage.cli.folder_reference > docs/reference/service-yml.md
	.venv/bin/python -P scripts/error_messages.py > docs/errors/messages.md
	.venv/bin/python -P scripts/draw_diagrams.py docs/images

# Also generated, from Debian's kernels of today, which are fetched.
docs-drivers: setup
	.venv/bin/python -P -m piimage.cli.driver_reference > docs/reference/drivers.md

# The documentation as a site: open out/site/index.html. -E: lists change with pages that they name.
site: setup
	.venv/bin/python -P -m pip install -q --group site
	.venv/bin/sphinx-build -q -E -W --keep-going -n -b html -c docs . out/site

# The README's picture: records a build and a boot, which takes a minute or two.
picture: setup
	.venv/bin/python -P scripts/record_terminal.py docs/images/terminal.svg

clean:
	rm -rf out .mypy_cache .ruff_cache .pytest_cache .hypothesis

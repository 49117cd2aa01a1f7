# `make` lists the targets. Everything is made inside the checkout; nothing is written outside it but pip's cache.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(firstword $(foreach name,python3.11 python3 python,$(shell command -v $(name) 2>/dev/null)))
INTERFACES := $(wildcard av_td3_msgs/* av_td3_msgs/*/* carla_msgs/* carla_msgs/*/*)
RUN_OPTIONS = $(if $(MAP),--map $(MAP)) $(if $(STEPS),--steps $(STEPS)) $(ARGS)

# A sourced ROS installation and this one must not mix.
unexport AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH PYTHONPATH PYTHONHOME ROS_DISTRO LD_LIBRARY_PATH
export ROS_LOG_DIR := $(CURDIR)/$(VENV)/log/ros
export AV_TD3_CACHE := $(CURDIR)/$(VENV)/cache/maps
export MPLCONFIGDIR := $(CURDIR)/$(VENV)/cache/matplotlib
export COLCON_HOME := $(CURDIR)/$(VENV)/colcon
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup train evaluate test test-unit fuzz chaos test-learning bench study doctor lint sim viewer tables town pictures clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(VENV)/.package  ## make .venv: ROS 2, CARLA's map library, torch, our messages

train: setup  ## train over the ROS 2 graph; MAP=file.xodr STEPS=n ARGS='...'
	@$(BIN)/av-td3 train $(RUN_OPTIONS)

evaluate: setup  ## drive a policy; RUN=runs/<run>
	@$(BIN)/av-td3 evaluate $(RUN) $(if $(MAP),--map $(MAP)) $(ARGS)

sim: setup  ## drive the embedded simulator by keyboard; ARGS='--expert'
	@$(BIN)/av-td3 sim $(if $(MAP),--map $(MAP)) $(ARGS)

# Graphs want the machine for themselves; the core's tests share it.
test: setup  ## every test but the learning ones; ARGS='test/unit/test_route.py -k smooth' for some
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else
	@$(BIN)/python -m pytest test/system test/chaos && $(BIN)/python -m pytest test/fuzz test/node -n 2 --dist loadfile \
	  && $(BIN)/python -m pytest test/unit -n 2
endif

test-unit: setup  ## the tests of the core, which need no ROS
	@$(BIN)/python -m pytest test/unit $(ARGS)

fuzz: setup  ## throw messages at every node; MESSAGES=100000 ARGS='--node policy --out folder'
	@PYTHONPATH=test $(BIN)/python test/fuzz/fuzz_campaign.py --messages $(or $(MESSAGES),100000) $(ARGS)

chaos: setup  ## harm a graph that trains; TIMES=100 of every fault, ARGS='--fault "kill policy" --out folder'
	@PYTHONPATH=test $(BIN)/python test/chaos/chaos_campaign.py --times $(or $(TIMES),100) $(ARGS)

test-learning: setup  ## three seeds, minutes each: does the return rise?
	@$(BIN)/python -m pytest test/learning -m learning $(ARGS)

bench: setup  ## speed on this machine; WHAT=graph, deploy, swap, learner, replay, sim or soak (an hour)
	@$(BIN)/av-td3 bench $(or $(WHAT),graph) $(ARGS)

study: setup  ## hours: WHAT=failures (default) or peer; SEEDS=n STEPS=n MINUTES=n ARGS='...'
	@$(BIN)/av-td3 study $(or $(WHAT),failures) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(MINUTES),--minutes $(MINUTES)) \
	  $(RUN_OPTIONS)

doctor: setup  ## what is installed, what is missing
	@$(BIN)/av-td3 doctor

lint: setup  ## flake8
	@$(BIN)/python -m flake8 src test tools launch setup.py

viewer: setup  ## fetch Rerun (large) for `av-td3 view`
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt rerun-sdk

tables: setup  ## write config/*.param.yaml and the tables of the docs from the code
	@$(BIN)/python tools/write_tables.py

town: setup  ## write the shipped map again
	@$(BIN)/python tools/make_town.py

pictures: setup  ## render docs/images; MAP=Town01.xodr
	@$(BIN)/python tools/make_pictures.py $(MAP)

clean:  ## remove .venv and caches; runs/ stays
	rm -rf $(VENV) build install log .pytest_cache .hypothesis

# A virtual environment names its own folder: one that was moved or copied here would run the code it came from.
ifneq ($(shell cat $(VENV)/.python 2>/dev/null),$(CURDIR))
.PHONY: $(VENV)/.python
endif

$(VENV)/.python: | tools/check_prerequisites.sh
	@sh tools/check_prerequisites.sh "$(PYTHON)"
	@echo 'setup 1/4: virtual environment'
	@"$(PYTHON)" -m venv $(if $(wildcard $(VENV)/.python),--clear) $(VENV)
	@echo '$(CURDIR)' >$@

$(VENV)/.requirements: requirements.txt constraints.txt $(VENV)/.python
	@echo 'setup 2/4: packages (about a minute)'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.txt -c constraints.txt
	@touch $@

$(VENV)/.messages: $(INTERFACES) tools/build_messages.py $(VENV)/.requirements
	@echo 'setup 3/4: messages (about a minute)'
	@$(BIN)/python tools/build_messages.py $(VENV)
	@touch $@

$(VENV)/.package: setup.py setup.cfg $(VENV)/.messages
	@echo 'setup 4/4: av_td3_ros'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --use-pep517 --no-deps --no-build-isolation -e .
	@touch $@

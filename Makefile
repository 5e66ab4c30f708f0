# Bootstrap only: makes .venv, then hands over to invoke and pytest.
.PHONY: demo test dev clean

demo: .venv/.made
	.venv/bin/invoke demo

test: .venv/.made
	.venv/bin/python -m pytest tests/fast -n auto --dist worksteal

dev: .venv/.made
	.venv/bin/invoke dev

.venv/.made: requirements.lock pyproject.toml ci/venv.sh
	ci/venv.sh

clean:
	rm -rf .venv .nox

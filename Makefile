.PHONY: app test check format
app: ; python3 start.py
test: ; python3 start.py test
check: ; python3 start.py check
format: ; .venv/bin/ruff check --fix . && .venv/bin/ruff format .

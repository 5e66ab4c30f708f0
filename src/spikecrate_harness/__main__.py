"""`python -I CODE`, where CODE holds this file, the harness and the sorter's run.py."""

if __name__ == "__main__":  # sorters start worker processes, which import this file again
    from spikecrate_harness.main import main

    raise SystemExit(main())

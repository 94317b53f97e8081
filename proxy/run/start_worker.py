"""The program of a worker process, `python -m proxy.run.start_worker FD`: `worker`, quickly imported."""

from proxy.run.imports import importing

if __name__ == "__main__":
    with importing():
        from proxy.run.worker import main

    main()

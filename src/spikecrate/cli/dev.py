"""Tasks on the development container."""

from __future__ import annotations

from invoke.context import Context  # noqa: TC002
from invoke.exceptions import Exit
from invoke.tasks import task

from spikecrate.cli.main import reported


@task(
    name="open",
    help={
        "cmd": "run this instead of opening a shell; its exit code is this task's",
        "rebuild": "build the image and make the container anew; caches stay",
        "fresh": "the same, and remove the caches; asks first",
        "dry-run": "print the commands",
        "x11": "open windows on this display",
        "docker": "reach the Docker daemon from inside, which is as much as being root on this machine",
        "gpu": "auto, on or off",
        "port": "reach a port of the container on 127.0.0.1; may be given many times",
        "mount": "a folder of data, DIR or DIR:rw, at the same path; may be given many times",
    },
    iterable=["port", "mount"],
    auto_shortflags=False,
    default=True,
)
@reported
def dev_open(
    context: Context,  # noqa: ARG001
    cmd: str = "",
    rebuild: bool = False,
    fresh: bool = False,
    dry_run: bool = False,
    x11: bool = True,
    docker: bool = True,
    gpu: str = "auto",
    port: list[str] | None = None,
    mount: list[str] | None = None,
) -> None:
    """Open a shell in the development container; makes it, starts it or enters it."""
    from spikecrate.cli import report_dev as report
    from spikecrate.cli import request_dev as request

    if request.is_inside():
        return request.run_here(cmd) if cmd else report.already_inside()
    asked = request.read(
        cmd=cmd, rebuild=rebuild or fresh, mount=mount or [], port=port or [], gpu=gpu, x11=x11, docker=docker
    )
    if dry_run:
        return report.commands(request.forecast(asked))
    if fresh:
        request.drop_caches()
    raise Exit(code=request.enter(asked))


@task(name="status", help={"json": "print one JSON object"}, auto_shortflags=False)
@reported
def dev_status(context: Context, json: bool = False) -> None:  # noqa: ARG001
    """Describe the development container: state, image, mounts, ports, stale or not."""
    from spikecrate.cli import request_dev as request
    from spikecrate.cli.text import fields

    fields(request.status(), to_json=json)


@task(
    name="stop",
    help={"remove": "remove it, too; caches stay", "json": "print one JSON object"},
    auto_shortflags=False,
)
@reported
def dev_stop(context: Context, remove: bool = False, json: bool = False) -> None:  # noqa: ARG001
    """Stop the development container; the next `invoke dev` starts it again."""
    from spikecrate.cli import request_dev as request
    from spikecrate.cli.text import fields

    fields(request.stop(remove=remove), to_json=json)

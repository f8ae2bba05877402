"""``payplat operators``: who may look into the console, and who may act there."""

from typing import Annotated

import typer

from payplat import operators
from payplat.operators import Role
from payplat.terminal import (
    AsJson,
    ConfigFile,
    configured,
    operator,
    out,
    print_rows,
    run,
    with_database,
)

operators_cli = typer.Typer(
    name="operators", help="People who may open the console.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(help="Whose account.")]
RoleOption = Annotated[Role, typer.Option(help="A viewer looks, an operator acts too.")]


@operators_cli.command("list")
def operators_list(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List all operators, those who have ended too."""
    settings, _ = configured(config)
    rows = run(with_database(settings, operators.list_operators))
    print_rows(rows, ("name", "role", "has_totp", "created_at", "ended_at"), as_json=as_json)


@operators_cli.command("create")
def operators_create(name: Name, role: RoleOption = Role.VIEWER, config: ConfigFile = None) -> None:
    """Make an account and print its first password: it is shown once."""
    settings, _ = configured(config)
    password = run(with_database(settings, lambda d: operators.create(d, name, role, operator())))
    out.print(password, highlight=False, soft_wrap=True)


@operators_cli.command("reset")
def operators_reset(name: Name, config: ConfigFile = None) -> None:
    """Print a new password, take the second factor away, and end all sessions."""
    settings, _ = configured(config)
    password = run(with_database(settings, lambda d: operators.reset_password(d, name, operator())))
    out.print(password, highlight=False, soft_wrap=True)


@operators_cli.command("role")
def operators_role(
    name: Name,
    role: Annotated[Role, typer.Argument(help="A viewer looks, an operator acts too.")],
    config: ConfigFile = None,
) -> None:
    """Give an account another role, and end its sessions."""
    settings, _ = configured(config)
    run(with_database(settings, lambda d: operators.set_role(d, name, role, operator())))
    out.print(f"{name} is a {role} now", highlight=False)


@operators_cli.command("end")
def operators_end(name: Name, config: ConfigFile = None) -> None:
    """Let somebody in no more."""
    settings, _ = configured(config)
    run(with_database(settings, lambda d: operators.end(d, name, operator())))
    out.print(f"{name} has ended", highlight=False)

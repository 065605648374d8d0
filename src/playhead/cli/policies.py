"""`playhead policy`: the rules of this environment. A server may have been started with others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from playhead.cli.options import Json, not_empty

if TYPE_CHECKING:
    from playhead.engine.orchestration.rules.rule import Rule

app = typer.Typer(no_args_is_help=True)

RULE_COLUMNS = ("list", "rule", "version", "parameters", "from")
POLICY_COLUMNS = ("policy", "is", "of package", "")


@app.command("show")
def show(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(callback=not_empty, help="An installed policy, or module:attribute. Default: PLAYHEAD_POLICY."),
    ] = None,
    json: Json = False,
) -> None:
    """Show a policy: its id, which every decision by it has, and its rules in the order in which they are asked.

    The last column names the module of each rule that is not Playhead's own.

    Example: playhead policy show core
    """
    from playhead.cli.output import print_fields, print_json, print_table
    from playhead.engine.orchestration.installed import chosen_policy, policy_name

    name = name or policy_name()
    policy = chosen_policy(name)
    lists = {title: [_rule_document(rule) for rule in rules] for title, rules in policy.lists().items()}
    if json or ctx.obj.json:
        print_json({"name": name, "id": policy.id, "lists": lists})
        return
    print_fields([("policy", name), ("id", policy.id)])
    rows = [(title, document) for title, documents in lists.items() for document in documents]
    print_table(RULE_COLUMNS, [_rule_row(title, document) for title, document in rows])


@app.command("list")
def list_(ctx: typer.Context, json: Json = False) -> None:
    """List the policies that are installed, by the names that PLAYHEAD_POLICY and `server start --policy` take.

    Example: playhead policy list
    """
    from playhead.cli.output import print_json, print_table
    from playhead.engine.orchestration.installed import installed_policies, policy_name

    chosen = policy_name()
    policies = installed_policies()
    if json or ctx.obj.json:
        print_json(
            [
                {"name": policy.name, "value": policy.value, "package": policy.package, "chosen": policy.name == chosen}
                for policy in policies
            ]
        )
        return
    rows = [(p.name, p.value, p.package, "chosen" if p.name == chosen else "") for p in policies]
    print_table(POLICY_COLUMNS, rows)


def _rule_document(rule: Rule) -> dict[str, Any]:
    from playhead.engine.orchestration.guard import is_own

    return {
        "rule": rule.name,
        "version": rule.version,
        "parameters": {name: repr(value) for name, value in sorted(vars(rule).items())},
        "module": type(rule).__module__,
        "guarded": not is_own(rule),
    }


def _rule_row(title: str, rule: dict[str, Any]) -> list[str]:
    parameters = ", ".join(f"{name}={value}" for name, value in rule["parameters"].items())
    return [title, rule["rule"], str(rule["version"]), parameters, rule["module"] if rule["guarded"] else ""]

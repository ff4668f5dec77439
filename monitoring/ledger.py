"""Dashboard of the ledger: the commands that move money, and the gate."""

from monitoring.parts import INSTANCE, INSTANCE_VARIABLES, Dashboard, Panel, Row, quantile, rate, share

MONEY_COMMANDS = "ledger_money_commands_total"

MONEY = Dashboard(
    uid="ledger-money",
    title="Ledger: money",
    description="Outcomes of money commands, and the gate in front of busy accounts.",
    variables=INSTANCE_VARIABLES,
    rows=[
        Row(
            "Money",
            [
                Panel("Commands by kind", {"{{kind}}": rate(MONEY_COMMANDS, INSTANCE, "kind")}, "ops", stacked=True),
                Panel(
                    "Commands by outcome",
                    {"{{outcome}}": rate(MONEY_COMMANDS, INSTANCE, "outcome")},
                    "ops",
                    description="posted, declined: recorded; refused: a 4xx without a record; busy: a 409; failed: a 5xx.",
                    stacked=True,
                ),
                Panel(
                    "Declined share",
                    {
                        "{{kind}}": share(
                            rate(MONEY_COMMANDS, f'{INSTANCE}, outcome="declined"', "kind"),
                            rate(MONEY_COMMANDS, INSTANCE, "kind"),
                        )
                    },
                    "percentunit",
                    description="A sudden rise means that customers are refused for a reason they may not understand.",
                ),
                Panel(
                    "Gate outcomes",
                    {"{{outcome}}": rate("ledger_gate_wait_seconds_count", INSTANCE, "outcome")},
                    "ops",
                    description="Only with LEDGER_GATE. Bypassed means that Redis did not answer, so the gate was not used.",
                    width=6,
                ),
                Panel(
                    "Wait at the gate (p95)",
                    {"{{outcome}}": quantile(0.95, "ledger_gate_wait_seconds", INSTANCE, "outcome")},
                    "s",
                    width=6,
                    may_be_empty=True,
                ),
            ],
        ),
    ],
)

DASHBOARDS = (MONEY,)

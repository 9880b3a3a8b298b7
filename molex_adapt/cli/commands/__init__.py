"""The commands, by theme. They neither print nor catch: `molex_adapt.cli.output` and `.errors` do."""

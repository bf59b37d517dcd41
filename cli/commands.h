/* The subcommands. Each takes its own arguments (argv[0] is its name) and returns the exit code: 0 done, 1
 * what the command's help says, 2 usage or configuration, 3 outside failure. */
#pragma once

enum exit_code { EXIT_DONE = 0, EXIT_FOUND = 1, EXIT_USAGE = 2, EXIT_OUTSIDE = 3 };

typedef int cli_command(int argc, char **argv);

cli_command cli_run, cli_replay, cli_check, cli_options, cli_setup, cli_eval, cli_detect, cli_dead_letters,
    cli_state, cli_bench, cli_report, cli_record, cli_notify, cli_documents, cli_init, cli_top, cli_tap,
    cli_tune, cli_diff, cli_explain, cli_templates;

/* weir: the subcommands in one visible list. */
#include "cli/commands.h"
#include "detectors/detector.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static const struct {
    const char *name;
    cli_command *run;
    const char *usage, *help;
} commands[] = {
    // clang-format off
    {"init", cli_init, "--brokers HOST:PORT --topic NAME [--group NAME] [--librdkafka key=value]... | --input FILE  [--out FILE.yaml]", "look at some messages, guess their format, write a configuration that runs"},
    {"run", cli_run, "FILE.yaml [--once] [--set path.key=value]...", "read the sources live; --once stops at the end of input"},
    {"replay", cli_replay, "FILE.yaml [--input [SOURCE=]F]... [--alerts|--buckets|--signals|--runs OUT.jsonl]", "recorded input in event time; writes only the files named (\"-\" is stdout)"},
    {"top", cli_top, "[URL | FILE.yaml]", "the figures of a running weir, a screen a second; q quits"},
    {"tap", cli_tap, "[URL | FILE.yaml] [--stage decode|time|clean] [--where CEL] [--limit N]", "rows of a running weir as they pass a stage, as JSON lines"},
    {"detect", cli_detect, "[--detector NAME] [--set key=value] [--column NAME] F.csv", "score a series of a CSV file"},
    {"templates", cli_templates, "[--values] [--state FILE] F.log", "the template of each line of a log (text, or CSV with line_id,content)"},
    {"eval", cli_eval, "EXPR [--bind name=JSON]...", "evaluate a CEL expression; without EXPR: JSON lines on stdin"},
    {"record", cli_record, "FILE.yaml --out FOLDER [--for 10m]", "raw messages of the sources into files that replay and report take as --input; commits nothing"},
    {"report", cli_report, "FILE.yaml [--input [SOURCE=]F]... [--from T] [--to T] [--by workflow|task] [--format text|csv|html] [--out F]", "counts, rates, durations, waits and availability by workflow and task, of a recording or of the store"},
    {"tune", cli_tune, "FILE.yaml [--detector NAME | --measure NAME [--type T] [--statistic S]] [--input [SOURCE=]F]... | --buckets F.jsonl [--labels L.jsonl] [--alerts-per-day N] [--out F.yaml] [--report F.html]", "better parameters for a detector, by trials over a history; docs/tuning.md"},
    {"diff", cli_diff, "A.yaml B.yaml [--input [SOURCE=]F]... [--within 10m]", "alerts that B would have gained, lost or moved beside A over the same input; ends with 1 if there are any"},
    {"explain", cli_explain, "ID [URL | FILE.yaml] [--alerts F.jsonl [--buckets F.jsonl]]", "why an alert fired, in words and numbers; of a running weir, or of files"},
    {"check", cli_check, "FILE.yaml [--connect]", "validate a configuration file; --connect asks what it names outside, sends nothing, and ends with 3 if something is wrong"},
    {"options", cli_options, "", "every configuration key: type, default, range, meaning (Markdown)"},
    {"documents", cli_documents, "", "every kind of document and its fields: type, meaning (Markdown)"},
    {"notify", cli_notify, "FILE.yaml --receiver NAME --test", "send one test message to a receiver and say what became of it"},
    {"setup", cli_setup, "elasticsearch FILE.yaml", "install index templates in the file's search servers"},
    {"dead-letters", cli_dead_letters, "list|show|delete ...", "what could not be processed, with reason and coordinates"},
    {"state", cli_state, "show|verify|export|import|reset ...", "what the store of a pipeline holds; taking it elsewhere; forgetting what was learned"},
    {"bench", cli_bench, "[CASE|all|compare|report|generate ...]", "what this machine makes of generated events, as JSON; without arguments the list of cases"},
    // clang-format on
};

static int usage(FILE *out)
{
    fprintf(out, "weir: anomaly detection over workflow events\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(out, "  weir %s %s\n      %s\n", commands[i].name, commands[i].usage, commands[i].help);
    return EXIT_USAGE;
}

/* A pattern may match more files than the usual 1024, all open while they grow. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return usage(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return EXIT_DONE;
    }
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    detectors_init();
    curl_global_init(CURL_GLOBAL_DEFAULT);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "weir: unknown command '%s'\n\n", argv[1]);
    return usage(stderr);
}

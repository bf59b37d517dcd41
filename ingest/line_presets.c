/* What well-known programs write, one row each. Looked through at load only. Patterns are possessive or
 * bounded where they can be, so that a line that does not match is found out in one pass. */
#include "ingest/line.h"

#define ISO_DAY  "\\d{4}-\\d\\d-\\d\\d"
#define CLOCK    "\\d\\d:\\d\\d:\\d\\d"
#define ISO_TIME ISO_DAY "[T ]" CLOCK "(?:[.,]\\d{1,9})?(?:Z|[+-]\\d\\d:?\\d\\d)?"
#define UUID     "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
#define REST     "(?<message>.*+)"

/* Airflow 3 writes what belongs to a task instance as key=value behind the message, in any order. */
#define KEY(name, key, value) "(?=(?:.*? " key "=(?<" name ">" value ")(?= |$))?)"

// clang-format off
const struct line_preset line_presets[] = {
    {.name = "airflow_text",
     .help = "Airflow 2: tasks, scheduler, workers: [time] {file:line} LEVEL - message",
     .begins = "\\[" ISO_DAY "[T ]" CLOCK,
     .pattern = "\\[(?:(?<time>" ISO_TIME ")\\] \\{(?<logger>[^}:]*+):(?<line>\\d++)\\} (?<level>[A-Z]++) - |"
                "(?<time>" ISO_DAY " " CLOCK " [+-]\\d{4})\\] \\[(?<pid>\\d++)\\] \\[(?<level>[A-Z]++)\\] )" REST,
     .layouts = {"%Y-%m-%d %H:%M:%S %z"}, /* of Gunicorn, which serves the logs */
     .engine = "airflow"},
    {.name = "airflow3_text",
     .help = "Airflow 3: console of scheduler, DAG processor and others: time [level] message [logger] key=value",
     .begins = ISO_DAY "[T ]" CLOCK ".{0,16} \\[",
     .pattern = "(?<time>" ISO_TIME ") \\[(?<level>\\w++) *+\\] "
                KEY("workflow", "dag_id", "[^ ,]++") KEY("task", "task_id", "[^ ,]++") KEY("run_name", "run_id", "[^ ,]++")
                KEY("attempt", "try_number", "\\d++") KEY("map_index", "map_index", "-?\\d++")
                "(?:(?<message>.*?) *+\\[(?<logger>[\\w.]++)\\](?: \\w++=.*+)?$|" REST ")",
     .engine = "airflow"},
    {.name = "celery_text",
     .help = "Celery workers: [time: LEVEL/process] message; the task's name and id where the message tells them",
     .begins = "\\[" ISO_DAY " " CLOCK,
     .pattern = "\\[(?<time>" ISO_TIME "): (?<level>[A-Z]++)/(?<process>[^\\]]++)\\] "
                "(?<message>(?:Task )?+(?:(?<workflow>[\\w.:-]++)\\[(?<run>" UUID ")\\])?+.*+)",
     .engine = "celery"},
    {.name = "syslog",
     .help = "syslog, RFC 5424 and RFC 3164, with or without the priority in front",
     .pattern = "(?:<(?<priority>\\d{1,3})>)?+(?:"
                "1 (?:(?<time>" ISO_TIME ")|-) (?:-|(?<host>\\S++)) (?:-|(?<logger>\\S++)) (?:-|(?<pid>\\S++))"
                " (?:-|(?<action>\\S++)) (?:-|(?:\\[[^ \\]]++(?: [^=\\s]++=\"(?:[^\"\\\\]|\\\\.)*+\")*+\\])++)"
                "(?: (?:\\xef\\xbb\\xbf)?(?<message>.*+))?$|"
                "(?<time>[A-Z][a-z]{2} [ \\d]\\d " CLOCK "(?:\\.\\d{1,9})?|" ISO_TIME ") (?<host>\\S++) "
                "(?: *+(?<logger>[^\\[\\]:\\s][^\\[\\]:]{0,47}+)(?:\\[(?<pid>[^\\]]*+)\\])?+: ?+)?+" REST ")"},
    {.name = "log4j",
     .help = "log4j and logback as HDFS, Hadoop, Spark, ZooKeeper and Kafka set them up",
     .begins = "\\[?(?:" ISO_DAY " " CLOCK "|\\d\\d/\\d\\d/\\d\\d " CLOCK "|\\d{6} \\d{6} )",
     .pattern = "(?:(?<time>" ISO_TIME "|\\d\\d/\\d\\d/\\d\\d " CLOCK ") (?:- )?+(?: *+(?<level>[A-Z]++) ++(?:"
                "\\[(?<thread>.*):(?<logger>[\\w.$]++)@(?<line>\\d++)\\] - |"
                "\\[(?<thread>(?:[^\\[\\]]|\\[[^\\]]*+\\])*+)\\] (?<logger>[\\w.$-]++) ?(?:: |- )|"
                "(?<pid>\\d++) --- \\[ *+(?<thread>[^\\]]*?) *+\\] (?<logger>[\\w.$/\\[\\]-]++) *+: |"
                "(?<logger>[\\w.$-]++): |)|"
                "\\[(?<thread>[^\\]]*+)\\] (?<level>[A-Z]++) ++(?<logger>[\\w.$-]++) - )" REST "|"
                "(?<time>\\d{6} \\d{6}) (?<thread>\\d++) (?<level>[A-Z]++) (?<logger>[\\w.$-]++): " REST "|"
                "\\[(?<time>" ISO_TIME ")\\] (?<level>[A-Z]++) (?<message>.*?)(?: \\((?<logger>[\\w.$-]++)\\))?$)",
     .layouts = {"%y/%m/%d %H:%M:%S", "%y%m%d %H%M%S"}},
    {.name = "apache_error",
     .help = "error log of the Apache HTTP server, 2.2 and 2.4",
     .pattern = "\\[(?<time>[A-Z][a-z]{2} [A-Z][a-z]{2} [ \\d]\\d " CLOCK "(?:\\.\\d{1,9})? \\d{4})\\] "
                "\\[(?:(?<logger>\\w++)?+:)?+(?<level>\\w++)\\] (?:\\[pid (?<pid>\\d++)(?::tid (?<tid>\\d++))?+\\] )?+"
                "(?:\\[client (?<client>[^\\]]++)\\] )?+" REST,
     .layouts = {"%a %b %d %H:%M:%S %Y"}},
    {.name = "combined",
     .help = "access log of nginx and Apache, common and combined; value is the bytes sent",
     .pattern = "(?<client>\\S++) \\S++ (?:-|(?<user>\\S++)) "
                "\\[(?<time>\\d\\d/[A-Z][a-z]{2}/\\d{4}:" CLOCK " [+-]\\d{4})\\] "
                "\"(?<message>(?:(?<method>[A-Z]++) (?=[^\"]))?+(?:[^\"\\\\]|\\\\.)*+)\" (?<status>\\d{3}) (?:(?<value>\\d++)|-)"
                "(?: \"(?:[^\"\\\\]|\\\\.)*+\" \"(?<agent>(?:[^\"\\\\]|\\\\.)*+)\".*+)?$",
     .layouts = {"%d/%b/%Y:%H:%M:%S %z"}, .metric = "response_bytes", .unit = "bytes"},
    {.name = "openstack",
     .help = "OpenStack services, with or without the file's name in front",
     .pattern = "(?:[^ ]*?\\.log[^ ]*+ )?+(?<time>" ISO_TIME ") (?<pid>\\d++) (?<level>[A-Z]++) (?<logger>[\\w.-]++) "
                "(?:\\[(?:-|(?:(?<trace>req-[\\w-]++)[^\\]]*+))\\] )?+" REST},
    {.name = NULL},
};
// clang-format on

/* GitHub webhooks, without the header that names their type: it is told by the object at the top level.
 * Source: docs.github.com, webhook events and payloads; octokit/webhooks payload schemas and examples. Runs
 * once a payload.
 * workflow_run is a run, workflow_job a task of it. A check suite is a run of the app that made it and its
 * check runs are the tasks; GitHub Actions makes these too, so one source should get jobs or checks, not
 * both. A commit status is a run of its context, named by the commit. The state comes from status and
 * conclusion of the object: deliveries are repeated and reordered, and the action does not tell more.
 * Payloads of other types carry no time of their own and take that of the arrival. */
#include "ingest/json.h"

// clang-format off
enum target {
    ACTION, REPOSITORY, SENDER, RUN_OBJECT, JOB_OBJECT, CHECK_OBJECT, SUITE_OBJECT, DEPLOYED_OBJECT, SHA,
    RUN_ID, RUN_NAME, RUN_TITLE, RUN_ATTEMPT, RUN_STATUS, RUN_CONCLUSION, RUN_UPDATED, RUN_STARTED, RUN_URL, RUN_ACTOR, WORKFLOW_NAME,
    JOB_RUN, JOB_NAME, JOB_WORKFLOW, JOB_ATTEMPT, JOB_STATUS, JOB_CONCLUSION, JOB_CREATED, JOB_STARTED, JOB_COMPLETED, JOB_URL,
    JOB_WORKER, JOB_QUEUE,
    CHECK_SUITE, CHECK_NAME, CHECK_APP, CHECK_STATUS, CHECK_CONCLUSION, CHECK_STARTED, CHECK_COMPLETED, CHECK_URL, CHECK_TITLE,
    SUITE_ID, SUITE_APP, SUITE_STATUS, SUITE_CONCLUSION, SUITE_UPDATED,
    DEPLOY_ID, DEPLOY_TASK, DEPLOY_ENVIRONMENT, DEPLOY_STATE, DEPLOY_UPDATED, DEPLOY_URL, DEPLOY_TEXT,
    STATUS_CONTEXT, STATUS_STATE, STATUS_UPDATED, STATUS_URL, STATUS_TEXT, TARGET_COUNT,
};

#define RUN    "workflow_run."
#define JOB    "workflow_job."
#define CHECK  "check_run."
#define SUITE  "check_suite."
#define STATUS "deployment_status."

static const char *const target_paths[TARGET_COUNT] = {
    [ACTION] = "action", [REPOSITORY] = "repository.full_name", [SENDER] = "sender.login", [RUN_OBJECT] = "workflow_run",
    [JOB_OBJECT] = "workflow_job", [CHECK_OBJECT] = "check_run", [SUITE_OBJECT] = "check_suite",
    [DEPLOYED_OBJECT] = "deployment_status", [SHA] = "sha",
    [RUN_ID] = RUN "id", [RUN_NAME] = RUN "name", [RUN_TITLE] = RUN "display_title", [RUN_ATTEMPT] = RUN "run_attempt",
    [RUN_STATUS] = RUN "status", [RUN_CONCLUSION] = RUN "conclusion", [RUN_UPDATED] = RUN "updated_at",
    [RUN_STARTED] = RUN "run_started_at", [RUN_URL] = RUN "html_url", [RUN_ACTOR] = RUN "actor.login",
    [WORKFLOW_NAME] = "workflow.name",
    [JOB_RUN] = JOB "run_id", [JOB_NAME] = JOB "name", [JOB_WORKFLOW] = JOB "workflow_name", [JOB_ATTEMPT] = JOB "run_attempt",
    [JOB_STATUS] = JOB "status", [JOB_CONCLUSION] = JOB "conclusion", [JOB_CREATED] = JOB "created_at",
    [JOB_STARTED] = JOB "started_at", [JOB_COMPLETED] = JOB "completed_at", [JOB_URL] = JOB "html_url",
    [JOB_WORKER] = JOB "runner_name", [JOB_QUEUE] = JOB "labels[0]",
    [CHECK_SUITE] = CHECK "check_suite.id", [CHECK_NAME] = CHECK "name", [CHECK_APP] = CHECK "app.name", [CHECK_STATUS] = CHECK "status",
    [CHECK_CONCLUSION] = CHECK "conclusion", [CHECK_STARTED] = CHECK "started_at", [CHECK_COMPLETED] = CHECK "completed_at",
    [CHECK_URL] = CHECK "html_url", [CHECK_TITLE] = CHECK "output.title",
    [SUITE_ID] = SUITE "id", [SUITE_APP] = SUITE "app.name", [SUITE_STATUS] = SUITE "status", [SUITE_CONCLUSION] = SUITE "conclusion",
    [SUITE_UPDATED] = SUITE "updated_at",
    [DEPLOY_ID] = "deployment.id", [DEPLOY_TASK] = "deployment.task", [DEPLOY_ENVIRONMENT] = STATUS "environment",
    [DEPLOY_STATE] = STATUS "state", [DEPLOY_UPDATED] = STATUS "updated_at|" STATUS "created_at",
    [DEPLOY_URL] = STATUS "target_url", [DEPLOY_TEXT] = STATUS "description",
    [STATUS_CONTEXT] = "context", [STATUS_STATE] = "state", [STATUS_UPDATED] = "updated_at", [STATUS_URL] = "target_url",
    [STATUS_TEXT] = "description",
};

static const struct json_column run_columns[] = {
    {WORKFLOW_NAME, F_WORKFLOW}, {RUN_NAME, F_WORKFLOW}, {RUN_ID, F_RUN}, {RUN_TITLE, F_RUN_NAME}, {RUN_URL, F_URL}, {RUN_ACTOR, F_OWNER},
};
static const struct json_column job_columns[] = {
    {JOB_WORKFLOW, F_WORKFLOW}, {JOB_RUN, F_RUN}, {JOB_NAME, F_TASK}, {JOB_URL, F_URL}, {JOB_WORKER, F_WORKER}, {JOB_QUEUE, F_QUEUE},
};
static const struct json_column check_columns[] = {
    {CHECK_APP, F_WORKFLOW}, {CHECK_SUITE, F_RUN}, {CHECK_NAME, F_TASK}, {CHECK_URL, F_URL}, {CHECK_TITLE, F_MESSAGE},
};
static const struct json_column suite_columns[] = {{SUITE_APP, F_WORKFLOW}, {SUITE_ID, F_RUN}};
static const struct json_column deploy_columns[] = {
    {DEPLOY_TASK, F_WORKFLOW}, {DEPLOY_ID, F_RUN}, {DEPLOY_ENVIRONMENT, F_TASK}, {DEPLOY_URL, F_URL}, {DEPLOY_TEXT, F_MESSAGE},
};
static const struct json_column status_columns[] = {
    {STATUS_CONTEXT, F_WORKFLOW}, {SHA, F_RUN}, {STATUS_URL, F_URL}, {STATUS_TEXT, F_MESSAGE},
};

/* In order of search: the payload of a deployment status brings the check and the run that deployed along. */
static const struct kind {
    const char *name;
    const struct json_column *columns;
    unsigned column_count;
    enum target object, status, conclusion, attempt, queued, started, ended, told; /* TARGET_COUNT: none */
} kinds[] = {
    {"deployment_status", deploy_columns, 5, DEPLOYED_OBJECT, DEPLOY_STATE, TARGET_COUNT, TARGET_COUNT, TARGET_COUNT, TARGET_COUNT,
     TARGET_COUNT, DEPLOY_UPDATED},
    {"workflow_job", job_columns, 6, JOB_OBJECT, JOB_STATUS, JOB_CONCLUSION, JOB_ATTEMPT, JOB_CREATED, JOB_STARTED, JOB_COMPLETED,
     JOB_CREATED},
    {"workflow_run", run_columns, 6, RUN_OBJECT, RUN_STATUS, RUN_CONCLUSION, RUN_ATTEMPT, TARGET_COUNT, RUN_STARTED, RUN_UPDATED,
     RUN_UPDATED},
    {"check_run", check_columns, 5, CHECK_OBJECT, CHECK_STATUS, CHECK_CONCLUSION, TARGET_COUNT, TARGET_COUNT, CHECK_STARTED,
     CHECK_COMPLETED, CHECK_STARTED},
    {"check_suite", suite_columns, 2, SUITE_OBJECT, SUITE_STATUS, SUITE_CONCLUSION, TARGET_COUNT, TARGET_COUNT, TARGET_COUNT,
     SUITE_UPDATED, SUITE_UPDATED},
    {"status", status_columns, 4, SHA, STATUS_STATE, TARGET_COUNT, TARGET_COUNT, TARGET_COUNT, TARGET_COUNT, TARGET_COUNT,
     STATUS_UPDATED},
};

static const struct state_name states[] = { /* of status and conclusion */
    {"queued", STATE_QUEUED}, {"requested", STATE_QUEUED}, {"pending", STATE_QUEUED}, {"waiting", STATE_WAITING},
    {"action_required", STATE_WAITING}, {"in_progress", STATE_RUNNING}, {"success", STATE_SUCCESS}, {"neutral", STATE_SUCCESS},
    {"failure", STATE_FAILED}, {"error", STATE_FAILED}, {"startup_failure", STATE_FAILED}, {"cancelled", STATE_CANCELLED},
    {"stale", STATE_CANCELLED}, {"timed_out", STATE_TIMED_OUT}, {"skipped", STATE_SKIPPED},
    {NULL, STATE_NONE},
};
// clang-format on

static const struct kind *kind_of(const struct json_item *item)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (item->values[kinds[i].object].type == (kinds[i].object == SHA ? JSON_TEXT : JSON_OBJECT))
            return &kinds[i];
    return NULL;
}

static struct span text_at(const struct json_item *item, enum target target)
{
    return target == TARGET_COUNT ? (struct span){0} : item_text(item, target);
}

static void take_time(const struct json_item *item, enum target target, int64_t *column)
{
    if (target != TARGET_COUNT)
        item_take_time(item, target, TIME_UNIT_AUTO, column);
}

static void fill_times(const struct json_item *item, const struct kind *kind)
{
    struct event_batch *batch = item->batch;
    enum run_state state = batch->state[item->row];
    bool ended = run_state_is_terminal(state), waits = state == STATE_QUEUED || state == STATE_WAITING;

    take_time(item, kind->told, batch->time_us);
    take_time(item, kind->queued, batch->queued_us);
    if (!waits)
        take_time(item, kind->started, batch->started_us);
    if (state == STATE_RUNNING)
        take_time(item, kind->started, batch->time_us);
    if (ended)
        take_time(item, kind->ended, batch->time_us);
}

/* A new conclusion is an end that we do not know. */
static enum run_state state_of(struct span status, struct span conclusion)
{
    enum run_state state = state_of_name(states, conclusion.size ? conclusion : status);

    return conclusion.size && state == STATE_NONE ? STATE_UNKNOWN : state;
}

static void fill_object(const struct json_item *item, const struct kind *kind)
{
    struct event_batch *batch = item->batch;
    uint32_t row = item->row;
    struct span action = item_text(item, ACTION), status = text_at(item, kind->status);
    struct span conclusion = text_at(item, kind->conclusion);
    int64_t attempt;

    item_take_texts(item, kind->columns, kind->column_count);
    batch->result[row] = conclusion.size ? conclusion : status;
    /* Asking for another run repeats what the last one came to. */
    if (!span_is(action, "rerequested") && !span_is(action, "requested_action"))
        batch->state[row] = (uint8_t)state_of(status, conclusion);
    if (kind->attempt != TARGET_COUNT &&
        !json_value_integer(&item->values[kind->attempt], 1, UINT16_MAX, &attempt))
        batch->attempt[row] = (uint16_t)attempt;
    if (batch->state[row] == STATE_FAILED)
        batch->error[row] = batch->message[row].size ? batch->message[row] : batch->result[row];
    fill_times(item, kind);
}

/* "workflow_job.completed". False: no room in the arena. */
static bool fill_action(const struct json_item *item, const char *kind)
{
    struct span action = item_text(item, ACTION);

    item->batch->action[item->row] = span_of(kind);
    return action.size == 0 || item_join(item, span_of(kind), '.', action, item->batch->action);
}

static enum json_verdict fill_row(void *owner, const struct json_item *item, const char **ret_reason)
{
    struct event_batch *batch = item->batch;
    uint32_t row = item->row;
    const struct kind *kind = kind_of(item);

    if (item_text(item, REPOSITORY).size == 0 && item_text(item, SENDER).size == 0) {
        *ret_reason = "no repository or sender";
        return JSON_ROW_BAD;
    }
    batch->engine[row] = SPAN_LITERAL("github");
    batch->namespace_[row] = item_text(item, REPOSITORY);
    if (!kind)
        batch->action[row] = item_text(item, ACTION);
    else if (!fill_action(item, kind->name))
        return JSON_ROW_FULL;
    else
        fill_object(item, kind);
    if (!kind)
        batch->time_us[row] = item->message->arrival_us;
    if (batch->time_us[row] != TIME_NONE)
        return JSON_ROW_KEPT;
    *ret_reason = kind ? "no time" : "no time: this type of payload has none, and the arrival is not known";
    return JSON_ROW_BAD;
}

static enum status github_open(const void *settings, const struct format_context *context,
                               struct format **ret_format, struct error *ret_error)
{
    return json_format_open(target_paths, TARGET_COUNT, fill_row, ret_format);
}

const struct format_type github_format = {
    .name = "github",
    .help = "GitHub webhooks: workflow runs and jobs, checks, deployments, commit statuses",
    .signs = "action workflow_run|action workflow_job|action check_run|action check_suite|"
             "deployment deployment_status|repository sender",
    .open = github_open,
    .decode = json_format_decode,
    .close = json_format_close,
};

/* What a run has shown. */
#include "report.h"

#include "json.h"

#include <stdlib.h>
#include <string.h>

#define MIB 1048576.0
#define US_PER_MS 1000.0
#define NS_PER_S 1000000000.0

/* ---- the object ---- */

/* Three digits after the point are what was measured. */
static json_t *real(double value)
{
    char text[64];
    snprintf(text, sizeof(text), "%.3f", value);
    return json_real(strtod(text, NULL));
}

static json_t *count(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *times(const struct histogram *us)
{
    static const struct {
        const char *name;
        double percent;
    } points[] = { { "p50", 50 }, { "p90", 90 }, { "p99", 99 }, { "p99_9", 99.9 } };
    json_t *all = json_object();
    json_object_set_new(all, "count", count(us->count));
    json_object_set_new(all, "min", real((double)us->min / US_PER_MS));
    json_object_set_new(all, "mean", real(histogram_mean(us) / US_PER_MS));
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++)
        json_object_set_new(all, points[i].name,
                            real((double)histogram_percentile(us, points[i].percent) / US_PER_MS));
    json_object_set_new(all, "max", real((double)us->max / US_PER_MS));
    return all;
}

static json_t *outcomes(const struct tally *t)
{
    json_t *all = json_object();
    for (size_t i = 0; i < t->outcome_count; i++) {
        json_t *one = json_object();
        json_object_set_new(one, "count", count(t->outcomes[i]->us.count));
        json_object_set_new(one, "ms", times(&t->outcomes[i]->us));
        json_object_set_new(all, t->outcomes[i]->name, one);
    }
    return all;
}

static json_t *group(const struct tally *t, double elapsed_s)
{
    const struct {
        const char *name;
        uint64_t count;
    } counts[] = {
        { "started", t->started },
        { "not_started", t->not_started },
        { "mismatches", t->mismatches },
        { "truncated", t->truncated },
        { "stalls", t->stalls },
        { "stalled_answers", t->stalled_answers },
        { "frames", t->frames },
        { "comments", t->comments },
        { "content_bytes", t->content_bytes },
        { "received_bytes", t->received_bytes },
        { "connections", t->connections },
    };
    json_t *all = json_object();
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        json_object_set_new(all, counts[i].name, count(counts[i].count));
    double done = (double)tally_count(t, "done", 4);
    json_object_set_new(all, "done_per_s", real(elapsed_s > 0 ? done / elapsed_s : 0));
    json_object_set_new(all, "outcomes", outcomes(t));
    json_object_set_new(all, "first_byte_ms", times(&t->head_us));
    json_object_set_new(all, "first_content_ms", times(&t->content_us));
    json_object_set_new(all, "gap_ms", times(&t->gap_us));
    return all;
}

static void merge(const struct load *load, bool misbehaves, struct tally *into)
{
    for (size_t i = 0; i < load_key_count(load); i++)
        tally_merge(into, load_tally(load, i, misbehaves));
}

static json_t *sums(const struct load *load, bool misbehaves, double elapsed_s)
{
    struct tally *sum = xcalloc(1, sizeof(*sum));
    merge(load, misbehaves, sum);
    json_t *all = group(sum, elapsed_s);
    tally_free(sum);
    free(sum);
    return all;
}

static json_t *total(const struct load *load, double elapsed_s)
{
    struct tally *sum = xcalloc(1, sizeof(*sum));
    merge(load, false, sum);
    merge(load, true, sum);
    json_t *all = group(sum, elapsed_s);
    tally_free(sum);
    free(sum);
    return all;
}

static json_t *by_key(const struct report_input *in, double elapsed_s)
{
    json_t *all = json_object();
    for (size_t i = 0; i < in->options->key_count; i++) {
        struct tally *sum = xcalloc(1, sizeof(*sum));
        tally_merge(sum, load_tally(in->load, i, false));
        tally_merge(sum, load_tally(in->load, i, true));
        json_object_set_new(all, in->options->keys[i].name, group(sum, elapsed_s));
        tally_free(sum);
        free(sum);
    }
    return all;
}

/* Jain's index of what each key has got done for its weight: 1 is fair, 1/n is all for one. */
static json_t *fairness(const struct report_input *in)
{
    double sum = 0;
    double squares = 0;
    size_t n = in->options->key_count;
    for (size_t i = 0; i < n; i++) {
        double done = (double)(tally_count(load_tally(in->load, i, false), "done", 4) +
                               tally_count(load_tally(in->load, i, true), "done", 4));
        sum += done;
        squares += done * done;
    }
    return real(squares > 0 ? sum * sum / ((double)n * squares) : 0);
}

static json_t *process(const struct proc *p, double ended)
{
    double cpu_s = p->last.cpu_s - p->first.cpu_s;
    json_t *one = json_object();
    json_object_set_new(one, "pid", json_integer(p->pid));
    json_object_set_new(one, "gone", json_boolean(p->is_gone));
    json_object_set_new(one, "rss_mib_first", real((double)p->first.rss_bytes / MIB));
    json_object_set_new(one, "rss_mib_peak", real((double)p->peak.rss_bytes / MIB));
    json_object_set_new(one, "rss_mib_last", real((double)p->last.rss_bytes / MIB));
    json_object_set_new(one, "fds_first", count(p->first.fds));
    json_object_set_new(one, "fds_peak", count(p->peak.fds));
    json_object_set_new(one, "fds_last", count(p->last.fds));
    json_object_set_new(one, "cpu_s", real(cpu_s));
    json_object_set_new(one, "cpu_ms_per_request", real(ended > 0 ? cpu_s * 1000 / ended : 0));
    return one;
}

static json_t *processes(const struct report_input *in, double ended)
{
    json_t *all = json_array();
    for (size_t i = 0; i < procwatch_count(in->procs); i++)
        json_array_append_new(all, process(procwatch_proc(in->procs, i), ended));
    return all;
}

static json_t *probes(const struct probe *p)
{
    json_t *all = json_object();
    json_object_set_new(all, "late", count(probe_late(p)));
    json_object_set_new(all, "outcomes", outcomes(probe_tally(p)));
    return all;
}

static json_t *slow_heads(const struct slow_heads *s)
{
    json_t *all = json_object();
    json_object_set_new(all, "outcomes", outcomes(slow_heads_tally(s)));
    return all;
}

static uint64_t ended(const struct load *load)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < load_key_count(load); i++)
        sum += load_tally(load, i, false)->ended + load_tally(load, i, true)->ended;
    return sum;
}

static json_t *run(const struct report_input *in, double elapsed_s)
{
    const struct options *o = in->options;
    json_t *all = json_object();
    json_object_set_new(all, "url", json_string(o->url));
    json_object_set_new(all, "mode", json_string(o->is_unary ? "unary" : "stream"));
    json_object_set_new(all, "loop", json_string(o->rate_per_s > 0 ? "open" : "closed"));
    json_object_set_new(all, "concurrency", count(o->concurrency));
    json_object_set_new(all, "rate_per_s", real(o->rate_per_s));
    json_object_set_new(all, "keep_alive", json_boolean(o->keep_alive));
    json_object_set_new(all, "elapsed_s", real(elapsed_s));
    json_object_set_new(all, "own_cpu_s", real(in->own_cpu_s));
    return all;
}

json_t *report_make(const struct report_input *in)
{
    double elapsed_s = (double)load_elapsed_ns(in->load) / NS_PER_S;
    json_t *report = json_object();
    json_object_set_new(report, "run", run(in, elapsed_s));
    json_object_set_new(report, "total", total(in->load, elapsed_s));
    if (options_misbehave(in->options)) {
        json_object_set_new(report, "affected", sums(in->load, true, elapsed_s));
        json_object_set_new(report, "unaffected", sums(in->load, false, elapsed_s));
    }
    if (in->options->key_count > 1) {
        json_object_set_new(report, "keys", by_key(in, elapsed_s));
        json_object_set_new(report, "fairness", fairness(in));
    }
    if (in->probe != NULL)
        json_object_set_new(report, "probe", probes(in->probe));
    if (in->slow_heads != NULL)
        json_object_set_new(report, "slow_heads", slow_heads(in->slow_heads));
    if (procwatch_count(in->procs) != 0)
        json_object_set_new(report, "processes", processes(in, (double)ended(in->load)));
    return report;
}

/* ---- for people ---- */

static double real_at(const json_t *value, const char *path)
{
    return json_number_value(json_at(value, path));
}

static long long count_at(const json_t *value, const char *path)
{
    return (long long)json_int_at(value, path, 0);
}

static void print_times(FILE *out, const char *name, const json_t *ms)
{
    fprintf(out, "  %-34s %8lld %9.2f %9.2f %9.2f %9.2f %9.2f\n", name, count_at(ms, "count"),
            real_at(ms, "p50"), real_at(ms, "p90"), real_at(ms, "p99"), real_at(ms, "p99_9"),
            real_at(ms, "max"));
}

static void print_outcomes(FILE *out, const json_t *all)
{
    const char *name = NULL;
    json_t *one = NULL;
    json_object_foreach((json_t *)all, name, one) print_times(out, name, json_at(one, "ms"));
}

static void print_group(FILE *out, const char *title, const json_t *g)
{
    fprintf(out, "\n%-36s %8s %9s %9s %9s %9s %9s\n", title, "count", "p50 ms", "p90", "p99",
            "p99.9", "max");
    print_outcomes(out, json_at(g, "outcomes"));
    if (count_at(g, "first_byte_ms.count") != 0)
        print_times(out, "- to the first byte", json_at(g, "first_byte_ms"));
    if (count_at(g, "first_content_ms.count") != 0)
        print_times(out, "- to the first content", json_at(g, "first_content_ms"));
    if (count_at(g, "gap_ms.count") != 0)
        print_times(out, "- between frames", json_at(g, "gap_ms"));
    fprintf(out,
            "  %lld started, %lld not started, %.1f done/s, %lld frames, %lld bytes of content, "
            "%lld connections\n",
            count_at(g, "started"), count_at(g, "not_started"), real_at(g, "done_per_s"),
            count_at(g, "frames"), count_at(g, "content_bytes"), count_at(g, "connections"));
    fprintf(out, "  %lld mismatches, %lld truncated, %lld stalls in %lld answers\n",
            count_at(g, "mismatches"), count_at(g, "truncated"), count_at(g, "stalls"),
            count_at(g, "stalled_answers"));
}

static void print_processes(FILE *out, const json_t *all)
{
    size_t i = 0;
    const json_t *p = NULL;
    json_array_foreach((json_t *)all, i, p)
        fprintf(out,
                "\nprocess %lld%s: CPU %.2f s, %.3f ms a request; RSS %.1f MiB, peak %.1f, at the "
                "end %.1f; descriptors %lld, peak %lld, at the end %lld\n",
                count_at(p, "pid"), json_is_true(json_at(p, "gone")) ? " (gone)" : "",
                real_at(p, "cpu_s"), real_at(p, "cpu_ms_per_request"), real_at(p, "rss_mib_first"),
                real_at(p, "rss_mib_peak"), real_at(p, "rss_mib_last"), count_at(p, "fds_first"),
                count_at(p, "fds_peak"), count_at(p, "fds_last"));
}

static void print_table(const json_t *report, FILE *out)
{
    const char *name = NULL;
    json_t *one = NULL;
    fprintf(out, "%s: %s, %s loop, %.2f s; CPU of this program %.2f s\n",
            json_str_at(report, "run.url"), json_str_at(report, "run.mode"),
            json_str_at(report, "run.loop"), real_at(report, "run.elapsed_s"),
            real_at(report, "run.own_cpu_s"));
    if (json_at(report, "affected") != NULL) {
        print_group(out, "clients that misbehave", json_at(report, "affected"));
        print_group(out, "the other clients", json_at(report, "unaffected"));
    } else {
        print_group(out, "requests", json_at(report, "total"));
    }
    json_object_foreach(json_at(report, "keys"), name, one) print_group(out, name, one);
    if (json_at(report, "fairness") != NULL)
        fprintf(out, "\nfairness (Jain's index of done): %.3f\n", real_at(report, "fairness"));
    if (json_at(report, "probe") != NULL) {
        fprintf(out, "\nprobe (%lld late)\n", count_at(report, "probe.late"));
        print_outcomes(out, json_at(report, "probe.outcomes"));
    }
    if (json_at(report, "slow_heads") != NULL) {
        fprintf(out, "\nslow heads\n");
        print_outcomes(out, json_at(report, "slow_heads.outcomes"));
    }
    print_processes(out, json_at(report, "processes"));
}

/* Reals in as many digits as were put in. */
static void print_json(const json_t *value, FILE *out)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(12));
    fprintf(out, "%s\n", text);
    free(text);
}

/* What is not there did not occur. */
static void print_value(const json_t *report, const char *path, FILE *out)
{
    const json_t *value = json_at(report, path);
    if (value == NULL)
        fputs("0\n", out);
    else
        print_json(value, out);
}

void report_print(const json_t *report, const struct options *o, FILE *out)
{
    for (size_t i = 0; i < o->value_count; i++)
        print_value(report, o->values[i], out);
    if (o->json)
        print_json(report, out);
    else if (o->value_count == 0)
        print_table(report, out);
}

/* ---- what must not occur ---- */

static bool occurred(const struct report_input *in, const char *item, size_t len)
{
    static const char probe_failure[] = "probe_failure";
    if (len == sizeof(probe_failure) - 1 && memcmp(item, probe_failure, len) == 0)
        return in->probe != NULL &&
               probe_tally(in->probe)->ended != tally_count(probe_tally(in->probe), "done", 4);
    for (size_t i = 0; i < load_key_count(in->load); i++)
        if (tally_count(load_tally(in->load, i, false), item, len) != 0 ||
            tally_count(load_tally(in->load, i, true), item, len) != 0)
            return true;
    return false;
}

const char *report_struck(const struct report_input *in, const char *list)
{
    for (const char *item = list; item != NULL && *item != '\0';) {
        size_t len = strcspn(item, ",");
        if (occurred(in, item, len))
            return item;
        item += len + (item[len] == ',');
    }
    return NULL;
}

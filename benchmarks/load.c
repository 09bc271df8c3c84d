/* A load generator for WebDAV: one thread, epoll, keep-alive HTTP/1.1.
 *
 * It owns sending cycles of templated requests over N connections and counting what comes back. It knows nothing of
 * the servers or of what the numbers are for. It must cost far less than the servers it measures, so it never parses
 * more of an answer than its status line, its framing and its Lock-Token, and lets the kernel drop large bodies.
 *
 *   load -p PORT [-c CONNECTIONS] [-d SECONDS] [-w WARM_SECONDS] [-g GRACE_SECONDS]
 *        [-m once|wrap|random] [-l FIRST] [-u LAST] [-s SEED]  STATUS[,STATUS...]:FILE ...
 *
 * It speaks to the loopback interface only; a request must not be a HEAD.
 *
 * Each FILE holds one raw request; the files together are one cycle. In the head of a request these stand for:
 *   @I@ the cycle's item, six digits   @D@ item / 1000, three digits   @C@ the connection   @T@ the lock token
 * Items lie in [FIRST, LAST). once: each item a single time, in order, then stop. wrap: connection c of N takes the
 * items c, c+N, c+2N... again and again, so that no two connections ever share one. random: any, uniformly.
 * A phase ends when its time is over and every cycle in flight has ended; the elapsed time runs to the last of them.
 * Prints one JSON object. Exit status: 0 measured, 1 the server could not be talked to, 2 wrong usage.
 */
#define _GNU_SOURCE
#include "answer.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { MAX_STEPS = 8, MAX_PARTS = 32, MAX_EXPECT = 8, MAX_CONNECTIONS = 1024 };
enum { HEAD_SIZE = 16384, SMALL_BODY = 8192, SCRATCH_SIZE = 1 << 18, DISCARD_FROM = 1 << 16 };
enum { HISTOGRAM_SIZE = 64 * 40, MAX_FAILURES_IN_A_ROW = 100 };

enum part_kind { TEXT, ITEM, FOLDER, CONNECTION, TOKEN };
enum pick { ONCE, WRAP, RANDOM };

struct part { enum part_kind kind; const char *text; size_t length; };

struct step {
    struct part parts[MAX_PARTS];
    int n_parts, needs_token;
    const char *body;
    size_t body_length;
    int expect[MAX_EXPECT], n_expect;
    uint64_t statuses[MAX_STATUS];
};

struct connection {
    int fd, index, step, cycle_is_wrong, is_busy, wants_write, reused;
    uint64_t item, turns, started_us;
    char out[HEAD_SIZE + SMALL_BODY];
    const char *body; /* a body too large to copy, or NULL */
    size_t out_length, out_sent, body_length, body_sent;
    struct answer answer;
};

static struct step steps[MAX_STEPS];
static struct connection *connections;
static int n_steps, n_connections = 1, epoll_fd, active, failures_in_a_row;
static struct sockaddr_in address;
static enum pick pick = WRAP;
static uint64_t first_item, last_item = 1, next_item, wrap_span, random_state = 88172645463325252ULL;
static uint64_t deadline_us, last_end_us, good, wrong, transport_errors, reconnects, bytes_in;
static uint64_t histogram[HISTOGRAM_SIZE];
static char scratch[SCRATCH_SIZE];

static void start_cycle(struct connection *c);
static void begin_step(struct connection *c, int is_retry);

static void die(int status, const char *what, const char *about) {
    fprintf(stderr, "load: %s%s%s\n", what, *about ? ": " : "", about);
    exit(status);
}

static uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t random_u64(void) { /* xorshift64* */
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 2685821657736338717ULL;
}

/* Latencies: 64 buckets per power of two, so that a percentile is off by 1.6 % at most. */
static void record(uint64_t us) {
    int shift = us < 64 ? 0 : 63 - __builtin_clzll(us) - 6;
    int index = us < 64 ? (int)us : 64 + shift * 64 + (int)((us >> shift) - 64);
    histogram[index < HISTOGRAM_SIZE ? index : HISTOGRAM_SIZE - 1]++;
}

static uint64_t percentile(double fraction) {
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < HISTOGRAM_SIZE; i++) total += histogram[i];
    for (int i = 0; i < HISTOGRAM_SIZE; i++) {
        seen += histogram[i];
        if (total && (double)seen >= fraction * (double)total)
            return i < 64 ? (uint64_t)i : (uint64_t)(64 + i % 64) << (i / 64 - 1);
    }
    return 0;
}

/* ---- Requests ---- */

static void add_part(struct step *s, enum part_kind kind, const char *text, size_t length) {
    if (kind == TEXT && length == 0) return;
    if (s->n_parts == MAX_PARTS) die(2, "too many markers in one request", "");
    s->parts[s->n_parts++] = (struct part){kind, text, length};
    if (kind == TOKEN) s->needs_token = 1;
}

static void load_step(const char *argument) {
    if (n_steps == MAX_STEPS) die(2, "too many requests in a cycle", argument);
    struct step *s = &steps[n_steps++];
    char *rest = (char *)argument;
    do {
        if (s->n_expect == MAX_EXPECT) die(2, "too many statuses", argument);
        s->expect[s->n_expect++] = (int)strtol(rest, &rest, 10);
    } while (*rest++ == ',');
    if (rest[-1] != ':') die(2, "not STATUS:FILE", argument);
    FILE *file = fopen(rest, "rb");
    if (!file) die(2, rest, strerror(errno));
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(size + 1);
    if (!text || fread(text, 1, size, file) != size) die(2, "cannot read", rest);
    fclose(file);
    char *end = memmem(text, size, "\r\n\r\n", 4);
    if (!end || (size_t)(end - text) > HEAD_SIZE / 2) die(2, "no head, or too long a one, in", rest);
    end += 4;
    s->body = end;
    s->body_length = size - (size_t)(end - text);
    char *from = text;
    for (char *p = text; p + 2 < end; p++) {
        if (p[0] != '@' || p[2] != '@') continue;
        const char *kinds = "IDCT", *kind = strchr(kinds, p[1]);
        if (!kind || !*kind) continue;
        add_part(s, TEXT, from, (size_t)(p - from));
        add_part(s, (enum part_kind)(ITEM + (kind - kinds)), NULL, 0);
        p += 2;
        from = p + 1;
    }
    add_part(s, TEXT, from, (size_t)(end - from));
}

static void render(struct connection *c) {
    const struct step *s = &steps[c->step];
    char *p = c->out;
    for (int i = 0; i < s->n_parts; i++) {
        const struct part *part = &s->parts[i];
        switch (part->kind) {
        case TEXT: memcpy(p, part->text, part->length); p += part->length; break;
        case ITEM: p += sprintf(p, "%06llu", (unsigned long long)c->item); break;
        case FOLDER: p += sprintf(p, "%03llu", (unsigned long long)c->item / 1000); break;
        case CONNECTION: p += sprintf(p, "%d", c->index); break;
        case TOKEN: memcpy(p, c->answer.token, c->answer.token_length); p += c->answer.token_length; break;
        }
    }
    c->body = NULL;
    c->body_length = c->body_sent = c->out_sent = 0;
    if (s->body_length <= SMALL_BODY) {
        memcpy(p, s->body, s->body_length);
        p += s->body_length;
    } else {
        c->body = s->body;
        c->body_length = s->body_length;
    }
    c->out_length = (size_t)(p - c->out);
}

/* ---- Connections ---- */

static void disconnect(struct connection *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
}

/* Does not wait: an attempt that comes to nothing is met when the answer is read. */
static int connect_to_server(struct connection *c) {
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS) {
        disconnect(c);
        return 0;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
    c->wants_write = c->reused = 0;
    return 1;
}

static void end_cycle(struct connection *c) {
    last_end_us = now_us();
    record(last_end_us - c->started_us);
    if (c->cycle_is_wrong) wrong++; else good++;
    start_cycle(c);
}

/* The connection broke in the middle of a step: counted as status 0, and the cycle as wrong. */
static void fail(struct connection *c) {
    disconnect(c);
    transport_errors++;
    steps[c->step].statuses[0]++;
    c->cycle_is_wrong = 1;
    if (++failures_in_a_row > MAX_FAILURES_IN_A_ROW) die(1, "the server breaks every connection", "");
    end_cycle(c);
}

/* A kept connection may be closed by the server just as it is used again: once more on a new one, that is no error. */
static void broken(struct connection *c) {
    if (c->reused && !c->answer.has_begun) {
        disconnect(c);
        reconnects++;
        begin_step(c, 1);
    } else {
        fail(c);
    }
}

static void want_write(struct connection *c, int wanted) {
    if (c->wants_write == wanted) return;
    c->wants_write = wanted;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

static void flush(struct connection *c) {
    while (c->out_sent < c->out_length || c->body_sent < c->body_length) {
        struct iovec pieces[2] = {{c->out + c->out_sent, c->out_length - c->out_sent},
                                  {(char *)c->body + c->body_sent, c->body_length - c->body_sent}};
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = c->body ? 2 : 1};
        ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) { want_write(c, 1); return; }
        if (sent < 0) {
            /* A server that refuses an upload early may have answered before it closed: read that first. */
            c->body_sent = c->body_length = c->out_sent = c->out_length = 0;
            c->answer.close_after = 1;
            want_write(c, 0);
            return;
        }
        size_t of_head = (size_t)sent < pieces[0].iov_len ? (size_t)sent : pieces[0].iov_len;
        c->out_sent += of_head;
        c->body_sent += (size_t)sent - of_head;
    }
    want_write(c, 0);
}

static void begin_step(struct connection *c, int is_retry) {
    if (c->fd < 0 && !connect_to_server(c)) { fail(c); return; }
    if (is_retry) c->reused = 0;
    answer_begin(&c->answer);
    render(c);
    flush(c);
}

static void start_cycle(struct connection *c) {
    c->started_us = now_us();
    if (c->started_us >= deadline_us || (pick == ONCE && next_item >= last_item)) {
        c->is_busy = 0;
        active--;
        return;
    }
    if (pick == ONCE) c->item = next_item++;
    else if (pick == RANDOM) c->item = first_item + random_u64() % (last_item - first_item);
    else c->item = first_item + ((uint64_t)c->index + (uint64_t)n_connections * c->turns++) % wrap_span;
    c->step = c->cycle_is_wrong = 0;
    c->answer.token_length = 0;
    begin_step(c, 0);
}

static void end_step(struct connection *c) {
    struct step *s = &steps[c->step];
    int as_expected = 0;
    s->statuses[c->answer.status]++;
    for (int i = 0; i < s->n_expect; i++) as_expected |= s->expect[i] == c->answer.status;
    if (!as_expected) c->cycle_is_wrong = 1;
    failures_in_a_row = 0;
    c->reused = 1;
    if (c->answer.close_after || c->out_sent < c->out_length || c->body_sent < c->body_length) {
        disconnect(c);
        reconnects++;
    }
    if (++c->step < n_steps && (!steps[c->step].needs_token || c->answer.token_length)) { begin_step(c, 0); return; }
    if (c->step < n_steps) c->cycle_is_wrong = 1; /* no token to go on with */
    end_cycle(c);
}

/* ---- Answers ---- */

static void on_readable(struct connection *c) {
    ssize_t n;
    if (!c->is_busy) { disconnect(c); return; } /* closed by the server between two phases */
    int is_discard = c->answer.state == LENGTH && c->answer.remaining >= DISCARD_FROM;
    if (is_discard) n = recv(c->fd, NULL, c->answer.remaining < (1 << 22) ? c->answer.remaining : 1 << 22, MSG_TRUNC);
    else n = recv(c->fd, scratch, sizeof scratch, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        if (n == 0 && c->answer.state == UNTIL_CLOSE) { c->answer.close_after = 1; end_step(c); }
        else broken(c);
        return;
    }
    bytes_in += (uint64_t)n;
    if (is_discard) {
        c->answer.remaining -= (uint64_t)n;
        if (!c->answer.remaining) end_step(c);
        return;
    }
    enum fed fed = answer_feed(&c->answer, scratch, (size_t)n);
    if (fed == COMPLETE) end_step(c);
    else if (fed == BROKEN) fail(c);
}

/* ---- Phases ---- */

/* Cycles that outlast even the grace are counted as wrong. */
static void abandon(uint64_t now) {
    transport_errors += (uint64_t)active;
    wrong += (uint64_t)active;
    last_end_us = now;
    for (int i = 0; i < n_connections; i++)
        if (connections[i].is_busy) disconnect(&connections[i]);
}

static void run_phase(double seconds, double grace) {
    struct epoll_event events[256];
    uint64_t start = now_us();
    deadline_us = start + (uint64_t)(seconds * 1e6);
    uint64_t give_up = deadline_us + (uint64_t)(grace * 1e6);
    active = n_connections;
    for (int i = 0; i < n_connections; i++) {
        connections[i].is_busy = 1;
        start_cycle(&connections[i]);
    }
    while (active > 0) {
        uint64_t now = now_us();
        if (now >= give_up) { abandon(now); break; }
        int n = epoll_wait(epoll_fd, events, 256, (int)((give_up - now) / 1000) + 1);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) flush(c);
            if (c->fd >= 0 && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) on_readable(c);
        }
    }
}

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void forget_warm_up(void) {
    good = wrong = transport_errors = reconnects = bytes_in = 0;
    memset(histogram, 0, sizeof histogram);
    for (int i = 0; i < n_steps; i++) memset(steps[i].statuses, 0, sizeof steps[i].statuses);
}

static void print_result(double elapsed, double cpu) {
    printf("{\"elapsed\": %.6f, \"cpu\": %.6f, \"good\": %llu, \"wrong\": %llu, \"transport_errors\": %llu, ", elapsed, cpu,
           (unsigned long long)good, (unsigned long long)wrong, (unsigned long long)transport_errors);
    printf("\"reconnects\": %llu, \"octets\": %llu, \"next_item\": %llu, ", (unsigned long long)reconnects,
           (unsigned long long)bytes_in, (unsigned long long)next_item);
    printf("\"latency_us\": {\"p50\": %llu, \"p90\": %llu, \"p99\": %llu, \"max\": %llu}, \"statuses\": [",
           (unsigned long long)percentile(0.5), (unsigned long long)percentile(0.9), (unsigned long long)percentile(0.99),
           (unsigned long long)percentile(1.0));
    for (int i = 0; i < n_steps; i++) {
        const char *separator = "";
        printf(i ? ", {" : "{");
        for (int status = 0; status < MAX_STATUS; status++) {
            if (!steps[i].statuses[status]) continue;
            printf("%s\"%d\": %llu", separator, status, (unsigned long long)steps[i].statuses[status]);
            separator = ", ";
        }
        printf("}");
    }
    printf("]}\n");
}

int main(int argc, char **argv) {
    double seconds = 1, warm = 0, grace = 60;
    int port = 0, option;
    while ((option = getopt(argc, argv, "p:c:d:w:g:m:l:u:s:")) != -1) {
        switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'c': n_connections = atoi(optarg); break;
        case 'd': seconds = atof(optarg); break;
        case 'w': warm = atof(optarg); break;
        case 'g': grace = atof(optarg); break;
        case 'm': pick = !strcmp(optarg, "once") ? ONCE : !strcmp(optarg, "random") ? RANDOM : WRAP; break;
        case 'l': first_item = strtoull(optarg, NULL, 10); break;
        case 'u': last_item = strtoull(optarg, NULL, 10); break;
        case 's': random_state ^= strtoull(optarg, NULL, 10) * 0x9E3779B97F4A7C15ULL; break;
        default: die(2, "see the head of load.c for its options", "");
        }
    }
    for (int i = optind; i < argc; i++) load_step(argv[i]);
    if (!port || !n_steps || n_connections < 1 || n_connections > MAX_CONNECTIONS || last_item <= first_item)
        die(2, "needs a port, a request, a sane number of connections, and a range of items", "");
    if (!random_state) random_state = 1;
    next_item = first_item;
    wrap_span = last_item - first_item;
    if (wrap_span > (uint64_t)n_connections) wrap_span -= wrap_span % (uint64_t)n_connections;
    address = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    signal(SIGPIPE, SIG_IGN);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    connections = calloc((size_t)n_connections, sizeof *connections);
    if (!connections) die(2, "out of memory", "");
    for (int i = 0; i < n_connections; i++) connections[i] = (struct connection){.fd = -1, .index = i};
    if (warm > 0) run_phase(warm, grace);
    forget_warm_up();
    uint64_t start = last_end_us = now_us();
    double cpu = cpu_seconds();
    run_phase(seconds, grace);
    print_result((double)(last_end_us - start) / 1e6, cpu_seconds() - cpu);
    return 0;
}

/* The framing of an HTTP/1.1 answer, fed in pieces of any size: where it ends, its status, its Lock-Token.
 *
 * It owns nothing but a struct answer; it knows no sockets and reads no more of an answer than it must.
 */
#ifndef BENCHMARKS_ANSWER_H
#define BENCHMARKS_ANSWER_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>

enum { ANSWER_HEAD_SIZE = 16384, TOKEN_SIZE = 256, MAX_STATUS = 600 };
enum body_state { HEADERS, LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, UNTIL_CLOSE };
enum fed { BROKEN = -1, INCOMPLETE = 0, COMPLETE = 1 };

struct answer {
    enum body_state state;
    int status, line_length;
    int has_begun, close_after; /* whether any octet came; whether the connection ends with this answer */
    uint64_t remaining;         /* octets of the body, or of its chunk, still to come */
    size_t head_length, token_length;
    char head[ANSWER_HEAD_SIZE], token[TOKEN_SIZE]; /* the token as sent, in angle brackets; outlives its answer */
};

static void answer_begin(struct answer *a) {
    a->state = HEADERS;
    a->head_length = 0;
    a->has_begun = a->close_after = 0;
}

static int field_is(const char *line, size_t length, const char *name, const char **value, size_t *value_length) {
    size_t n = strlen(name);
    if (length <= n || line[n] != ':' || strncasecmp(line, name, n) != 0) return 0;
    const char *v = line + n + 1, *end = line + length;
    while (v < end && (*v == ' ' || *v == '\t')) v++;
    *value = v;
    *value_length = (size_t)(end - v);
    return 1;
}

/* Reads a complete head; returns 0 when it makes no sense. */
static int parse_head(struct answer *a, const char *head, size_t length) {
    if (length < 12 || strncmp(head, "HTTP/1.", 7) != 0) return 0;
    a->status = atoi(head + 9);
    if (a->status < 100 || a->status >= MAX_STATUS) return 0;
    if (head[7] == '0') a->close_after = 1;
    int has_length = 0, is_chunked = 0;
    const char *end = head + length, *value;
    size_t n;
    a->remaining = 0;
    for (const char *line = head; line < end;) {
        const char *stop = memmem(line, (size_t)(end - line), "\r\n", 2);
        if (!stop) break;
        size_t size = (size_t)(stop - line);
        if (field_is(line, size, "Content-Length", &value, &n)) {
            has_length = 1;
            a->remaining = strtoull(value, NULL, 10);
        } else if (field_is(line, size, "Transfer-Encoding", &value, &n)) {
            is_chunked = 1;
        } else if (field_is(line, size, "Connection", &value, &n)) {
            if (n >= 5 && strncasecmp(value, "close", 5) == 0) a->close_after = 1;
        } else if (field_is(line, size, "Lock-Token", &value, &n) && n < TOKEN_SIZE) {
            memcpy(a->token, value, n);
            a->token_length = n;
        }
        line = stop + 2;
    }
    if (a->status < 200 || a->status == 204 || a->status == 304) a->remaining = 0, a->state = LENGTH;
    else if (is_chunked) a->state = CHUNK_SIZE;
    else if (has_length) a->state = LENGTH;
    else a->state = UNTIL_CLOSE;
    a->line_length = 0;
    return 1;
}

/* Takes what it can of the answer; returns the octets taken, or -1 when the framing is broken. *done: it is whole. */
static ssize_t consume(struct answer *a, const char *data, size_t length, int *done) {
    size_t at = 0;
    while (at < length && !*done) {
        size_t left = length - at, take = a->remaining < left ? (size_t)a->remaining : left;
        char octet = data[at];
        switch (a->state) {
        case HEADERS: return (ssize_t)at;
        case UNTIL_CLOSE: return (ssize_t)length;
        case LENGTH: at += take; a->remaining -= take; *done = a->remaining == 0; break;
        case CHUNK_DATA: at += take; a->remaining -= take; if (!a->remaining) a->state = CHUNK_END; break;
        case CHUNK_END: at++; if (octet == '\n') a->state = CHUNK_SIZE; break;
        case TRAILER:
            at++;
            if (octet == '\n') { *done = a->line_length == 0; a->line_length = 0; }
            else if (octet != '\r') a->line_length++;
            break;
        case CHUNK_SIZE:
            at++;
            if (octet == '\n') { a->state = a->remaining ? CHUNK_DATA : TRAILER; a->line_length = 0; break; }
            if (octet == '\r' || a->line_length < 0) break;
            if (octet == ';') { a->line_length = -1; break; }
            if (a->line_length++ == 0) a->remaining = 0;
            int digit = octet >= '0' && octet <= '9' ? octet - '0' : (octet | 32) - 'a' + 10;
            if (digit < 0 || digit > 15 || a->line_length > 15) return -1;
            a->remaining = a->remaining * 16 + (uint64_t)digit;
            break;
        }
    }
    return (ssize_t)at;
}

/* Takes the next octets. Anything behind the end of the answer is BROKEN framing: no request was pipelined. */
static enum fed answer_feed(struct answer *a, const char *data, size_t length) {
    int done = 0;
    a->has_begun = 1;
    while (a->state == HEADERS && length) {
        const char *head = data, *end;
        size_t size, taken;
        if (a->head_length == 0 && (end = memmem(data, length, "\r\n\r\n", 4))) {
            size = taken = (size_t)(end - data) + 4;
        } else {
            size_t before = a->head_length, room = ANSWER_HEAD_SIZE - before, copied = length < room ? length : room;
            memcpy(a->head + before, data, copied);
            a->head_length += copied;
            end = memmem(a->head, a->head_length, "\r\n\r\n", 4);
            if (!end) return a->head_length == ANSWER_HEAD_SIZE ? BROKEN : INCOMPLETE;
            head = a->head;
            size = (size_t)(end - a->head) + 4;
            taken = size - before;
        }
        if (!parse_head(a, head, size)) return BROKEN;
        data += taken;
        length -= taken;
        a->head_length = 0;
        if (a->status < 200) a->state = HEADERS; /* 100 Continue and its like: the answer proper follows */
        else done = a->state == LENGTH && a->remaining == 0;
    }
    ssize_t taken = consume(a, data, length, &done);
    if (taken < 0 || (done && (size_t)taken < length)) return BROKEN;
    return done ? COMPLETE : INCOMPLETE;
}

#endif

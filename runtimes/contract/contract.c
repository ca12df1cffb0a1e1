/* What `cyclometer lanes check` runs in a runtime: one thing at a time, named
 * by the first argument. Without vector instructions on purpose: every runtime
 * that speaks WASI preview 1 can load it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

enum { BIG = 12 << 20, CHUNK = 65521 };

/* Through a volatile, so that no loop over it is made into vectors. */
static volatile unsigned char buffer[CHUNK];

static void put(const void *bytes, size_t size) {
    const char *at = bytes;
    while (size > 0) {
        ssize_t sent = write(1, at, size);
        if (sent <= 0) exit(3);
        at += sent;
        size -= (size_t)sent;
    }
}

static void put_text(const char *text) {
    char length[16];
    int digits = snprintf(length, sizeof length, "%zu:", strlen(text));
    put(length, (size_t)digits);
    put(text, strlen(text));
    put("\n", 1);
}

/* Zero bytes, a line end of each kind, bytes that are no UTF-8, no newline. */
static int bytes(void) {
    static const char content[] = "a\0b\r\n\xff\xfe\tend";
    put(content, sizeof content - 1);
    return 0;
}

static int echo(void) {
    for (;;) {
        ssize_t size = read(0, (void *)buffer, sizeof buffer);
        if (size < 0) return 3;
        if (size == 0) return 0;
        put((const void *)buffer, (size_t)size);
    }
}

/* The bytes 0, 1, ... 250, 0, 1, ... in chunks of an odd size. */
static int big(void) {
    unsigned value = 0;
    for (size_t left = BIG; left > 0;) {
        size_t size = left < CHUNK ? left : CHUNK;
        for (size_t i = 0; i < size; i++) {
            buffer[i] = (unsigned char)value;
            value = value == 250 ? 0 : value + 1;
        }
        put((const void *)buffer, size);
        left -= size;
    }
    return 0;
}

static int arguments(int argc, char **argv) {
    for (int i = 2; i < argc; i++) put_text(argv[i]);
    return 0;
}

static int environment(void) {
    for (char **at = environ; at && *at; at++) put_text(*at);
    return 0;
}

/* Names the files that can be opened. */
static int files(int argc, char **argv) {
    for (int i = 2; i < argc; i++) {
        int file = open(argv[i], O_RDONLY);
        if (file >= 0) put_text(argv[i]);
    }
    return 0;
}

/* Takes so many MiB and touches every page of them. */
static int memory(size_t mib) {
    for (size_t i = 0; i < mib; i++) {
        volatile unsigned char *part = malloc(1 << 20);
        if (!part) return 9;
        for (size_t at = 0; at < 1 << 20; at += 4096) part[at] = 1;
    }
    put("taken\n", 6);
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    const char *value = argc > 2 ? argv[2] : "0";
    if (!strcmp(what, "exit")) return atoi(value);
    if (!strcmp(what, "bytes")) return bytes();
    if (!strcmp(what, "echo")) return echo();
    if (!strcmp(what, "big")) return big();
    if (!strcmp(what, "arguments")) return arguments(argc, argv);
    if (!strcmp(what, "environment")) return environment();
    if (!strcmp(what, "files")) return files(argc, argv);
    if (!strcmp(what, "memory")) return memory((size_t)atoi(value));
    if (!strcmp(what, "trap")) {
        put("before\n", 7);
        __builtin_trap();
    }
    if (!strcmp(what, "streams")) {
        put("out\n", 4);
        if (write(2, "err\n", 4) != 4) return 3;
        put("put\n", 4);
        return 0;
    }
    if (!strcmp(what, "spin"))
        for (volatile int i = 0;; i++) continue;
    return 2;
}

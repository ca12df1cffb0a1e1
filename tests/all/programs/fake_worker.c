/* A runtime that is one in name only. Its first argument says in which way it
 * misbehaves; as a warm worker it has a socket as descriptor 3. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void forever(void) {
    for (;;) pause();
}

static void put(const char *text, size_t size) {
    while (size) {
        ssize_t sent = write(3, text, size);
        if (sent <= 0) forever();
        text += sent;
        size -= (size_t)sent;
    }
}

static void say(const char *text) { put(text, strlen(text)); }

/* A request, up to its line break; 0 at the end. */
static int hear(char *line, size_t size) {
    size_t at = 0;
    while (at + 1 < size && read(3, line + at, 1) == 1)
        if (line[at++] == '\n') {
            line[at] = '\0';
            return 1;
        }
    return 0;
}

static void done(uint64_t begun, uint64_t started, uint64_t ended, const char *how) {
    char line[256];
    snprintf(line, sizeof line, "done %llu %llu %llu %s\n", (unsigned long long)begun,
             (unsigned long long)started, (unsigned long long)ended, how);
    say(line);
}

static void answer(const char *mode) {
    uint64_t n = now();
    if (!strcmp(mode, "endless")) for (;;) put("xxxxxxxxxxxxxxxx", 16);
    else if (!strcmp(mode, "newlines")) for (int i = 0; i < 100000; i++) say("\n");
    else if (!strcmp(mode, "future")) done(n, n + 1000000000000u, n + 2000000000000u, "exit 0");
    else if (!strcmp(mode, "past")) done(1, 2, 3, "exit 0");
    else if (!strcmp(mode, "negative")) say("done -1 -2 -3 exit -4\n");
    else if (!strcmp(mode, "huge")) say("done 99999999999999999999999 1 1 exit 0\n");
    else if (!strcmp(mode, "order")) done(n, n - 1, n - 2, "exit 0");
    else if (!strcmp(mode, "escapes")) done(n, n, n, "trap \033[31mred\033]0;t\007\xc2\x9b");
    else if (!strcmp(mode, "exitbig")) done(n, n, n, "exit 99999999999");
    else if (!strcmp(mode, "latin")) say("done \xff\xfe\n");
    else if (!strcmp(mode, "nul")) put("done \0\0\0\n", 9);
    else if (!strcmp(mode, "close")) { shutdown(3, SHUT_RDWR); forever(); }
    else if (!strcmp(mode, "die")) _exit(3);
    else if (!strcmp(mode, "never")) forever();
    else if (!strcmp(mode, "stop")) raise(SIGSTOP);
    else if (!strcmp(mode, "ready")) say("ready\n");
    else done(n, n, n, "exit 0");
    if (!strcmp(mode, "extra")) { done(n, n, n, "exit 0"); say("rested\nrested\n"); }
}

int main(int argc, char **argv) {
    char line[4096];
    const char *mode = argc > 1 ? argv[1] : "";
    if (argc > 2 && !strcmp(argv[2], "--version")) {
        if (!strcmp(mode, "hangs")) forever();
        if (!strcmp(mode, "talks")) for (;;) puts("fake fake fake");
        puts("fake 1.0");
        return 0;
    }
    if (argc > 2 && !strcmp(argv[2], "compile")) forever();
    if (argc > 2 && !strcmp(argv[2], "cold")) return 0;
    if (!strcmp(mode, "noready")) forever();
    if (!strcmp(mode, "garbage")) { put("\x80\xff\0\033[2J garbage\n", 16); forever(); }
    if (!strcmp(mode, "eager")) say("ready\nrested\n");
    else say("ready\n");
    while (hear(line, sizeof line)) {
        if (strncmp(line, "rest", 4)) { answer(mode); continue; }
        if (!strcmp(mode, "norest")) forever();
        say("rested\n");
        if (!strcmp(mode, "late")) {
            usleep(20000);
            uint64_t n = now();
            done(n, n, n, "exit 0");
        }
    }
    return 0;
}

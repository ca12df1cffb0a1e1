/* Functions that attack what runs them, a mode each: `attack MODE TOKEN ...`. The
 * token marks its processes for the test. An attack that is refused ends with 0; one
 * that came through ends with 9 and says so on standard error. What takes memory or
 * processes stops by itself at a bound that a machine bears. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { REFUSED = 0, CAME_THROUGH = 9, STEP = 8 << 20, MOST_MEMORY = 192 << 20, MOST_OUTPUT = 48 << 20 };
static char buffer[64 << 10];

static int came_through(const char *what) {
    fprintf(stderr, "came through: %s\n", what);
    return CAME_THROUGH;
}

static void rest(void) {
    for (;;) pause();
}

static void ignore_signals(void) {
    for (int number = 1; number < 65; number++) signal(number, SIG_IGN);
}

/* Memory in pieces, each written to, until there is no more. */
static int take_memory(int flags) {
    for (size_t taken = 0; taken < MOST_MEMORY; taken += STEP) {
        char *piece = mmap(NULL, STEP, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
        if (piece == MAP_FAILED) return REFUSED;
        memset(piece, 1, STEP);
    }
    return came_through("192 MiB of memory");
}

static int take_file_in_memory(void) {
    size_t taken = 0;
    memset(buffer, 1, sizeof buffer);
    while (taken < MOST_MEMORY) {
        int file = (int)syscall(SYS_memfd_create, "attack", 0);
        if (file < 0) return REFUSED;
        /* Below the limit of the size of one file. */
        for (size_t size = 0; size < (1 << 19); size += sizeof buffer, taken += sizeof buffer)
            if (write(file, buffer, sizeof buffer) < 0) return REFUSED;
    }
    return came_through("192 MiB of files in memory");
}

static int flood(int file) {
    memset(buffer, 'x', sizeof buffer);
    for (size_t written = 0; written < MOST_OUTPUT; written += sizeof buffer)
        if (write(file, buffer, sizeof buffer) < 0) return 3;
    return 0;
}

/* Recurses until there is no stack left. */
static int recurse(volatile int depth) {
    volatile char frame[4096];
    frame[depth % 4096] = (char)depth;
    return recurse(depth + 1) + frame[0];
}

static int leave_daemon(void) {
    if (fork()) {
        usleep(100000);
        return 0;
    }
    setsid();
    if (fork()) _exit(0);
    prctl(PR_SET_PDEATHSIG, 0);
    ignore_signals();
    for (;;) pause();
}

/* A bomb that defuses itself: nothing forks after five seconds, and all end. */
static int explode(int returns) {
    struct timespec begun, t;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    if (returns && fork()) {
        usleep(100000);
        return 0;
    }
    setsid();
    do {
        fork();
        clock_gettime(CLOCK_MONOTONIC, &t);
    } while (t.tv_sec - begun.tv_sec < 5);
    _exit(0);
}

static int signal_supervisor(int number, int stays) {
    pid_t parent = getppid();
    prctl(PR_SET_PDEATHSIG, 0);
    if (parent > 0) kill(parent, number);
    if (stays) rest();
    usleep(200000);
    return 0;
}

static int count_descriptors(void) {
    int found = 0;
    for (int file = 3; file < 1024; file++)
        if (fcntl(file, F_GETFD) >= 0) fprintf(stderr, "descriptor %d ", file), found++;
    return found ? came_through("descriptors of others") : REFUSED;
}

/* Takes the supervisor's control socket and tells of an end that was none. */
static int forge(void) {
    int parent = (int)syscall(SYS_pidfd_open, getppid(), 0), taken = 0;
    for (int file = 0; parent >= 0 && file < 16; file++) {
        int stolen = (int)syscall(SYS_pidfd_getfd, parent, file, 0);
        if (stolen < 0) continue;
        taken = 1;
        static unsigned char message[96] = {0x6c, 0x63, 0x79, 0x63};
        send(stolen, message, 80, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    return taken ? came_through("the supervisor's descriptors") : REFUSED;
}

static int read_files(char **paths) {
    int found = 0;
    for (; *paths; paths++) {
        int file = open(*paths, O_RDONLY);
        if (file < 0) continue;
        if (read(file, buffer, 64) > 0) fprintf(stderr, "%s ", *paths), found++;
        close(file);
    }
    return found ? came_through("files were read") : REFUSED;
}

static int write_files(char **paths) {
    int found = 0;
    for (; *paths; paths++) {
        int file = open(*paths, O_WRONLY | O_CREAT, 0600);
        if (file < 0) continue;
        fprintf(stderr, "%s ", *paths), found++;
        close(file);
    }
    return found ? came_through("files were written") : REFUSED;
}

/* Whether an earlier invocation left a mark in shared memory. */
static int look_for_mark(const char *token) {
    char path[256];
    snprintf(path, sizeof path, "/dev/shm/%s", token);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    return file < 0 && errno == EEXIST ? came_through("the mark of an earlier invocation") : REFUSED;
}

/* Connects to 127.0.0.1:PORT and to a socket with a path. */
static int connect_out(const char *port, const char *path) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    int found = 0;
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    strncpy(local.sun_path, path, sizeof local.sun_path - 1);
    int file = socket(AF_INET, SOCK_STREAM, 0);
    if (file >= 0 && !connect(file, (void *)&address, sizeof address)) fprintf(stderr, "TCP "), found++;
    file = socket(AF_UNIX, SOCK_STREAM, 0);
    if (file >= 0 && !connect(file, (void *)&local, sizeof local)) fprintf(stderr, "socket "), found++;
    return found ? came_through("a connection") : REFUSED;
}

int main(int count, char **arguments) {
    const char *mode = count > 1 ? arguments[1] : "", *token = count > 2 ? arguments[2] : "";
    char **more = arguments + (count > 3 ? 3 : count);
#define MODE(name) if (!strcmp(mode, name))
    MODE("good") return write(1, "good\n", 5) == 5 ? 0 : 1;
    MODE("loop") for (;;) __asm__ volatile("");
    MODE("deaf") {
        ignore_signals();
        rest();
    }
    MODE("recursion") return recurse(0);
    MODE("heap") return take_memory(MAP_PRIVATE);
    MODE("shared") return take_memory(MAP_SHARED);
    MODE("memfd") return take_file_in_memory();
    MODE("stdout") return flood(1);
    MODE("stderr") return flood(2);
    MODE("close") {
        for (int file = 0; file < 1024; file++) close(file);
        return 0;
    }
    MODE("daemon") return leave_daemon();
    MODE("bomb") return explode(0);
    MODE("bomb-returns") return explode(1);
    MODE("stop-parent") return signal_supervisor(SIGSTOP, 0);
    MODE("kill-parent") return signal_supervisor(SIGKILL, 0);
    MODE("orphan") return signal_supervisor(SIGKILL, 1);
    MODE("descriptors") return count_descriptors();
    MODE("forge") return forge();
    MODE("read") return read_files(more);
    MODE("write") return write_files(more);
    MODE("mark") return look_for_mark(token);
    MODE("network") return connect_out(more[0], more[1]);
    MODE("escape") {
        const char *text = "\033[2J\033]0;title\007\xc2\x9b" "31m\xe2\x80\xae\xe2\x80\x8b\r=1+1\n";
        if (write(1, text, strlen(text)) < 0 || write(2, text, strlen(text)) < 0) return 3;
        return 1;
    }
    MODE("exit") return atoi(more[0]);
    MODE("abort") abort();
    MODE("segv") *(volatile int *)8 = 1;
    fprintf(stderr, "no mode `%s`\n", mode);
    return 2;
}

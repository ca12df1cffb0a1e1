/* The first program of a machine: runs /function with the arguments of /args
 * and the input of /stdin, sends what it writes over the serial line in frames
 * (see machine.rs, which takes them apart), and switches the machine off. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { MAX_ARGS = 1024, CHUNK = 4096 };

static int line;

static void send_all(const void *bytes, size_t size) {
    const char *at = bytes;
    while (size > 0) {
        ssize_t sent = write(line, at, size);
        if (sent <= 0) return;
        at += sent;
        size -= (size_t)sent;
    }
}

static void frame(char kind, const void *bytes, uint32_t size) {
    char header[9] = {1, 'c', 'y', 'c', kind, (char)size, (char)(size >> 8), (char)(size >> 16),
                      (char)(size >> 24)};
    send_all(header, sizeof header);
    send_all(bytes, size);
}

/* A clean end: the line is empty before the machine goes. */
static void off(void) {
    tcdrain(line);
    /* Firecracker ends at the reset that a restart makes, as QEMU does with
     * -no-reboot; neither has anything to switch power off by. */
    reboot(RB_AUTOBOOT);
    for (;;) pause();
}

static void fail(const char *what) {
    int32_t status = 127 << 8;
    frame('e', what, (uint32_t)strlen(what));
    frame('x', &status, sizeof status);
    off();
}

static char text[1 << 16];
static char *args[MAX_ARGS + 1];

static void read_args(void) {
    int file = open("/args", O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? 0 : read(file, text, sizeof text - 1);
    int count = 0;
    for (char *at = text; at < text + size && count < MAX_ARGS; at += strlen(at) + 1)
        args[count++] = at;
    if (count == 0) fail("no arguments");
}

static void start(int out, int err) {
    static char *const none[] = {NULL};
    int in = open("/stdin", O_RDONLY);
    if (in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0) _exit(127);
    for (int other = 3; other < 16; other++) close(other);
    execve("/function", args, none);
    _exit(127);
}

/* Hands on what the function writes until both its streams are closed. */
static void hand_on(int out, int err) {
    static char bytes[CHUNK];
    struct pollfd streams[2] = {{.fd = out, .events = POLLIN}, {.fd = err, .events = POLLIN}};
    while (streams[0].fd >= 0 || streams[1].fd >= 0) {
        if (poll(streams, 2, -1) < 0) continue;
        for (int i = 0; i < 2; i++) {
            if (streams[i].fd < 0 || !streams[i].revents) continue;
            ssize_t size = read(streams[i].fd, bytes, sizeof bytes);
            if (size <= 0) streams[i].fd = -1;
            else frame(i == 0 ? 'o' : 'e', bytes, (uint32_t)size);
        }
    }
}

int main(void) {
    struct termios raw;
    int out[2], err[2], status = 0;
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    line = open("/dev/ttyS0", O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (line >= 0 && tcgetattr(line, &raw) == 0) {
        cfmakeraw(&raw);
        tcsetattr(line, TCSANOW, &raw);
    }
    umount("/dev");
    read_args();
    if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) fail("no pipes");
    pid_t pid = fork();
    if (pid < 0) fail("no process");
    if (pid == 0) start(out[1], err[1]);
    close(out[1]);
    close(err[1]);
    hand_on(out[0], err[0]);
    waitpid(pid, &status, 0);
    int32_t told = status;
    frame('x', &told, sizeof told);
    off();
}

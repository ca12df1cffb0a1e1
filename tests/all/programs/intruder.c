/* Tries to get at its parent and at process 1 in every way. Says on standard
 * error what it could do, and exits with 9 then. A sandbox may let it open the
 * files that it has itself, and see an environment without secrets. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static int done;

static void tell(const char *what, int pid) {
    fprintf(stderr, "%s %s; ", what, pid == 1 ? "process 1" : "parent");
    done = 1;
}

static int open_file(const char *name, int pid, int flags) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return open(path, flags);
}

static void take_memory(int pid, int flags) {
    int file = open_file("mem", pid, flags);
    if (file >= 0) tell("opened memory of", pid), close(file);
}

/* The number that a report must bear. */
static void read_token(int pid) {
    static char text[1 << 16];
    int file = open_file("environ", pid, O_RDONLY);
    if (file < 0) return;
    ssize_t size = read(file, text, sizeof text - 1);
    for (ssize_t at = 0; at + 17 < size; at++)
        if (!memcmp(text + at, "CYCLOMETER_TOKEN=", 17) && text[at + 17])
            tell("read the token of", pid);
    close(file);
}

static void take_file(int pid, int number) {
    char name[16], path[64], target[256];
    snprintf(name, sizeof name, "fd/%d", number);
    int file = open_file(name, pid, O_WRONLY);
    if (file < 0) return;
    close(file);
    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, number);
    ssize_t length = readlink(path, target, sizeof target - 1);
    target[length > 0 ? length : 0] = 0;
    if (strcmp(target, "/dev/null") && strncmp(target, "/.cyclometer/", 13))
        fprintf(stderr, "%s: ", target), tell("opened a file of", pid);
}

static void attack(int pid) {
    char bytes[128] = {0};
    struct iovec ours = {bytes, sizeof bytes}, theirs = {(void *)0x400000, sizeof bytes};
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) tell("traced", pid), ptrace(PTRACE_DETACH, pid, 0, 0);
    if (process_vm_readv(pid, &ours, 1, &theirs, 1, 0) > 0) tell("read memory of", pid);
    if (process_vm_writev(pid, &ours, 1, &theirs, 1, 0) > 0) tell("wrote memory of", pid);
    take_memory(pid, O_RDWR);
    take_memory(pid, O_RDONLY);
    read_token(pid);
    int handle = (int)syscall(SYS_pidfd_open, pid, 0);
    for (int n = 0; n < 200; n++) {
        take_file(pid, n);
        if (handle >= 0 && syscall(SYS_pidfd_getfd, handle, n, 0) >= 0) tell("took a file of", pid);
    }
    if (pid == 1) return; /* the kernel keeps signals from it, and says nothing */
    for (int signal = SIGSTOP, n = 0; n < 2; n++, signal = SIGKILL)
        if (kill(pid, signal) == 0) tell(signal == SIGKILL ? "killed" : "stopped", pid);
}

int main(void) {
    for (int n = 3; n < 1024; n++)
        if (fcntl(n, F_GETFD) >= 0) fprintf(stderr, "file %d is open; ", n), done = 1;
    attack(1);
    if (getppid() > 1) attack(getppid());
    return done ? 9 : 0;
}

/* Tries to get at its parent and at process 1 in every way. Says on standard
 * error what it could do, and exits with 9 then. */
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

static void open_file(const char *name, int pid, int flags) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int file = open(path, flags);
    if (file >= 0) tell(name, pid), close(file);
}

static void attack(int pid) {
    char bytes[128] = {0};
    struct iovec ours = {bytes, sizeof bytes}, theirs = {(void *)0x400000, sizeof bytes};
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) tell("traced", pid), ptrace(PTRACE_DETACH, pid, 0, 0);
    if (process_vm_readv(pid, &ours, 1, &theirs, 1, 0) > 0) tell("read memory of", pid);
    if (process_vm_writev(pid, &ours, 1, &theirs, 1, 0) > 0) tell("wrote memory of", pid);
    open_file("mem", pid, O_RDWR);
    open_file("mem", pid, O_RDONLY);
    open_file("environ", pid, O_RDONLY);
    int handle = (int)syscall(SYS_pidfd_open, pid, 0);
    for (int n = 0; n < 200; n++) {
        char name[16];
        snprintf(name, sizeof name, "fd/%d", n);
        open_file(name, pid, O_WRONLY);
        if (handle >= 0 && syscall(SYS_pidfd_getfd, handle, n, 0) >= 0) tell("took a file of", pid);
    }
    if (pid == 1) return; /* the kernel keeps signals from it, and says nothing */
    for (int signal = SIGSTOP, n = 0; n < 2; n++, signal = SIGKILL)
        if (kill(pid, signal) == 0) tell(signal == SIGKILL ? "killed" : "stopped", pid);
}

int main(void) {
    attack(1);
    if (getppid() > 1) attack(getppid());
    for (int n = 3; n < 1024; n++)
        if (fcntl(n, F_GETFD) >= 0) fprintf(stderr, "file %d is open; ", n), done = 1;
    return done ? 9 : 0;
}

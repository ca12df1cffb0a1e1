/* Attacks of a native function on its supervisor and its machine, one a mode. Each
 * gives up by itself after some time, in case nothing stops it. Exit status 9: an
 * attack went through, standard error says which. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LIFE = 40 }; /* seconds */
static time_t end;

static int is_over(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec >= end;
}

static void hop(int by_vfork) {
    prctl(PR_SET_PDEATHSIG, 0);
    setsid();
    while (!is_over()) {
        pid_t pid = by_vfork ? (pid_t)syscall(SYS_vfork) : fork();
        if (pid > 0) _exit(0);
    }
    _exit(0);
}

static void stay(void) {
    prctl(PR_SET_PDEATHSIG, 0);
    alarm(LIFE);
    for (;;) pause();
}

static int found;
static void went_through(const char *what, int pid) {
    fprintf(stderr, "%s of %d; ", what, pid);
    found = 9;
}

/* The parent of a process of the program under test, 0 if there is none: nobody
 * else is attacked. */
static int find_parent(int pid) {
    char path[64], text[512] = "", *name, *behind;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int file = open(path, O_RDONLY);
    if (file < 0) return 0;
    if (read(file, text, sizeof text - 1) < 0) text[0] = 0;
    close(file);
    name = strchr(text, '(');
    behind = strrchr(text, ')');
    if (!name || !behind || strncmp(name, "(cyclometer", 11)) return 0;
    return atoi(behind + 4);
}

/* Whatever must not be had of another process. */
static void reach(int pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int file = open(path, O_RDWR);
    if (file >= 0) went_through("memory", pid);
    char target[64];
    snprintf(path, sizeof path, "/proc/%d/fd/0", pid);
    if (readlink(path, target, sizeof target) > 0) went_through("the name of a descriptor", pid);
    snprintf(path, sizeof path, "/proc/%d/environ", pid);
    file = open(path, O_RDONLY);
    if (file >= 0 && read(file, path, 1) > 0) went_through("environment", pid);
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) went_through("ptrace", pid);
    int process = (int)syscall(434, pid, 0);
    for (int fd = 0; process >= 0 && fd < 64; fd++)
        if (syscall(438, process, fd, 0) >= 0) {
            went_through("a descriptor", pid);
            break;
        }
}

/* Sends an end in the launcher's name, as far as its socket can be had. */
static void forge(void) {
    unsigned char message[104] = {0};
    unsigned magic = 0x6379636c, kind = 2;
    memcpy(message, &magic, 4);
    memcpy(message + 4, &kind, 4);
    int process = (int)syscall(434, getppid(), 0);
    int control = (int)syscall(438, process, 0, 0);
    if (control < 0) return;
    went_through("the control socket", getppid());
    /* As it is now, and as it was before messages had numbers. */
    send(control, message, sizeof message, 0);
    memset(message + 4, 0, 4);
    send(control, message, 80, 0);
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    end = t.tv_sec + LIFE;
#define MODE(name) if (!strcmp(mode, name))
    MODE("fork-return") {
        if (fork() == 0) {
            setsid();
            while (!is_over()) fork();
            _exit(0);
        }
        usleep(200000);
    }
    MODE("fork") while (!is_over()) fork();
    MODE("comet") {
        if (fork() == 0) hop(0);
        usleep(200000);
    }
    MODE("comets") {
        for (int i = 0; i < 20; i++)
            if (fork() == 0) hop(0);
        usleep(200000);
    }
    MODE("comet-vfork") {
        if (fork() == 0) hop(1);
        usleep(200000);
    }
    MODE("comet-stay") {
        if (fork() == 0) hop(0);
        stay();
    }
    MODE("daemon") {
        if (fork()) {
            usleep(100000);
            return 0;
        }
        setsid();
        if (fork()) _exit(0);
        for (int i = 1; i < 64; i++) signal(i, SIG_IGN);
        signal(SIGALRM, SIG_DFL);
        stay();
    }
    MODE("strays") {
        for (int i = 0; i < 5; i++)
            if (fork() == 0) {
                setsid();
                stay();
            }
        usleep(100000);
    }
    MODE("kill-all") kill(-1, SIGKILL);
    MODE("kill-parent") {
        kill(getppid(), SIGKILL);
        usleep(100000);
    }
    MODE("kill-parent-stay") {
        prctl(PR_SET_PDEATHSIG, 0);
        kill(getppid(), SIGKILL);
        stay();
    }
    MODE("stop-parent") {
        kill(getppid(), SIGSTOP);
        usleep(100000);
    }
    MODE("reach") {
        /* The launcher, what waits for it, the recorder. */
        for (int pid = getppid(), above; (above = find_parent(pid)) > 0; pid = above) reach(pid);
        reach(getppid());
    }
    MODE("tamper") {
        struct rlimit none = {0, 0};
        prlimit(getppid(), RLIMIT_NOFILE, &none, NULL);
        prlimit(getppid(), RLIMIT_NPROC, &none, NULL);
        setpriority(PRIO_PROCESS, (id_t)getppid(), 19);
    }
    MODE("forge") forge();
    MODE("descriptors") {
        /* Those above the standard ones, but for what the test itself uses. */
        for (int fd = 3; fd < 1024; fd++)
            if (fcntl(fd, F_GETFD) >= 0) went_through("a descriptor", fd);
    }
    MODE("root") {
        /* What root may not do here: leave its group, raise a limit, signal. */
        int file = open("/sys/fs/cgroup/pids/cgroup.procs", O_WRONLY);
        if (file >= 0) went_through("the group of processes", 0);
        file = open("/proc/sys/kernel/core_pattern", O_WRONLY);
        if (file >= 0) went_through("the kernel's settings", 0);
        if (syscall(SYS_reboot, 0, 0, 0, 0) == 0 || errno != EPERM) went_through("reboot", 0);
    }
    return found;
}

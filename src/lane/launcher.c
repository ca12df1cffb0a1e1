/* cyclometer's launcher: a small process that starts functions and reports
 * how they ended.
 *
 * Why a process of its own, and in C:
 *  - exec hands the old image's high-water mark on to the new one, so a child
 *    of a large process reports that process's memory as its own. This one
 *    stays below 1 MiB, which is then the floor of every reading.
 *  - fork and exec cost what the parent's size makes them cost. Timed here,
 *    the numbers hold no part of cyclometer.
 *  - perf counters opened on it with `inherit` and `enable_on_exec` are cloned
 *    into each child and switched on by its exec: nothing is attached late.
 *  - when cyclometer dies, by whatever signal, the control socket hangs up,
 *    and everything started here is killed and reaped.
 *
 * Protocol, over a SOCK_SEQPACKET socket at descriptor 0, one function at a
 * time: `struct request` + the NUL-terminated strings (path, argv, environment) with
 * the descriptors in SCM_RIGHTS (exec, stdin, stdout, stderr and, optionally,
 * one that the child finds at 3); the answers are `struct started` and, when
 * the function has ended, `struct ended`. A message of one byte while a
 * function runs kills it. Mirrored in launcher.rs: change both. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { OOM_KEEP = -10000 };
enum { MAGIC = 0x6379636c, MAX_FDS = 5, MAX_ARGS = 1024, MAX_ENV = 128, CONTROL = 0 };

/* Stages of a failed start, for the message. */
enum { STAGE_OK, STAGE_REQUEST, STAGE_FORK, STAGE_SETUP, STAGE_EXEC };

/* Why a function ended, beside its wait status. */
enum { END_ITSELF, END_TIMEOUT, END_CANCELLED };

struct request {
    uint32_t magic, strings, fds, argc;
    uint64_t timeout_ns;  /* 0: none */
    uint64_t data_limit;  /* RLIMIT_DATA in bytes, 0: none */
    uint64_t file_limit;  /* RLIMIT_FSIZE in bytes, 0: none */
    int32_t cpu;          /* -1: any */
    uint32_t by_path;     /* 1: execve(path), 0: the first descriptor */
    uint32_t envc;        /* strings of the environment, behind the arguments */
    int32_t oom_score;    /* what the child's oom_score_adj is set to, OOM_KEEP: left alone */
};

struct started {
    uint32_t magic, stage;
    int32_t error, pid;
    /* CLOCK_MONOTONIC: before vfork, and in the child right before its exec. */
    uint64_t requested_ns, executed_ns;
    uint64_t used_ns; /* CPU time of the child until then */
};

struct ended {
    uint32_t magic;
    int32_t status; /* as of wait(2) */
    uint32_t why, stray;
    uint64_t ended_ns;
    uint64_t user_us, system_us, peak_kib;
    uint64_t minor_faults, major_faults, voluntary_switches, involuntary_switches;
    uint64_t family; /* 1: the function had other processes */
};

static uint64_t read_clock(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now(void) { return read_clock(CLOCK_MONOTONIC); }

static void send_message(const void *message, size_t size) {
    ssize_t sent;
    do sent = send(CONTROL, message, size, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
}

static int message[1 << 14]; /* 64 KiB, aligned */
static char *argv_of[MAX_ARGS + 1];
static char *envp_of[MAX_ENV + 1];
static int fds[MAX_FDS];

/* Receives a request into `message` and its descriptors into `fds` (which are
 * close-on-exec). Returns the number of bytes, 0 on hang-up, -1 on nonsense. */
static ssize_t receive(uint32_t *count) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof fds)];
    } control;
    struct iovec part = {message, sizeof message - 1};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1,
                            .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t size;
    *count = 0;
    do size = recvmsg(CONTROL, &header, MSG_CMSG_CLOEXEC);
    while (size < 0 && errno == EINTR);
    if (size <= 0) return 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        *count = (uint32_t)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(c), *count * sizeof(int));
    }
    return header.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? -1 : size;
}

/* Takes `count` strings; NULL if there are fewer, else what follows them. */
static char *take(char *text, const char *end, uint32_t count, char **into) {
    for (uint32_t i = 0; i < count; i++) {
        if (text >= end) return NULL;
        into[i] = text;
        text += strlen(text) + 1;
    }
    into[count] = NULL;
    return text;
}

/* Splits the strings behind the request into path, argv and environment. */
static char *split(const struct request *r, ssize_t size) {
    char *text = (char *)message + sizeof *r, *end = (char *)message + size;
    char *path = text;
    if (size < (ssize_t)sizeof *r || r->magic != MAGIC || r->argc == 0 || r->argc > MAX_ARGS ||
        r->envc > MAX_ENV || r->strings != (uint32_t)(end - text) || r->strings == 0 || end[-1] != '\0')
        return NULL;
    text = take(text + strlen(text) + 1, end, r->argc, argv_of);
    return text && take(text, end, r->envc, envp_of) ? path : NULL;
}

static int limit(int what, uint64_t value) {
    struct rlimit both = {value, value};
    return value ? setrlimit(what, &both) : 0;
}

/* In a control group the kernel kills when memory runs out. Not us, who have to
 * tell of it: we were exempted, and the child takes that back. */
static int set_oom_score(int32_t score) {
    char text[8], *end = text + sizeof text, *at = end;
    uint32_t rest = (uint32_t)(score < 0 ? -score : score);
    do *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (score < 0) *--at = '-';
    int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (file < 0) return errno;
    int error = write(file, at, (size_t)(end - at)) < 0 ? errno : 0;
    close(file);
    return error;
}

/* In the child, between vfork and exec: system calls only. Returns the errno
 * of the first that failed. */
static int set_up(const struct request *r, uint32_t count, int cpu_fits) {
    struct rlimit none = {0, 0};
    sigset_t empty;
    for (uint32_t i = 1; i < count; i++)
        if (dup2(fds[i], (int)i - 1) < 0) return errno;
    if (setsid() < 0 || setrlimit(RLIMIT_CORE, &none) < 0) return errno;
    if (limit(RLIMIT_DATA, r->data_limit) < 0 || limit(RLIMIT_FSIZE, r->file_limit) < 0) return errno;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) return errno;
    if (r->cpu >= 0) {
        cpu_set_t one;
        CPU_ZERO(&one);
        if (!cpu_fits) return EINVAL;
        CPU_SET(r->cpu, &one);
        if (sched_setaffinity(0, sizeof one, &one) < 0) return errno;
    }
    if (r->oom_score != OOM_KEEP) {
        int error = set_oom_score(r->oom_score);
        if (error) return error;
    }
    if (chdir("/") < 0) return errno;
    sigemptyset(&empty);
    return sigprocmask(SIG_SETMASK, &empty, NULL) < 0 ? errno : 0;
}

/* Starts the function. The child itself takes the time at which it calls exec:
 * vfork returns here when exec has let go of our memory, but when we run again
 * after that is the scheduler's choice, and on a busy CPU that is after a short
 * function has ended. */
static pid_t start(const struct request *r, char *path, uint32_t count, struct started *answer) {
    /* The child shares our memory. */
    volatile int stage = STAGE_SETUP, error = 0;
    volatile uint64_t executed = 0, used = 0;
    answer->requested_ns = now();
    pid_t pid = vfork();
    if (pid == 0) {
        error = set_up(r, count, r->cpu < CPU_SETSIZE);
        if (error == 0) {
            stage = STAGE_EXEC;
            used = read_clock(CLOCK_PROCESS_CPUTIME_ID);
            executed = now(); /* before exec: enable_on_exec counts none of this */
            if (r->by_path) execve(path, argv_of, envp_of);
            else syscall(SYS_execveat, fds[0], "", argv_of, envp_of, AT_EMPTY_PATH);
            error = errno;
        }
        _exit(127);
    }
    answer->executed_ns = executed;
    answer->used_ns = used;
    if (pid < 0) {
        answer->stage = STAGE_FORK;
        answer->error = errno;
    } else if (error) {
        answer->stage = (uint32_t)stage;
        answer->error = error;
        waitpid(pid, NULL, 0);
        pid = -1;
    }
    answer->pid = pid;
    return pid;
}

/* Adds the kernel's account of an ended process, which has in it the accounts
 * of the children that it waited for. */
static void account(struct ended *answer, const struct rusage *used) {
    answer->user_us += (uint64_t)used->ru_utime.tv_sec * 1000000u + (uint64_t)used->ru_utime.tv_usec;
    answer->system_us += (uint64_t)used->ru_stime.tv_sec * 1000000u + (uint64_t)used->ru_stime.tv_usec;
    if (answer->peak_kib < (uint64_t)used->ru_maxrss) answer->peak_kib = (uint64_t)used->ru_maxrss;
    answer->minor_faults += (uint64_t)used->ru_minflt;
    answer->major_faults += (uint64_t)used->ru_majflt;
    answer->voluntary_switches += (uint64_t)used->ru_nvcsw;
    answer->involuntary_switches += (uint64_t)used->ru_nivcsw;
}

/* Whether an ended process that nobody has waited for yet had children that it
 * waited for: each had page faults, which its own account keeps apart. */
static int had_children(pid_t pid) {
    char path[32] = "/proc/", number[16], text[1024], *at = path + 6, *end;
    int digits = 0, field;
    do number[digits++] = (char)('0' + pid % 10);
    while (pid /= 10);
    while (digits) *at++ = number[--digits];
    memcpy(at, "/stat", sizeof "/stat");
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    if (size <= 0) return 0;
    text[size] = '\0';
    /* The name may hold anything but ends with the last bracket. Behind it the
     * state is field 3; minor faults of children waited for are field 11. */
    end = strrchr(text, ')');
    for (field = 2; end && field < 11; field++) end = strchr(end + 1, ' ');
    return end && !(end[1] == '0' && end[2] == ' ');
}

/* Reaps the function, and kills and reaps all that it left running: its session,
 * and what left the session and fell to us as the subreaper. What had ended by
 * itself is accounted for, and is no stray. */
static void reap_all(pid_t pid, struct ended *answer) {
    static char children[4096];
    struct rusage used;
    int status;
    pid_t dead;
    while ((dead = wait4(-1, &status, WNOHANG, &used)) > 0) {
        account(answer, &used);
        if (dead == pid) answer->status = status;
        else answer->family = 1;
    }
    if (dead < 0) return;
    answer->family = 1;
    kill(-pid, SIGKILL);
    for (;;) {
        int file = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
        ssize_t size = file < 0 ? 0 : read(file, children, sizeof children - 1);
        if (file >= 0) close(file);
        pid_t pid = 0;
        for (ssize_t i = 0; i < size; i++) {
            if (children[i] >= '0' && children[i] <= '9') pid = pid * 10 + (children[i] - '0');
            else if (pid) { kill(pid, SIGKILL); pid = 0; }
        }
        if (pid) kill(pid, SIGKILL);
        if (wait4(-1, NULL, 0, &used) < 0) return;
        account(answer, &used);
        answer->stray++;
    }
}

/* Whether the function has ended; it is left to be waited for. */
static int has_ended(pid_t pid) {
    siginfo_t info = {.si_pid = 0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == pid;
}

/* Waits for the function, its timeout, a word to kill it, or a hang-up. */
static void wait_for(pid_t pid, uint64_t deadline, int signals) {
    struct ended answer = {.magic = MAGIC, .why = END_ITSELF};
    struct pollfd watch[2] = {{.fd = CONTROL, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    int hung_up = 0;
    while (!has_ended(pid)) {
        struct timespec left = {0, 0}, *timeout = NULL;
        if (deadline && answer.why == END_ITSELF) {
            uint64_t t = now(), rest = t < deadline ? deadline - t : 0;
            left.tv_sec = (time_t)(rest / 1000000000u);
            left.tv_nsec = (long)(rest % 1000000000u);
            timeout = &left;
        }
        int ready = ppoll(watch, 2, timeout, NULL);
        if (ready == 0) {
            answer.why = END_TIMEOUT;
            kill(pid, SIGKILL);
            kill(-pid, SIGKILL);
        }
        if (ready > 0 && watch[0].revents) {
            char word;
            hung_up = recv(CONTROL, &word, 1, MSG_DONTWAIT) == 0;
            if (answer.why == END_ITSELF) answer.why = END_CANCELLED;
            kill(pid, SIGKILL);
            kill(-pid, SIGKILL);
            if (hung_up) watch[0].fd = -1;
        }
        if (ready > 0 && watch[1].revents) {
            struct signalfd_siginfo info;
            if (read(signals, &info, sizeof info) < 0) { /* nothing to take: fine */ }
        }
    }
    answer.ended_ns = now();
    answer.family = (uint64_t)had_children(pid);
    reap_all(pid, &answer);
    send_message(&answer, sizeof answer);
    if (hung_up) _exit(0);
}

int main(void) {
    sigset_t block;
    sigemptyset(&block);
    sigaddset(&block, SIGCHLD);
    /* Away from the terminal's Ctrl-C and Ctrl-Z: cyclometer decides. */
    setsid();
    fcntl(CONTROL, F_SETFD, FD_CLOEXEC);
    prctl(PR_SET_NAME, "cyclometer-run");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (sigprocmask(SIG_BLOCK, &block, NULL) < 0) return 1;
    int signals = signalfd(-1, &block, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0) return 1;
    for (;;) {
        uint32_t count;
        ssize_t size = receive(&count);
        if (size == 0) return 0;
        if (size == 1) continue; /* a word to kill that came after the end */
        const struct request *r = (const struct request *)(const void *)message;
        struct started answer = {.magic = MAGIC, .stage = STAGE_REQUEST, .error = EINVAL, .pid = -1};
        char *path = size < 0 ? NULL : split(r, size);
        pid_t pid = -1;
        if (path && count == r->fds && count >= 4) {
            answer.stage = STAGE_OK;
            answer.error = 0;
            pid = start(r, path, count, &answer);
        }
        for (uint32_t i = 0; i < count; i++) close(fds[i]);
        send_message(&answer, sizeof answer);
        if (pid > 0) wait_for(pid, r->timeout_ns ? answer.executed_ns + r->timeout_ns : 0, signals);
    }
}

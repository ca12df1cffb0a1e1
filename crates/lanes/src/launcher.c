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
 * The fence: where the kernel lets it, the launcher is process 1 of a PID
 * namespace, for an ordinary user inside of a user namespace. A second process
 * stays outside to be waited for. What the first starts can then neither see
 * nor signal anything else; SIGKILL and SIGSTOP from inside do nothing to
 * process 1; orphans fall to it; one kill(-1) ends all at once, however fast
 * they fork; and when it dies, the kernel ends them all. It is made once: an
 * invocation costs nothing more. In any case the launcher is not dumpable while
 * something runs (no ptrace, no pidfd_getfd, no /proc/PID/mem), what it starts
 * has no descriptors but those it was given, and its capabilities are bounded.
 * Where there is no namespace, what is left of a function is stopped and then
 * killed one by one, and falls to the second process if the first was killed.
 *
 * Protocol, over a SOCK_SEQPACKET socket at descriptor 0, one function at a
 * time: first a `struct hello`; then, for each `struct request` + the
 * NUL-terminated strings (path, argv, environment, the folder to start in) with the descriptors in
 * SCM_RIGHTS (exec, stdin, stdout, stderr and those that the child finds from 3
 * on), `struct started` and, when the function has ended, `struct ended`. Both
 * repeat the request's number, which nobody can guess. Credentials
 * come with each message: the kernel's word for who sent it, or, with `started`,
 * for which process it tells of. A message of one byte while a function runs
 * kills it. Mirrored in launcher.rs: change both.
 *
 * Arguments: the capabilities that what is started may keep, as a hexadecimal
 * mask, `fenced` or `plain` (no namespaces), and the soft and the hard limit of open
 * files of what is started, or two zeros where it is to have ours. Our own is that of
 * cyclometer, which raised it; nobody changes it once we run. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Newer than some C libraries; numbered alike on all architectures. */
enum { CALL_pidfd_open = 434, CALL_close_range = 436, CALL_mount_setattr = 442 };
enum { CLOSE_ON_EXEC = 1 << 2 };   /* CLOSE_RANGE_CLOEXEC */
enum { RECURSIVELY = 0x8000 };     /* AT_RECURSIVE */
struct mount_attributes { uint64_t set, clear, propagation, user_namespace; };

enum { OOM_KEEP = -10000 };
enum { MAGIC = 0x6379636c, MAX_FDS = 8, MAX_ARGS = 1024, MAX_ENV = 128, CONTROL = 0 };

/* Kinds of answers. */
enum { HELLO, STARTED, ENDED };

/* Of the fence: what there is of it. */
enum {
    FENCE_PIDS = 1,       /* a PID namespace */
    FENCE_USER = 2,       /* inside of a user namespace */
    FENCE_PROC = 4,       /* with a /proc of its own */
    FENCE_BOUNDED = 8,    /* capabilities are bounded */
    FENCE_BROKEN = 16     /* half made: start another without one */
};

/* What else is to be told of an end; the launcher is then of no more use. */
enum {
    TROUBLE_UNENDED = 1,  /* some were killed and did not go */
    TROUBLE_TAMPERED = 2  /* somebody changed our limits or our place in the schedule */
};

/* Longest time that killed processes may take to go. */
#define REAP_NS 5000000000u
/* Most ended processes that are waited for in a row. */
enum { AT_ONCE = 1024 };
/* Longest time that the launcher may take to end after a hang-up, before the
 * process outside kills it. */
enum { HANG_UP_MS = 2000 };

/* Stages of a failed start, for the message. */
enum { STAGE_OK, STAGE_REQUEST, STAGE_FORK, STAGE_SETUP, STAGE_EXEC, STAGE_DATA, STAGE_FILE, STAGE_PROCESSES, STAGE_FOLDER };

/* Why a function ended, beside its wait status. */
enum { END_ITSELF, END_TIMEOUT, END_CANCELLED };

struct hello {
    uint32_t magic, kind, fence;
    int32_t error;        /* why there is no PID namespace */
};

struct request {
    uint32_t magic, strings, fds, argc;
    uint64_t number;      /* repeated in the answers */
    uint64_t timeout_ns;  /* 0: none */
    uint64_t data_limit;  /* RLIMIT_DATA in bytes, 0: none */
    uint64_t file_limit;  /* RLIMIT_FSIZE in bytes, 0: none */
    uint64_t process_limit; /* RLIMIT_NPROC, 0: none */
    int32_t cpu;          /* -1: any */
    uint32_t by_path;     /* 1: execve(path), 0: the first descriptor */
    uint32_t envc;        /* strings of the environment, behind the arguments */
    int32_t oom_score;    /* what the child's oom_score_adj is set to, OOM_KEEP: left alone */
};

struct started {
    uint32_t magic, kind;
    uint64_t number;
    uint32_t stage;
    int32_t error;
    int32_t pid;          /* as it is called in here */
    uint32_t unused;
    /* CLOCK_MONOTONIC: before vfork, and in the child right before its exec. */
    uint64_t requested_ns, executed_ns;
    uint64_t used_ns; /* CPU time of the child until then */
};

struct ended {
    uint32_t magic, kind;
    uint64_t number;
    int32_t status; /* as of wait(2) */
    uint32_t why, stray;
    uint32_t trouble; /* TROUBLE_... */
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

/* What there is of the fence. */
static uint32_t fence;

/* Sends a message that tells of a process: whoever takes it gets that process'
 * id as it is called there. The kernel lets process 1 speak of those in its
 * namespace; others name themselves, and the id in their own words. */
static void send_message(void *message, size_t size, pid_t about) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
    } control = {.bytes = {0}};
    struct iovec part = {message, size};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1,
                            .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    struct ucred who = {.pid = about, .uid = getuid(), .gid = getgid()};
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_CREDENTIALS;
    c->cmsg_len = CMSG_LEN(sizeof who);
    memcpy(CMSG_DATA(c), &who, sizeof who);
    ssize_t sent;
    do sent = sendmsg(CONTROL, &header, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
}

static int message[1 << 14]; /* 64 KiB, aligned */
static char *argv_of[MAX_ARGS + 1];
static char *envp_of[MAX_ENV + 1];
static char *start_folder[2];
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

/* Splits the strings behind the request into path, argv, environment and start folder. */
static char *split(const struct request *r, ssize_t size) {
    char *text = (char *)message + sizeof *r, *end = (char *)message + size;
    char *path = text;
    if (size < (ssize_t)sizeof *r || r->magic != MAGIC || r->argc == 0 || r->argc > MAX_ARGS ||
        r->envc > MAX_ENV || r->strings != (uint32_t)(end - text) || r->strings == 0 || end[-1] != '\0')
        return NULL;
    text = take(text + strlen(text) + 1, end, r->argc, argv_of);
    text = text ? take(text, end, r->envc, envp_of) : NULL;
    return text && take(text, end, 1, start_folder) ? path : NULL;
}

/* Limit of open files of what is started; of no use if its hard one is 0. */
static struct rlimit open_files;

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

/* Lets exec close all descriptors from `first` on. All that we opened are closed
 * by it anyway, and of those of our caller we have kept none. */
static void close_others(int first) {
    if (syscall(CALL_close_range, first, ~0u, CLOSE_ON_EXEC) == 0) return;
    for (int fd = first; fd < 256; fd++) fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* In the child: sets its limits. Returns the stage that failed, with its errno. */
static int set_limits(const struct request *r) {
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) < 0) return STAGE_SETUP;
    if (open_files.rlim_max && setrlimit(RLIMIT_NOFILE, &open_files) < 0) return STAGE_SETUP;
    if (limit(RLIMIT_DATA, r->data_limit) < 0) return STAGE_DATA;
    if (limit(RLIMIT_FSIZE, r->file_limit) < 0) return STAGE_FILE;
    return limit(RLIMIT_NPROC, r->process_limit) < 0 ? STAGE_PROCESSES : STAGE_OK;
}

/* In the child, between vfork and exec: system calls only. Returns the errno
 * of the first that failed. */
static int set_up(const struct request *r, uint32_t count, int cpu_fits, volatile int *stage) {
    sigset_t empty;
    for (uint32_t i = 1; i < count; i++)
        if (dup2(fds[i], (int)i - 1) < 0) return errno;
    close_others((int)count - 1);
    if (setsid() < 0) return errno;
    int failed = set_limits(r);
    if (failed) {
        *stage = failed;
        return errno;
    }
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
    if (chdir(start_folder[0]) < 0) {
        *stage = STAGE_FOLDER;
        return errno;
    }
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
    /* From here on until all is reaped; exec makes the child dumpable again. */
    prctl(PR_SET_DUMPABLE, 0);
    pid_t pid = vfork();
    if (pid == 0) {
        /* Out of the way of the descriptors that the child is given. */
        int program = r->by_path ? -1 : fcntl(fds[0], F_DUPFD_CLOEXEC, 32);
        error = !r->by_path && program < 0 ? errno : set_up(r, count, r->cpu < CPU_SETSIZE, &stage);
        if (error == 0) {
            stage = STAGE_EXEC;
            used = read_clock(CLOCK_PROCESS_CPUTIME_ID);
            executed = now(); /* before exec: enable_on_exec counts none of this */
            if (r->by_path) execve(path, argv_of, envp_of);
            else syscall(SYS_execveat, program, "", argv_of, envp_of, AT_EMPTY_PATH);
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
    if (pid < 0) prctl(PR_SET_DUMPABLE, 1);
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

/* Writes `/proc/NUMBER` and `rest`, with the zero behind it. */
static void write_path(char *at, const char *folder, uint32_t number, const char *rest) {
    char digits[16];
    int count = 0;
    for (; *folder; folder++) *at++ = *folder;
    do digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count) *at++ = digits[--count];
    do *at++ = *rest;
    while (*rest++);
}

static ssize_t read_text(const char *path, char *text, size_t size) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return -1;
    ssize_t got = read(file, text, size - 1);
    close(file);
    text[got > 0 ? got : 0] = '\0';
    return got;
}

/* The id of a process in the words of the /proc that is mounted, which is that
 * of another namespace where we could not mount our own. */
static uint32_t find_shown_pid(pid_t pid) {
    char path[48], text[512], *at;
    if (!(fence & FENCE_PIDS) || fence & FENCE_PROC) return (uint32_t)pid;
    int process = (int)syscall(CALL_pidfd_open, pid, 0);
    if (process < 0) return 0;
    write_path(path, "/proc/self/fdinfo/", (uint32_t)process, "");
    ssize_t size = read_text(path, text, sizeof text);
    close(process);
    at = size > 0 ? strstr(text, "\nPid:\t") : NULL;
    return at ? (uint32_t)strtoul(at + 6, NULL, 10) : 0;
}

/* Whether an ended process that nobody has waited for yet had children that it
 * waited for: each had page faults, which its own account keeps apart. */
static int had_children(pid_t pid) {
    char path[48], text[1024], *end;
    int field;
    write_path(path, "/proc/", find_shown_pid(pid), "/stat");
    if (read_text(path, text, sizeof text) <= 0) return 0;
    /* The name may hold anything but ends with the last bracket. Behind it the
     * state is field 3; minor faults of children waited for are field 11. */
    end = strrchr(text, ')');
    for (field = 2; end && field < 11; field++) end = strchr(end + 1, ' ');
    return end && !(end[1] == '0' && end[2] == ' ');
}

/* State and parent of a process; 0 for one that is not there. */
static pid_t find_parent(pid_t pid, char *state) {
    char path[32], text[512], *end;
    write_path(path, "/proc/", (uint32_t)pid, "/stat");
    if (read_text(path, text, sizeof text) <= 0 || !(end = strrchr(text, ')')) || strlen(end) < 5) return 0;
    if (state) *state = end[2];
    return (pid_t)strtol(end + 4, NULL, 10);
}

/* Sends a signal to all that descend from us. Returns how many of them were still
 * able to run. The folder is read piece by piece, and shows what is new. */
static int signal_descendants(int signal) {
    struct entry { uint64_t inode; int64_t offset; uint16_t size; uint8_t type; char name[]; };
    union { struct entry first; char bytes[256]; } buffer;
    int running = 0, folder = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    long size;
    pid_t self = getpid();
    while (folder >= 0 && (size = syscall(SYS_getdents64, folder, buffer.bytes, sizeof buffer.bytes)) > 0) {
        for (long at = 0; at < size;) {
            const struct entry *it = (const void *)(buffer.bytes + at);
            pid_t pid = (pid_t)strtol(it->name, NULL, 10), above = pid;
            char state = 'Z';
            at += it->size;
            if (pid <= 0 || pid == self) continue;
            above = find_parent(pid, &state);
            for (int depth = 0; above > 1 && above != self && depth < 4096; depth++)
                above = find_parent(above, NULL);
            if (above != self) continue;
            kill(pid, signal);
            running += !strchr("TtZXD", state); /* D: its vfork waits */
        }
    }
    if (folder >= 0) close(folder);
    return running;
}

/* Kills the function and all that came of it. In a namespace nothing escapes:
 * a fork fails while SIGKILL is pending. Elsewhere they are stopped first, until
 * none is left that can fork: a killed one would make room for others below a
 * limit of processes. */
static void kill_all(pid_t pid) {
    if (fence & FENCE_PIDS) {
        /* Outside of a namespace that would be everybody. */
        if (getpid() == 1) kill(-1, SIGKILL);
        return;
    }
    if (pid > 0) {
        kill(pid, SIGKILL);
        kill(-pid, SIGKILL);
    }
    uint64_t deadline = now() + REAP_NS / 2;
    while (signal_descendants(SIGSTOP) && now() < deadline) { /* again */ }
    signal_descendants(SIGKILL);
}

/* Counts a process beside the function that has ended: by itself, unless all
 * were killed at the limit of time or on request. */
static void count_other(struct ended *answer) {
    answer->family = 1;
    if (answer->why != END_ITSELF) answer->stray++;
}

/* Waits for a signal, until `deadline` at the most. */
static void await_signal(int signals, uint64_t deadline) {
    struct signalfd_siginfo info;
    struct pollfd watch = {.fd = signals, .events = POLLIN};
    uint64_t t = now(), rest = t < deadline ? deadline - t : 0;
    struct timespec left = {(time_t)(rest / 1000000000u), (long)(rest % 1000000000u)};
    if (ppoll(&watch, 1, &left, NULL) > 0 && read(signals, &info, sizeof info) < 0) { /* fine */ }
}

/* Reaps the function, and kills and reaps all that it left running. What had
 * ended by itself is accounted for, and is no stray. */
static void reap_all(pid_t pid, struct ended *answer, int signals) {
    struct rusage used;
    int status;
    uint64_t deadline = 0;
    for (int reaped = 0;;) {
        pid_t dead = wait4(-1, &status, WNOHANG, &used);
        if (dead < 0) return;
        if (dead > 0) {
            account(answer, &used);
            if (dead == pid) answer->status = status;
            else if (deadline) answer->stray++;
            else count_other(answer);
        }
        if (!deadline) {
            /* They may well go on and on. */
            if (dead > 0 && ++reaped < AT_ONCE) continue;
            answer->family = 1;
            deadline = now() + REAP_NS;
            kill_all(pid);
        } else if (dead > 0) {
            continue;
        } else if (now() >= deadline) {
            answer->trouble |= TROUBLE_UNENDED;
            return;
        } else {
            /* Without a namespace there may be new ones, which send no signal. */
            int is_fenced = fence & FENCE_PIDS;
            await_signal(signals, is_fenced ? deadline : now() + 1000000u);
            if (!is_fenced) kill_all(0);
        }
    }
}

/* Whether the function has ended; it is left to be waited for. Orphans that
 * ended are waited for, so that they are not in the way of a process limit; -1:
 * there may be more of them. */
static int has_ended(pid_t pid, struct ended *answer) {
    for (int reaped = 0; reaped < AT_ONCE; reaped++) {
        struct rusage used;
        siginfo_t info = {.si_pid = 0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0) return 1;
        if (info.si_pid == 0) return 0;
        if (info.si_pid == pid) return 1;
        if (wait4(info.si_pid, NULL, WNOHANG, &used) > 0) {
            account(answer, &used);
            count_other(answer);
        }
    }
    return -1;
}

/* What others of the same user may change of us: they need no right to trace us. */
struct place {
    struct rlimit limits[RLIM_NLIMITS];
    int policy, nice;
    long io;
};
static struct place own_place;

static void find_place(struct place *place) {
    enum { IO_PROCESS = 1 };
    memset(place, 0, sizeof *place);
    for (int i = 0; i < RLIM_NLIMITS; i++) getrlimit(i, &place->limits[i]);
    place->policy = sched_getscheduler(0);
    place->nice = getpriority(PRIO_PROCESS, 0);
    place->io = syscall(SYS_ioprio_get, IO_PROCESS, 0);
}

/* Waits for the function, its timeout, a word to kill it, or a hang-up. */
static void wait_for(pid_t pid, uint64_t number, uint64_t deadline, int signals) {
    struct ended answer = {.magic = MAGIC, .kind = ENDED, .number = number, .why = END_ITSELF};
    struct pollfd watch[2] = {{.fd = CONTROL, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    int hung_up = 0;
    uint64_t killed = 0; /* when */
    for (int is_over; (is_over = has_ended(pid, &answer)) <= 0;) {
        struct timespec left = {0, 0}, *timeout = is_over ? &left : NULL;
        uint64_t until = killed ? killed + REAP_NS : deadline;
        if (until && !is_over) {
            uint64_t t = now(), rest = t < until ? until - t : 0;
            left.tv_sec = (time_t)(rest / 1000000000u);
            left.tv_nsec = (long)(rest % 1000000000u);
            timeout = &left;
        }
        int ready = ppoll(watch, 2, timeout, NULL);
        int is_late = until && now() >= until;
        if (is_late && killed) {
            answer.trouble |= TROUBLE_UNENDED;
            break;
        }
        if (is_late && answer.why == END_ITSELF) {
            answer.why = END_TIMEOUT;
            killed = now();
            kill_all(pid);
        }
        if (ready > 0 && watch[0].revents) {
            char word;
            hung_up = recv(CONTROL, &word, 1, MSG_DONTWAIT) == 0;
            if (answer.why == END_ITSELF) answer.why = END_CANCELLED;
            if (!killed) killed = now();
            kill_all(pid);
            if (hung_up) watch[0].fd = -1;
        }
        if (ready > 0 && watch[1].revents) {
            struct signalfd_siginfo info;
            if (read(signals, &info, sizeof info) < 0) { /* nothing to take: fine */ }
        }
    }
    answer.ended_ns = now();
    if (!answer.trouble) {
        answer.family |= (uint64_t)had_children(pid);
        reap_all(pid, &answer, signals);
    }
    struct place place;
    find_place(&place);
    if (memcmp(&place, &own_place, sizeof place) != 0) answer.trouble |= TROUBLE_TAMPERED;
    if (!answer.trouble) prctl(PR_SET_DUMPABLE, 1);
    send_message(&answer, sizeof answer, getpid());
    /* What did not go goes with us, if anything makes it. */
    if (hung_up || answer.trouble) _exit(0);
}

/* Writes a short text into a file of /proc. */
static int write_text(const char *path, const char *text) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0) return -1;
    ssize_t size = write(file, text, strlen(text));
    close(file);
    return size < 0 ? -1 : 0;
}

/* Maps a user, or a group, onto itself in our new user namespace. */
static int map_id(const char *path, uint32_t id) {
    char text[40];
    write_path(text, "", id, " ");
    write_path(text + strlen(text), "", id, " 1");
    return write_text(path, text);
}

/* Makes namespaces for what is started. Returns the errno of what failed. */
static int make_namespaces(int keeps_all) {
    uid_t user = geteuid();
    gid_t group = getegid();
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) == 0) {
        fence = FENCE_PIDS;
        return 0;
    }
    int error = errno;
    /* Privileges that a runtime is to keep hold outside of a user namespace. */
    if (keeps_all && user == 0) return error;
    if (unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS) < 0) return errno;
    fence = FENCE_PIDS | FENCE_USER;
    write_text("/proc/self/setgroups", "deny");
    if (map_id("/proc/self/uid_map", user) < 0 || map_id("/proc/self/gid_map", group) < 0)
        fence = FENCE_BROKEN;
    return errno;
}

/* Makes a mount and all below it read-only; what is not there does not matter. */
static void forbid_writing(const char *path) {
    struct mount_attributes read_only = {.set = MS_RDONLY};
    syscall(CALL_mount_setattr, AT_FDCWD, path, RECURSIVELY, &read_only, sizeof read_only);
}

/* As process 1: a /proc that shows what is in here. Where privileges are not
 * kept, a function of root cannot write to the files with which root rules the
 * kernel and its control groups either. Nothing of it reaches other mounts. */
static void make_mounts(int keeps_all) {
    static const char *const files[] = {"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"};
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0) return;
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0) fence |= FENCE_PROC;
    if (keeps_all) return;
    forbid_writing("/sys");
    for (size_t i = 0; fence & FENCE_PROC && i < sizeof files / sizeof *files; i++)
        if (mount(files[i], files[i], NULL, MS_BIND, NULL) == 0) forbid_writing(files[i]);
}

/* Bounds the capabilities of what is started to those in `kept`: what root
 * executes gets all of the bounding set. We keep ours; no one hands any down. */
static void bound_capabilities(uint64_t kept) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2];
    int left = 0, is_bounded;
    for (unsigned long it = 0; (is_bounded = prctl(PR_CAPBSET_READ, it, 0, 0, 0)) >= 0; it++)
        if (is_bounded && !(kept >> it & 1) && prctl(PR_CAPBSET_DROP, it, 0, 0, 0) < 0) left = 1;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capget, &header, data) == 0) {
        data[0].inheritable = data[1].inheritable = 0;
        if (syscall(SYS_capset, &header, data) < 0) left = 1;
    }
    /* Without CAP_SETPCAP nothing can be dropped; an ordinary user's exec leaves
     * none in any case. */
    if (!left || geteuid() != 0) fence |= FENCE_BOUNDED;
}

/* The process beside the launcher, outside of its namespace: ends with it, and sees
 * to it that it ends when cyclometer has. Without a namespace, what a launcher
 * that was killed had started falls to this one. */
static void stay_outside(pid_t inner, int signals) {
    struct pollfd watch[2] = {{.fd = CONTROL}, {.fd = signals, .events = POLLIN}};
    struct signalfd_siginfo info;
    int patience = -1, is_killed = 0;
    while (waitpid(inner, NULL, WNOHANG) != inner) {
        int ready = poll(watch, 2, patience);
        if (ready == 0) {
            /* Even a launcher that is stopped; its namespace ends with it. */
            kill(inner, SIGKILL);
            if (fence & FENCE_PIDS || is_killed++) break;
        }
        if (ready > 0 && watch[0].revents) {
            watch[0].fd = -1;
            patience = HANG_UP_MS;
        }
        if (ready > 0 && watch[1].revents && read(signals, &info, sizeof info) < 0) { /* fine */ }
    }
    uint64_t deadline = now() + REAP_NS;
    while (!(fence & FENCE_PIDS) && now() < deadline) {
        pid_t dead = waitpid(-1, NULL, WNOHANG);
        if (dead < 0) break;
        if (dead > 0) continue;
        kill_all(0);
        await_signal(signals, now() + 1000000u);
    }
    _exit(0);
}

/* Makes the fence and says what there is of it. */
static void enter_fence(uint64_t kept, int is_wanted, int signals) {
    int keeps_all = kept == ~(uint64_t)0;
    struct hello hello = {.magic = MAGIC, .kind = HELLO};
    if (is_wanted) hello.error = make_namespaces(keeps_all);
    if (fence & FENCE_PIDS) hello.error = 0;
    pid_t inner = fence & FENCE_BROKEN ? -1 : fork();
    if (inner > 0) {
        prctl(PR_SET_DUMPABLE, 0);
        prctl(PR_SET_NAME, "cyclometer-out");
        stay_outside(inner, signals);
    }
    if (inner == 0 && fence & FENCE_PIDS && getpid() != 1) inner = -1;
    if (inner < 0) {
        if (!(fence & FENCE_BROKEN)) hello.error = errno;
        fence = FENCE_BROKEN;
    } else {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_CHILD_SUBREAPER, 1);
    }
    if (fence & FENCE_PIDS) make_mounts(keeps_all);
    if (!keeps_all) bound_capabilities(kept);
    find_place(&own_place);
    hello.fence = fence;
    send_message(&hello, sizeof hello, getpid());
    if (fence & FENCE_BROKEN) _exit(1);
}

int main(int argc, char **argv) {
    sigset_t block;
    if (argc < 5) return 2;
    open_files.rlim_cur = strtoull(argv[3], NULL, 10);
    open_files.rlim_max = strtoull(argv[4], NULL, 10);
    /* Whatever our caller had open is not for us, nor for what we start. */
    if (syscall(CALL_close_range, 3, ~0u, 0) < 0)
        for (int fd = 3, last = (int)sysconf(_SC_OPEN_MAX); fd < last; fd++) close(fd);
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
    enter_fence(strtoull(argv[1], NULL, 16), strcmp(argv[2], "fenced") == 0, signals);
    for (;;) {
        uint32_t count;
        ssize_t size = receive(&count);
        if (size == 0) return 0;
        if (size == 1) continue; /* a word to kill that came after the end */
        const struct request *r = (const struct request *)(const void *)message;
        struct started answer = {.magic = MAGIC, .kind = STARTED, .stage = STAGE_REQUEST, .error = EINVAL, .pid = -1};
        char *path = size < 0 ? NULL : split(r, size);
        pid_t pid = -1;
        if (path) answer.number = r->number;
        if (path && count == r->fds && count >= 4) {
            answer.stage = STAGE_OK;
            answer.error = 0;
            pid = start(r, path, count, &answer);
        }
        for (uint32_t i = 0; i < count; i++) close(fds[i]);
        send_message(&answer, sizeof answer, pid > 0 && fence & FENCE_PIDS ? pid : getpid());
        if (pid > 0) wait_for(pid, r->number, r->timeout_ns ? answer.executed_ns + r->timeout_ns : 0, signals);
    }
}
